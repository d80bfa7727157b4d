"""Packages that only some baselines need."""

from __future__ import annotations

import importlib
import logging
from typing import Any

from pyro_msm.errors import InputError


def required(package: str, baseline: str) -> Any:
    """The module ``package`` of the extra ``baselines``.

    Raises:
        InputError: it is not installed; the message names the extra.
    """
    root = logging.getLogger()
    handlers = list(root.handlers)
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(
            f"baseline {baseline} needs {package} ({error}): pip install pyro_msm[baselines]"
        ) from error
    finally:
        # PyDMD gives the root logger a handler, which would tell everything a second time.
        root.handlers[:] = handlers
