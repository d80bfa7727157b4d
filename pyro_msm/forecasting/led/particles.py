"""Particles of latents, and the box in which they stay."""

from __future__ import annotations

import zlib

import numpy as np
import torch
import xarray as xr

from pyro_msm.models.led import LED


def drawn_particles(model: LED, latents: np.ndarray, count: int) -> np.ndarray:
    """Draws from the decoder's mixture.

    The random numbers follow from the latents, so that equal latents give equal particles.

    Args:
        model: of particles.
        latents: (…, latent).
        count: of the particles of each.

    Returns:
        (…, particle, component).
    """
    flat = np.ascontiguousarray(latents.reshape(-1, latents.shape[-1]), np.float32)
    device, size = model.low.device, model.low.shape[0]
    drawn = np.empty((len(flat), count, 1 + size), np.float32)
    for number, latent in enumerate(flat):
        generator = np.random.Generator(np.random.SFC64(zlib.crc32(latent.tobytes())))
        drawn[number, :, 0] = generator.random(count, np.float32)
        drawn[number, :, 1:] = generator.standard_normal((count, size), np.float32)
    numbers = torch.tensor(np.moveaxis(drawn, 1, 0), device=device)
    with torch.inference_mode():
        law = model.particle_law(torch.tensor(flat, device=device))
        found = law.transport(numbers[..., 0], numbers[..., 1:])
    return found.movedim(0, 1).cpu().numpy().reshape(*latents.shape[:-1], count, size)


def particle_bounds(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bound of each component.

    Where the attribute ``domain`` gives the lengths of a box that the data nearly fill, it is that
    box about the middle of the data; else the range of the data, widened by a twentieth.
    """
    values = data["particles"].values
    low, high = (edge((0, 1, 2)).astype(float) for edge in (values.min, values.max))
    length = np.asarray(data.attrs.get("domain", 0.0), float).reshape(-1)
    filled = (high - low) / np.maximum(length, 1e-12)
    margin = 0.05 * (high - low)
    if len(length) == len(low) and ((filled > 0.99) & (filled <= 1)).all():
        margin = (length - (high - low)) / 2
    return low - margin, high + margin
