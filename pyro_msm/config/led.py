"""The sections of the family LED: the model, and forecasts that alternate with the true solver."""

from __future__ import annotations

from pydantic import Field

from pyro_msm.config.sections import Section


class LEDConfig(Section):
    """Learned effective dynamics: an autoencoder and a recurrent propagator of its latents."""

    latent: int = Field(8, ge=1, description="size of the latent state")


class HybridConfig(Section):
    """Forecasts that alternate between latent dynamics and the true solver."""

    ratio: float | None = Field(
        None, gt=0, description="latent time per solver time (none: latent only)"
    )
