"""The section of the family slow-fast."""

from __future__ import annotations

from pydantic import Field

from pyro_msm.config.sections import Section


class SlowFastConfig(Section):
    """Averaged dynamics of a slow variable, whose fast law is a normalizing flow."""

    samples: int = Field(64, ge=2, description="draws of the fast variable per drift evaluation")
