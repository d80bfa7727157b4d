"""A coarse-scale PDE whose right-hand side is a Gaussian process."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from pyro_msm.forecasting.baselines.coarse_pde import Choice, CoarsePde, Model
from pyro_msm.forecasting.baselines.extra import required

COUNTS = (100, 300)
NOISE = (1e-10, 2.0)


class CoarsePdeGp(CoarsePde):
    """``CoarsePde`` with F the mean of a Gaussian process for each channel (scikit-learn).

    The kernel is a constant times an RBF with a length for each input (automatic relevance
    determination), and white noise; all by maximal likelihood, on 100 or 300 points, whichever is
    better on the validation split.
    """

    name: ClassVar[str] = "cspde-gp"

    def _candidates(self, inputs: np.ndarray, rates: np.ndarray) -> Iterator[tuple[Choice, Model]]:
        process = required("sklearn.gaussian_process", self.name)
        kernels = process.kernels
        for count in sorted({min(count, len(inputs)) for count in COUNTS}):
            given, aim = inputs[:count], rates[:count]
            fitted = []
            for values in aim.T:
                smooth = kernels.ConstantKernel(1.0, (1e-3, 1e6)) * kernels.RBF(
                    np.ones(inputs.shape[1]), (1e-2, 1e4)
                )
                kernel = smooth + kernels.WhiteKernel(1e-4, NOISE)
                regressor = process.GaussianProcessRegressor(kernel)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # lengths at their bounds
                    fitted.append(regressor.fit(given, values))
            yield (
                {"points": count},
                {
                    "given": given,
                    "weights": np.stack([each.alpha_ for each in fitted]),
                    "size": np.array([each.kernel_.k1.k1.constant_value for each in fitted]),
                    "lengths": np.stack([each.kernel_.k1.k2.length_scale for each in fitted]),
                },
            )

    @staticmethod
    def _regression(model: Model, inputs: np.ndarray) -> np.ndarray:
        rates = []
        for weights, size, lengths in zip(
            model["weights"], model["size"], model["lengths"], strict=True
        ):
            one, other = inputs / lengths, model["given"] / lengths
            squares = np.square(one).sum(1)[:, None] + np.square(other).sum(1) - 2 * one @ other.T
            rates.append(size * np.exp(-0.5 * np.maximum(squares, 0)) @ weights)
        return np.stack(rates, axis=1)
