"""An ensemble file of known calibration: a wave that travels, with an error that grows in time."""

import numpy as np
import xarray as xr


class Wave:
    """A bump with ripples that travels once around the domain in one unit of time."""

    def __init__(self, generator, trajectories, points, channels, axes):
        self.axis = np.arange(points) / points
        self.grid = np.meshgrid(*[self.axis] * axes, indexing="ij")
        self.amplitude = generator.uniform(0.8, 1.2, trajectories)
        self.channels = channels

    def at(self, times):
        """(trajectory, time, channel, x[, y])."""
        phase = sum(self.grid) - times.reshape(-1, *[1] * len(self.grid))
        shape = np.exp(np.cos(2 * np.pi * phase) - 1) + 0.15 * np.sin(12 * np.pi * phase)
        fields = self.amplitude.reshape(-1, *[1] * shape.ndim) * shape
        return np.repeat(fields[:, :, None], self.channels, axis=2)


def deviations(generator, shape, grid, smooth):
    """Standard normal (…, time, channel, x[, y]): white, or low Fourier modes that move slowly."""
    if not smooth:
        return generator.normal(size=shape)
    modes = [f(2 * np.pi * k * g) for k in range(1, 7) for g in grid for f in (np.sin, np.cos)]
    lead = shape[: -len(grid)]
    weights = generator.normal(size=(*lead[:-2], 1, lead[-1], len(modes)))
    moves = generator.normal(size=(*lead, len(modes))).cumsum(-3) / np.sqrt(lead[-2])
    return np.tensordot(weights + 0.2 * moves, np.stack(modes), 1) * np.sqrt(2 / len(modes))


def latents(generator, wave, time_full, lead, micro, spread):
    """Posterior and encoded variables of the latent paths."""
    coarse = (Ellipsis, *[slice(None, None, 5)] * len(wave.grid))
    turns = 2 * np.pi * time_full[:, None] * (np.arange(micro) + 1)
    macro_space = ("macro_x", "macro_y")[: len(wave.grid)]
    dims = {
        "macro": ("trajectory", "time_full", "channel", *macro_space),
        "micro": ("trajectory", "time_full", "micro_component"),
    }
    centres = {"macro": wave.at(time_full)[coarse]}
    if micro:
        centres["micro"] = wave.amplitude[:, None, None] * np.cos(turns)
    posterior, encoded = {}, {}
    for name, centre in centres.items():
        scale = np.linspace(0.02, 0.2, len(time_full)).reshape(-1, *[1] * (centre.ndim - 2))
        offset = generator.normal(size=(*lead, len(centre), 1, *centre.shape[2:]))
        members = (centre + spread * scale * offset).astype("f4")
        truth = centre + 0.5 * scale * generator.normal(size=(len(centre), 1, *centre.shape[2:]))
        posterior[name] = (("chain", "draw", *dims[name]), members)
        encoded[f"encoded_{name}"] = (dims[name], truth.astype("f4"))
    return posterior, encoded


def synthetic_ensemble(
    members=19,
    chains=1,
    trajectories=4,
    times=11,
    points=40,
    spread=1.0,
    noise=0.05,
    smooth=False,
    clean=True,
    micro=3,
    splits=None,
    seed=0,
    channels=1,
    plane=False,
):
    """The DataTree that a rollout writes.

    Members and truth are the same wave plus Gaussian deviations of standard deviation growing with
    lead time from 0.02 to 0.2, the members' multiplied by ``spread``: 1 is a calibrated ensemble.
    Deviations are independent from point to point, or low Fourier modes if ``smooth``.
    """
    generator = np.random.default_rng(seed)
    time_full = np.linspace(0.5, 1.5, 2 * times - 1)
    time = time_full[::2]
    wave = Wave(generator, trajectories, points, channels, axes=2 if plane else 1)
    mean = wave.at(time)
    sigma = np.linspace(0.02, 0.2, times).reshape(-1, *[1] * (mean.ndim - 2))
    lead = (chains, members)
    truth = mean + sigma * deviations(generator, mean.shape, wave.grid, smooth)
    signal = deviations(generator, (*lead, *mean.shape), wave.grid, smooth)
    signal = mean + spread * sigma * signal

    def noisy(field):
        return (field + noise * generator.normal(size=field.shape)).astype("f4")

    space = dict.fromkeys(("x", "y")[: len(wave.grid)], wave.axis)
    dims = ("trajectory", "time", "channel", *space)
    ensemble_dims = ("chain", "draw", *dims)
    numbers = np.arange(trajectories) + 15
    channel = ["u"] if channels == 1 else [f"u{i}" for i in range(channels)]
    shared = {"trajectory": numbers, "time": time, "channel": channel, **space}
    ensemble = {"chain": np.arange(chains), "draw": np.arange(members), **shared}
    posterior, encoded = latents(generator, wave, time_full, lead, micro, spread)
    part = np.repeat(mean[None], chains, 0).astype("f4")
    posterior |= {
        "signal": (ensemble_dims, signal.astype("f4")),
        "mean_macro_part": (("chain", *dims), 0.8 * part),
        "mean_micro_part": (("chain", *dims), 0.2 * part),
        "diverged_at": (("chain", "draw", "trajectory"), np.full((*lead, trajectories), np.nan)),
    }
    constant = {"split": ("trajectory", np.array(splits or ["test"] * trajectories))}
    if clean:
        constant["clean"] = (dims, truth.astype("f4"))
    attrs = {
        "system": "travelling-wave",
        "noise_std": noise,
        "boundary": ["periodic"] * len(space),
        "domain": [1.0] * len(space),
        "seconds_rollout": 1.5,
    }
    groups = {
        "posterior_predictive": ({"field": (ensemble_dims, noisy(signal))}, ensemble),
        "posterior": (posterior, {**ensemble, "time_full": time_full}),
        "observed_data": (
            {"field": (dims, noisy(truth)), **encoded},
            {**shared, "time_full": time_full},
        ),
        "constant_data": (constant, shared, attrs),
    }
    return xr.DataTree.from_dict({name: xr.Dataset(*parts) for name, parts in groups.items()})


def deterministic_baseline(ensemble, error=0.5):
    """A one-member forecast that is the clean truth times 1 + ``error``: its error is known."""
    truth = ensemble["constant_data"]["clean"] * (1 + error)
    return xr.Dataset({"field": truth.expand_dims("member")})
