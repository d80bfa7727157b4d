"""The sections of the family LED: the model, and forecasts that alternate with the true solver."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pyro_msm.config.sections import Section


class LEDConfig(Section):
    """Learned effective dynamics: an autoencoder and a recurrent propagator of its latents."""

    latent: int = Field(8, ge=1, description="size of the latent state")
    autoencoder: Literal["mlp", "convolution", "pod"] = Field(
        "mlp",
        description="network that corrects the linear part of a field's autoencoder (pod: that of "
        "the decoder only, so that latents are POD coordinates)",
    )
    basis: int = Field(64, ge=1, description="largest rank of a field's linear basis")
    hidden: int = Field(100, ge=1, description="width of the encoder's and decoder's networks")
    layers: int = Field(3, ge=1, description="their hidden layers")
    kl_weight: float = Field(
        0.0, ge=0, description="weight of the KL term: 1 is a VAE, 0 a plain autoencoder"
    )
    mixture: int = Field(4, ge=1, description="components of the decoder of particles")
    subset: int = Field(200, ge=1, description="random particles of a snapshot that a step sees")
    propagator: Literal["gru", "lstm", "none", "sde"] = Field(
        "gru",
        description="recurrent cell; none: a map of the latents without a memory; sde: a "
        "stochastic differential equation of the latents, the multiscale model's drift in it",
    )
    substeps: int = Field(1, ge=1, description="Runge-Kutta steps of an sde between snapshots")
    memory: int = Field(32, ge=1, description="size of the cell's hidden state")
    propagator_hidden: int = Field(64, ge=1, description="width of the propagator's perceptron")
    propagator_layers: int = Field(2, ge=1, description="its hidden layers")
    polynomial: int = Field(
        0,
        ge=0,
        description="degree of a polynomial of the latents, fitted by regression, whose "
        "increments the perceptron corrects; 3 suits equations with products, in POD coordinates",
    )
    components: int = Field(
        1, ge=1, description="of a step's law: 1 predicts a mean, more make a stochastic propagator"
    )
    noise: float = Field(
        0.0, ge=0, description="noise on the propagator's inputs while it trains, in their spread"
    )
    forcing: bool = Field(True, description="give the propagator the data's forcing")
    clock: list[float] = Field(
        default_factory=list, description="angular frequencies of clocks given to the propagator"
    )
    shifts: bool = Field(False, description="train on random shifts along periodic axes")
    snapshots: int = Field(64, ge=1, description="snapshots in a step of the autoencoder")
    autoencoder_steps: int = Field(
        3000, ge=1, description="the first of training.steps, for the autoencoder"
    )
    propagator_steps: int = Field(
        2000, ge=1, description="those after them, teacher-forced; the others are rollout training"
    )
    propagator_rate: float = Field(
        5.0, gt=0, description="factor on training.learning_rate for the propagator"
    )
    rollout_rate: float = Field(1.0, gt=0, description="the same in rollout training")
    bptt: int = Field(32, ge=1, description="steps of truncated backpropagation, teacher-forced")
    horizon: int = Field(64, ge=1, description="longest free run in rollout training")
    growth: int = Field(
        2000, ge=1, description="steps over which the free runs grow to their longest"
    )
    validation_horizon: int | None = Field(
        None, ge=1, description="snapshots of a validation forecast (none: the whole record)"
    )


class HybridConfig(Section):
    """Forecasts that alternate between latent dynamics and the true solver."""

    ratio: float | None = Field(
        None, gt=0, description="ρ, latent time per solver time (none: by the error budget)"
    )
    error_budget: float | None = Field(
        None, gt=0, description="spread, in ranges of the data, at which the solver takes over"
    )
    long_time: float | None = Field(
        None, gt=0, description="horizon of the long forecasts that evaluate scores (none: none)"
    )
    solver_time: float | None = Field(
        None, gt=0, description="duration of a solver phase (none: ten snapshots)"
    )
