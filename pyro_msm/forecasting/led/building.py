"""From data to a model of learned effective dynamics: what can be trained, and its sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from pyro_msm import data as datasets
from pyro_msm.config import LEDConfig, TrainingConfig
from pyro_msm.errors import InputError
from pyro_msm.forecasting.led import basis
from pyro_msm.forecasting.led.particles import particle_bounds
from pyro_msm.models.led import LED
from pyro_msm.nn.polynomial import monomial_count

#: Most monomials of a propagator's polynomial: regression takes the square of their number.
MONOMIALS = 4000


def check_trainable(
    data: xr.Dataset, led: LEDConfig, training: TrainingConfig, warmup: int
) -> None:
    """Checks that a model can be built and trained on ``data``.

    Args:
        data: with a ``train`` split.
        led, training: their sections of the configuration.
        warmup: snapshots that a forecast starts from.

    Raises:
        InputError: a ``path``, gaps, a field on a plane with convolutions, shifts along an axis
            that is not periodic, a polynomial too large to fit, too few snapshots or steps.
    """
    train = datasets.select(data, "train")
    kind = datasets.variable(train)
    if kind == "path":
        raise InputError(
            "learned effective dynamics compress a `field` or `particles`; the data hold a "
            "`path`, which is low-dimensional already: choose --model slow-fast"
        )
    if "mask" in train:
        raise InputError(
            "learned effective dynamics need whole snapshots; the data have a `mask`: fill the "
            "gaps in, or choose --model multiscale"
        )
    axes = datasets.space_axes(train) if kind == "field" else []
    if led.autoencoder == "convolution" and len(axes) != 1:
        raise InputError(
            "led.autoencoder = 'convolution' needs a field on a line; the data have "
            f"{len(axes)} spatial axes: use 'mlp'"
        )
    if led.shifts and "periodic" not in train.attrs.get("boundary", ()):
        raise InputError(
            "led.shifts moves fields along periodic axes; the data have boundary = "
            f"{train.attrs.get('boundary', [])}: leave it out"
        )
    if led.polynomial and (count := monomial_count(led.latent, led.polynomial)) > MONOMIALS:
        raise InputError(
            f"led.polynomial = {led.polynomial} of led.latent = {led.latent} has {count} "
            f"monomials, more than {MONOMIALS}: take a lower degree or fewer latents"
        )
    if led.propagator == "sde" and (led.components > 1 or led.polynomial):
        raise InputError(
            "led.propagator = 'sde' has a normal law around its own drift; got led.components = "
            f"{led.components} and led.polynomial = {led.polynomial}: leave them at 1 and 0"
        )
    needed = max(warmup, 2) + 1
    if train.sizes["time"] < needed:
        raise InputError(
            f"training needs at least {needed} snapshots a trajectory (model.snapshots + 1); "
            f"the training split has {train.sizes['time']}"
        )
    if training.steps < led.autoencoder_steps + 1:
        raise InputError(
            f"training.steps = {training.steps} ends before the propagator is trained: "
            f"led.autoencoder_steps = {led.autoencoder_steps} come first, so take more than "
            "those"
        )


def new_model(train: xr.Dataset, led: LEDConfig, inputs: int) -> LED:
    """The model for a training split, with the POD of its fields or the box of its particles.

    Args:
        train: the training split.
        led: the ``led`` section of a configuration.
        inputs: known inputs of the propagator.
    """
    sizes: dict[str, Any] = {
        "hidden": led.hidden, "layers": led.layers, "variational": led.kl_weight > 0,
        "mixture": led.mixture, "network": led.autoencoder, "cell": led.propagator,
        "memory": led.memory, "propagator_hidden": led.propagator_hidden,
        "propagator_layers": led.propagator_layers, "components": led.components, "inputs": inputs,
        "polynomial": led.polynomial, "substeps": led.substeps,
    }  # fmt: skip
    kind = datasets.variable(train)
    values = train[kind].values
    if kind == "particles":
        low, high = particle_bounds(train)
        return LED(values.shape[3:], led.latent, low=low.tolist(), high=high.tolist(), **sizes)
    flat = np.nan_to_num(values.reshape(-1, *values.shape[2:]))
    found = basis.measured(flat, led.basis, led.latent, shifted_axes(train, led))
    model = LED(
        values.shape[2:], min(led.latent, len(found.modes)), rank=len(found.modes),
        boundary=train.attrs["boundary"], **sizes,
    )  # fmt: skip
    basis.fill(model.basis, found)
    return model


def shifted_axes(data: xr.Dataset, led: LEDConfig) -> list[int]:
    """The spatial axes along which training may shift the data: periodic ones, if it is to."""
    if not led.shifts or datasets.variable(data) != "field":
        return []
    return [i for i, kind in enumerate(data.attrs["boundary"]) if kind == "periodic"]
