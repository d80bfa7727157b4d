"""Mean energy spectra of long forecasts beside those of true records of equal length.

    python benchmarks/led_spectrum.py RUN [RUN ...] [--records 20] [--modes 10]

RUNs are trained runs of the family led on a chaotic system. True records are simulated from a seed
of their own. A forecast without noise starts from a snapshot of each, a twentieth of its length
after its beginning, and runs to its end. Printed of every wave: the mean energy over true records,
their sampling band (all but the outermost twentieth at either side), the mean over forecasts, and
how many of the forecasts lie in the band.
"""

import argparse

import numpy as np

from pyro_msm import data as datasets
from pyro_msm.cli.hybrid import known_system
from pyro_msm.forecasting import initial_window, load_forecaster
from pyro_msm.forecasting.calibration import without_noise
from pyro_msm.runs import RunDirectory
from pyro_msm.scores.spectrum import Spectrum


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--records", type=int, default=20)
    parser.add_argument("--modes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1000)
    options = parser.parse_args()
    for folder in options.runs:
        run, forecaster = RunDirectory.open(folder), load_forecaster(folder)
        system = known_system(run.config)
        counts = {"train": 1, "validation": 1, "test": options.records}
        records = datasets.select(system.simulate(counts, seed=options.seed), "test")
        spectrum = Spectrum(
            system.shape, system.domain, [kind == "periodic" for kind in system.boundary]
        )
        truth, forecast = spectra(forecaster, records, spectrum)
        print(folder)
        report(spectrum.wavenumber, truth, forecast, options.modes)


def spectra(forecaster, records, spectrum):
    """Spectra (record, shell), averaged over times and channels, of truth and forecasts."""
    times = records["time"].values
    start = max(forecaster.warmup - 1, len(times) // 20)
    initial = initial_window(records, forecaster.warmup, start)
    with without_noise(forecaster):
        forecast = forecaster.forecast(initial, times[start + 1 :], 1, 0)["field"].values[0]
    truth = records["field"].values[:, start + 1 :]
    return [spectrum(field).mean((1, 2)) for field in (truth, forecast)]


def report(wavenumber, truth, forecast, modes):
    low, high = np.quantile(truth, [0.05, 0.95], axis=0)
    within = ((low <= forecast) & (forecast <= high)).mean(0)
    print("    wave   truth     band of records    forecasts  of truth  within band")
    for mode in range(1, 1 + modes):
        mean, found = truth[:, mode].mean(), forecast[:, mode].mean()
        print(
            f"{wavenumber[mode]:8.4f} {mean:8.4f} {low[mode]:8.4f}–{high[mode]:8.4f} "
            f"{found:10.4f} {found / mean:9.3f} {100 * within[mode]:10.0f} %",
            flush=True,
        )


if __name__ == "__main__":
    main()
