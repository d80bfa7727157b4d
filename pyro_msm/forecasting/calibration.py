"""Spread of an ensemble, fitted to the errors that free-running forecasts of validation data make.

The factors f are the most probable ones by the logarithmic score of the ensemble's variance and a
prior about what training found,

.. math:: \\frac1n \\sum_{t,k} \\ln S_{tk} + \\frac{E_{tk}}{S_{tk}}
    + \\frac{2}{10K} \\sum_i \\ln\\Bigl(1 + \\frac{(\\ln f_i)^2}{(\\ln 3)^2}\\Bigr),

E the mean square error of trajectory k of K at a lead time t, S the members' variance. The score is
proper: least where the two are the same on average, and the better the more S knows which forecasts
will fail. The noise of the observations, as far as differences of neighbours leave room for it, is
subtracted from E, in which the score is linear and therefore unbiased. The CRPS against noisy data
would hardly see a spread below the noise. The prior is a Cauchy law of ln f, and a trajectory
counts as ten samples: what the data do not tell stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy.optimize import minimize

from pyro_msm.data.evenly import evenly
from pyro_msm.data.gaps import with_gaps
from pyro_msm.data.white_noise import white_noise_std
from pyro_msm.forecasting.contract import LONGEST, initial_window

if TYPE_CHECKING:
    from pyro_msm.forecasting.trained_latent import TrainedLatentForecaster

#: Members: fewer where states of all trajectories and members would be more than so many numbers,
#: whose variances over space are well known from few.
FEWEST, MEMBERS, NUMBERS = 4, 10, 2**15
TIMES = 24
#: Farthest that a factor moves between two ensembles, how many there are, and a move that is none.
STRIDE, ROUNDS, STILL = 4.0, 6, 2**0.125
#: Variances add, as far as their sum is off by less than this factor.
ADDING = 1.25
#: Scale of the logarithm of a factor before any forecast is seen: threefold.
PRIOR = np.log(3.0)
#: Independent samples that the forecast of a trajectory counts as.
SAMPLES = 10
TINY = np.finfo(np.float32).tiny
#: Variance that counts as none: this share of the mean square error at a lead time.
LEAST = 0.1


@dataclass(frozen=True)
class Calibration:
    """What scales the noise of a trained model.

    Attributes:
        dispersion: factor on L; the variational bound sees the drift's residual along training
            data only, not the error that a free-running forecast makes with it.
        initial: factor on the encoder's posterior standard deviation, at the start of a forecast.
        novelty: dispersion, in units of L, at a state as far from the training data as they are
            wide: see ``World.novelty``.
        observation: factor on the standard deviation of the observation noise.
        tendency: dispersion, in units of L, of a component whose drift is as large as its rate of
            change typically is in the training data; it is in proportion to that drift.
    """

    dispersion: float = 1.0
    initial: float = 1.0
    novelty: float = 0.0
    observation: float = 1.0
    tendency: float = 0.0


@contextmanager
def without_noise(forecaster: TrainedLatentForecaster) -> Iterator[None]:
    """Forecasts within are the drift's own, from the mean of the encoder's posterior."""
    before = forecaster.calibration
    forecaster.calibration = Calibration(0.0, 0.0, observation=before.observation)
    try:
        yield
    finally:
        forecaster.calibration = before


def calibrate(
    forecaster: TrainedLatentForecaster,
    validation: xr.Dataset,
    novelty: bool = False,
    tendency: bool = False,
) -> Calibration:
    """The factors with the best score of the spread, see above, on validation data.

    As long as noise is small, variances add: S = d² A + i² B + n² C + t² D + R for factors d on the
    dispersion, i on the initial spread, n on that of new states and t on that of quick changes.
    Forecasts with ever fewer of them tell the terms; the best factors of this sum are tried in
    turn, until they stay where they are; the terms of one ensemble are those of the next as long as
    they explain its variance.

    Args:
        forecaster: trained; its calibration is what it was before when this returns.
        validation: trajectories that training has not seen.
        novelty: whether the dispersion of new states is fitted too.
        tendency: whether that in proportion to the drift is.

    Returns:
        No change where the noise alone explains the error, and where no ensemble stays finite.
    """
    forecasts, before = _Forecasts(forecaster, validation), forecaster.calibration
    tried = np.array([1.0, 1.0, float(novelty), float(tendency)])
    found: dict[Calibration, float] = {}
    try:
        frozen = forecasts.moments(np.zeros_like(tried))
        if frozen is not None:
            # Twice the standard error of the mean, if the noise is all there is.
            if frozen.error.sum() <= 2 * np.linalg.norm(frozen.doubt):
                return before
            forecasts.least = LEAST * np.maximum(frozen.error.mean(1, keepdims=True), 0)
        terms, stride = None, STRIDE
        for _ in range(ROUNDS):
            whole = forecasts.moments(tried)
            if whole is None:  # as far again would end there again
                tried, terms, stride = tried / stride, None, stride**0.5
                continue
            found[forecasts.calibration(tried)] = whole.score() + _surprise(tried, whole)
            guess = None if terms is None else _adjusted(terms, whole)
            exact = guess is None or _still(_best(whole, guess, tried, stride))
            terms = forecasts.terms(tried, whole, frozen) if exact else guess
            if terms is None:
                break
            factors = _best(whole, terms, tried, stride)
            tried = tried * factors
            if exact and _still(factors):
                break
            terms = terms * np.append(factors**2, 1.0)[:, None, None, None]
    finally:
        forecaster.calibration = before
    return min(found, key=lambda c: found[c], default=before)


def observation_factor(forecaster: TrainedLatentForecaster, validation: xr.Dataset) -> float:
    """What brings the observations' learned standard deviation to what validation data show.

    In training the observations are those of states drawn from the posterior's tube, whose width
    the learned noise has to cover. Here it is that of data about their own encoded state, by the
    median over snapshots: what the decoder cannot show of a few of them is no noise.

    Args:
        forecaster: trained.
        validation: trajectories that training has not seen.
    """
    warmup = forecaster.warmup
    count = validation.sizes["time"] - warmup + 1
    variance = forecaster.observation_std().astype(float) ** 2
    shown = []
    for first in evenly(0, count - 1, TIMES):
        snapshots = validation.isel(time=slice(first, first + warmup))
        latents = np.moveaxis(forecaster.encoded(snapshots), 0, 1)[-1:, None]
        shown_field = forecaster.decode(latents)["field"].values[0, :, 0]
        gap = shown_field - with_gaps(snapshots)[:, -1]
        seen = np.maximum(_over_space(np.isfinite(gap)), 1)
        shown.append(_over_space(np.nan_to_num(gap).astype(float) ** 2) / seen)
    return float(np.sqrt(np.mean(np.median(np.concatenate(shown), 0) / variance)))


@dataclass(frozen=True)
class _Moments:
    """Of an ensemble against data, each (time, trajectory, channel).

    Attributes:
        spread: variance of the members.
        error: mean square error of the mean of infinitely many members against the noise-free
            field, as far as the data tell; it may be below zero.
        doubt: standard error of ``error`` by the observation noise, and a small share of the mean
            error; it counts as spread and as error, so that what it hides has no weight.
    """

    spread: np.ndarray
    error: np.ndarray
    doubt: np.ndarray

    def score(self) -> float:
        """The logarithmic score."""
        seen = self.spread + self.doubt
        return float(np.mean(np.log(seen) + (self.error + self.doubt) / seen))


class _Forecasts:
    """Free-running ensembles of validation data, over ``LONGEST`` snapshots at most."""

    def __init__(self, forecaster: TrainedLatentForecaster, validation: xr.Dataset) -> None:
        self._forecaster = forecaster
        warmup = forecaster.warmup
        self._initial = initial_window(validation, warmup)
        self._members = MEMBERS
        self._times = validation["time"].values[warmup - 1 :][:LONGEST]
        last = len(self._times) - 1
        self._scored = evenly(1, last, TIMES)
        seen = validation.isel(time=self._scored + warmup - 1)
        self._truth = with_gaps(seen)
        # What the decoder cannot show is noise for a prediction, but an error of the forecast.
        noise = np.minimum(forecaster.observation_std(), white_noise_std(validation))
        self._noise = noise.astype(float) ** 2
        self.least = np.zeros((len(self._scored), 1, len(self._noise)))

    def calibration(self, factors: np.ndarray) -> Calibration:
        """Of the factors d, i, n, t, with the observation noise that there is."""
        dispersion, initial, novelty, tendency = map(float, factors)
        observation = self._forecaster.calibration.observation
        return Calibration(dispersion, initial, novelty, observation, tendency)

    def moments(self, factors: np.ndarray) -> _Moments | None:
        """With noise scaled by the factors; None if a member diverges."""
        self._forecaster.calibration = self.calibration(factors)
        count = self._members if factors.any() else 2  # without noise all are the same
        state = self._forecaster.encode(self._initial, count, 0)
        _, latents = self._forecaster.advance(state, self._times)
        self._members = int(np.clip(NUMBERS // latents[0, 0].size, FEWEST, MEMBERS))
        spread, error, doubt = [], [], []
        for position, step in enumerate(self._scored):
            members = self._forecaster.decode(latents[step : step + 1])["field"].values[:, :, 0]
            if not np.isfinite(members).all():
                return None
            gap = members.mean(0, dtype=np.float64) - self._truth[:, position]
            seen = np.isfinite(gap)
            points = np.maximum(_over_space(seen), 1)
            variance = np.where(seen, members.var(0, ddof=1, dtype=np.float64), 0)
            spread.append(_over_space(variance) / points)
            squared = _over_space(np.where(seen, gap**2, 0)) / points
            error.append(squared - self._noise - spread[-1] / count)
            doubt.append(self._noise * np.sqrt(2 / points) + self.least[position] + TINY)
        return _Moments(np.array(spread), np.array(error), np.array(doubt))

    def terms(
        self, factors: np.ndarray, whole: _Moments, frozen: _Moments | None
    ) -> np.ndarray | None:
        """(factor + 1, time, trajectory, channel): each factor's part of ``whole``'s spread.

        The last one is the part of none of them. None if an ensemble diverges.
        """
        parts, left, rest = [], factors.copy(), whole.spread
        for index, factor in enumerate(factors):
            without = rest
            if factor:
                left[index] = 0
                fewer = self.moments(left) if left.any() else frozen
                if fewer is None:
                    return None
                without = fewer.spread
            parts.append(np.maximum(rest - without, 0))
            rest = without
        return np.array([*parts, rest])


def _over_space(values: np.ndarray) -> np.ndarray:
    """Sums (trajectory, channel) of (trajectory, channel, *grid)."""
    return np.asarray(values.reshape(*values.shape[:2], -1).sum(-1))


def _still(factors: np.ndarray) -> bool:
    return bool(np.abs(np.log(factors)).max() < np.log(STILL))


def _adjusted(terms: np.ndarray, whole: _Moments) -> np.ndarray | None:
    """Terms of another ensemble, scaled, so that they add up to this one; None if far from it."""
    total = np.maximum(terms.sum(0), TINY)
    off = np.log(np.maximum(whole.spread.mean(), TINY) / total.mean())
    return terms * (whole.spread / total) if abs(off) < np.log(ADDING) else None


def _surprise(factors: np.ndarray, moments: _Moments) -> float:
    """How improbable factors are before any forecast is seen, in units of the score."""
    moved = np.log(factors[factors > 0]) / PRIOR
    return float(2 * np.log1p(moved**2).sum() / (SAMPLES * moments.error.shape[1]))


def _best(moments: _Moments, terms: np.ndarray, tried: np.ndarray, stride: float) -> np.ndarray:
    """What each factor is best multiplied with, if variances add up: from 1/``stride`` to it."""
    least = moments.doubt + terms[-1]
    error = moments.error + moments.doubt

    def cost(logs: np.ndarray) -> float:
        factors = np.exp(logs)
        spread = np.tensordot(factors**2, terms[:-1], 1) + least
        fit = np.mean(np.log(spread) + error / spread)
        return float(fit) + _surprise(tried * factors, moments)

    far = np.log(stride)
    found = minimize(cost, np.zeros(len(tried)), bounds=[(-far, far)] * len(tried))
    return np.asarray(np.exp(found.x))
