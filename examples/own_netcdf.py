"""From a NetCDF file of your own to a forecast in its units.

An instrument wrote ``probes.nc``: a velocity in millimetres per second at 64 probes around a ring
channel, every 0.05 s, in five runs. Sometimes a probe drops out and writes -999. The file knows
nothing of our names. This script

1. renames, converts units, and turns the drop-outs into a mask;
2. shows what is said about a file that is not right yet;
3. says which runs train, which choose the weights, and which nobody looks at before the end;
4. trains, forecasts with 39 members, and scores them in the file's own units.

``docs/tutorials.md`` goes through it step by step.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import pyro_msm as msm

GONE = -999.0


def record(path: Path) -> None:
    """What stands for the instrument: two waves that run around a ring of 0.8 m."""
    rng = np.random.default_rng(0)
    runs, time, angle = 5, np.arange(0, 6, 0.05), np.arange(64) * 2 * np.pi / 64
    start = rng.uniform(0, 2 * np.pi, (runs, 1, 1))
    size = rng.uniform(0.8, 1.2, (runs, 1, 1))
    phase = angle - 1.3 * time[:, None] - start
    speed = 40 * size * (np.cos(phase) + 0.3 * np.cos(3 * phase + 0.8 * time[:, None]))
    speed += rng.normal(0, 0.5, speed.shape)
    speed[rng.random(speed.shape) < 0.02] = GONE
    raw = xr.Dataset(
        {"vel": (("run", "t", "probe"), speed, {"units": "mm/s"})},
        {"t": ("t", time, {"units": "s"}), "run": [11, 12, 13, 15, 16]},
    )
    raw.to_netcdf(path)


def prepare(path: Path) -> xr.Dataset:
    """The file in the form that pyro_msm checks and understands."""
    raw = xr.open_dataset(path).load()
    field = raw["vel"].rename(run="trajectory", t="time", probe="x")
    field = field.expand_dims(channel=["velocity"]).transpose("trajectory", "time", "channel", "x")
    observed = field != GONE
    data = xr.Dataset({"field": field.where(observed) / 1000, "mask": observed})
    data["field"].attrs = {"units": "m/s"}
    # Whole runs: two neighbouring seconds of one run are too much alike for a fair test.
    use = {11: "train", 12: "train", 13: "train", 15: "validation", 16: "test"}
    data["split"] = "trajectory", [use[int(run)] for run in data["trajectory"].values]
    # A ring has no ends: its length cannot be read off the probes, so it is said.
    return data.assign_attrs(boundary="periodic", domain=[0.8], noise_std=0.0005)


def complaints(data: xr.Dataset) -> list[str]:
    """What is said of three common mistakes."""
    wrong = {
        "drop-outs without a mask": data.drop_vars("mask"),
        "a name of its own": data.rename(field="vel"),
        "one end too many": data.assign_attrs(boundary=["periodic", "periodic"]),
    }
    said = []
    for what, dataset in wrong.items():
        try:
            msm.data.validate(dataset, source="probes.nc")
        except msm.InputError as error:
            said.append(f"{what}: {error}")
    return said


def draw(ensemble: xr.DataTree, path: Path) -> None:
    """Truth, mean and 90 % band at one probe of the test run."""
    members = ensemble["posterior_predictive"]["field"].isel(trajectory=0, channel=0, x=10)
    truth = ensemble["observed_data"]["field"].isel(trajectory=0, channel=0, x=10)
    low, high = members.quantile([0.05, 0.95], ("chain", "draw"), method="weibull")
    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    axes.fill_between(truth["time"], low, high, alpha=0.3, label="90 % band")
    axes.plot(truth["time"], members.mean(("chain", "draw")), label="mean")
    axes.plot(truth["time"], truth, "k.", markersize=3, label="observed")
    axes.set(xlabel="time [s]", ylabel="velocity [m/s]", title="Probe 10 of run 16")
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(folder: Path, steps: int = 3000) -> dict:
    """Runs the whole of it; returns the scores."""
    record(folder / "probes.nc")
    data = msm.data.validate(prepare(folder / "probes.nc"))
    print("\n".join(complaints(data)))
    msm.data.save(data, folder / "prepared.nc")

    model = msm.models.MultiscaleSDE.for_data(data, macro=16, micro=3)
    guide = msm.guides.AmortizedPathGuide(model)
    fit = msm.fit(
        model, guide, data, steps=steps, stride=4, decay_steps=max(1, steps // 20),
        validate_every=max(1, steps // 6), ramp_steps=steps // 6, progress=True,
    )  # fmt: skip
    ensemble = msm.forecasting.rollout(fit, data, members=39)
    draw(ensemble, folder / "probe.png")
    return msm.analysis.evaluate(ensemble)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--steps", type=int, default=3000)
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    scores = main(chosen.folder, chosen.steps)
    print(f"mean error {scores['relative_error']['mean']:.1%} of the velocity's size")
    print(f"CRPS {1000 * scores['crps']:.2f} mm/s")
    print(f"the 90 % band holds {scores['coverage']['0.9']['observed']:.0%} of the observations")
