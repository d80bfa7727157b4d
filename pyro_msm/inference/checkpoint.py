"""Checkpoints: tensors and a JSON header in one safetensors file, written at one stroke."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pyro_msm.errors import InputError
from pyro_msm.files import replacing

SCHEMA_VERSION = 1


def save_checkpoint(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Writes ``tensors`` and ``header`` (anything that JSON can hold) to ``path``.

    A killed process leaves either the old file or the new one.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"pyro_msm": json.dumps(header | {"schema": SCHEMA_VERSION})}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file(contiguous, temporary, metadata=metadata)


def load_checkpoint(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads what ``save_checkpoint`` wrote.

    Args:
        path: the file.
        kind: what the header's ``kind`` must be.

    Raises:
        InputError: no such file, a truncated one, or one that we, or this version, did not write.
    """
    if not path.exists():
        raise InputError(f"{path.parent.parent} has no checkpoint {path.name}: train it first")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("pyro_msm", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, OSError) as error:
        raise InputError(
            f"{path} is truncated or no checkpoint ({error}): remove it and train again"
        ) from error
    if header.get("schema") != SCHEMA_VERSION or header.get("kind") != kind:
        raise InputError(
            f"{path} is a foreign checkpoint (kind {header.get('kind')!r}, schema "
            f"{header.get('schema')!r}; expected {kind!r}, {SCHEMA_VERSION}): train again"
        )
    return tensors, header


def restore_into(module: torch.nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Loads a state dict strictly.

    Raises:
        InputError: the tensors are those of another model.
    """
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise InputError(f"{path} holds another model: {first}") from error
