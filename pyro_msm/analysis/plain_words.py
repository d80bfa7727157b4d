"""The scores in plain sentences, for a reader who decides and does not compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pyro_msm.analysis.plain_particles import baseline, particles
from pyro_msm.analysis.plain_uncertainty import scales, sources, trust
from pyro_msm.analysis.score_rows import leading
from pyro_msm.analysis.wording import how_many, percent

# Spread–skill within these bounds counts as right.
RIGHT = (0.8, 1.25)
# Errors closer than this to each other are called equal.
EQUAL = 0.03


def sentences(result: Mapping[str, Any]) -> list[str]:
    """What the scores say, most important first; nothing is left out because it is bad.

    Args:
        result: scores as ``evaluate`` returns them, or one of its ``splits``.
    """
    said = [_divergence(result)]
    if result.get("particles"):
        said += [particles(result), baseline(result)]
    else:
        said += [_error(result), _floor(result), _baseline(result)]
        said += [_dressed(result), trust(result)]
        said += [_coverage(result), _spread(result), sources(result), scales(result)]
        said += [_useful(result)]
    said += [_few(result), _seconds(result)]
    return [sentence for sentence in said if sentence]


def _error(result: Mapping[str, Any]) -> str:
    error = result["relative_error"]
    which = "that the model has not seen"
    if result.get("split", "test") != "test":
        which = f"of the {result['split']} split"
    if error["mean"] is None:
        until = _finite_until(result)
        if until is None:
            return "There is no time at which all forecasts are finite, so no error can be given."
        return f"Errors can be given up to lead time {until:.3g} only: see the figures."
    each = [e for e in error["per_trajectory"] if e is not None]
    between = f" (between {percent(min(each))} and {percent(max(each))})" if len(each) > 1 else ""
    whose = f"the {result.get('variable', 'field')}'s size"
    against = "the truth" if _exact(result) else "noisy observations"
    text = (
        f"On {how_many(result['trajectories'])} {which}, the forecast is off by "
        f"{percent(error['mean'])} of {whose} on average{between}, measured against {against}."
    )
    if result.get("variable") == "path":
        text += " That counts times at which the path is close to zero as much as others: CRPS, in "
        text += "the path's own units, does not."
    return text


def _floor(result: Mapping[str, Any]) -> str:
    floor, clean = result.get("noise_floor"), result.get("relative_error_clean")
    if not floor or not clean:
        return "The noise-free truth is not known, so errors include the noise of the observations."
    if _exact(result):
        return ""
    text = (
        f"A perfect forecast would score {percent(floor['relative_error']['mean'])}, because the "
        "observations are noisy."
    )
    if clean["mean"] is None:
        return text
    return f"{text} Against the noise-free truth the forecast is off by {percent(clean['mean'])}."


def _exact(result: Mapping[str, Any]) -> bool:
    """Whether the observations are known to be without noise."""
    return (result.get("noise_floor") or {}).get("relative_error", {}).get("mean") == 0


def _baseline(result: Mapping[str, Any]) -> str:
    own = result["relative_error"]["mean"]
    known = {
        name: scored["relative_error"]
        for name, scored in result.get("baselines", {}).items()
        if scored["relative_error"]["mean"] is not None
    }
    if not known:
        return "No baseline was scored beside it, so these numbers cannot be put in proportion."
    name, best = min(known.items(), key=lambda item: item[1]["mean"])
    if own is None:
        return f"The best baseline, {name}, reaches {percent(best['mean'])}."
    ratio = own / best["mean"] if best["mean"] else np.inf
    pairs = zip(result["relative_error"]["per_trajectory"], best["per_trajectory"], strict=True)
    wins = sum(a is not None and b is not None and a < b for a, b in pairs)
    tally = f"it is closer on {wins} of {how_many(result['trajectories'])}"
    if ratio > 1 + EQUAL:
        return (
            f"The model LOSES to the best baseline, {name}, which is off by "
            f"{percent(best['mean'])}: its error is {ratio:.2g}× as large ({tally}). Use the "
            "baseline, unless you need the model's uncertainty or its latent states."
        )
    if ratio > 1 - EQUAL:
        return f"It is as good as the best baseline, {name} ({percent(best['mean'])}; {tally})."
    return (
        f"It beats the best baseline, {name} ({percent(best['mean'])}): the error is "
        f"{percent(1 - ratio)} smaller ({tally})."
    )


def _dressed(result: Mapping[str, Any]) -> str:
    """Whether the ensemble is worth more than baselines with their validation errors."""
    known = {
        name: scored["crps_dressed"]
        for name, scored in result.get("baselines", {}).items()
        if scored.get("crps_dressed") is not None
    }
    if not known or result["crps"] is None or result["members"] < 2:
        return ""
    name, best = min(known.items(), key=lambda item: item[1])
    better = "better than" if result["crps"] < best else "NOT better than"
    return (
        f"Judged as a probability it is {better} every baseline that is given the spread of its "
        f"own validation errors: CRPS (smaller is better) {result['crps']:.3g} against {best:.3g} "
        f"of {name}."
    )


def _coverage(result: Mapping[str, Any]) -> str:
    held = result["coverage"]["0.9"]
    if held["observed"] is None:
        return "The width of its bands could not be checked." if result["members"] > 1 else ""
    promised = f"{100 * held['nominal']:.0f}\u00a0%"
    bounds = (result.get("intervals", {}).get("coverage") or {}).get("0.9")
    between = (
        f" [{100 * bounds[0]:.0f}, {100 * bounds[1]:.0f}]" if bounds and None not in bounds else ""
    )
    text = f"The {promised} band held {100 * held['observed']:.0f}\u00a0%{between} of the "
    if _exact(result):
        return "" if result.get("band_holds") else f"{text}truth."
    text += "noisy truth (band with observation noise)"
    clean = (result.get("coverage_clean") or {}).get("0.9", {}).get("observed")
    return text + (
        f", and {100 * clean:.0f}\u00a0% of the noise-free one." if clean is not None else "."
    )


def _spread(result: Mapping[str, Any]) -> str:
    if result["members"] < 2:
        return "It is one forecast without members, so it says nothing about its own uncertainty."
    ratio = result["spread_skill"]
    if ratio is None:
        return ""
    start, factor = _until(result["by_lead_time"])
    now = f"The ensemble's spread is {_verdict(ratio)} for the errors that it makes"
    if start is None:
        return now + "."
    return (
        f"{now}, averaged over the horizon; it is right up to lead time {start:.3g} and after that "
        f"{_verdict(factor)}."
    )


def _verdict(ratio: float) -> str:
    if ratio < RIGHT[0]:
        return f"too narrow by a factor of {1 / ratio:.2g}" if ratio else "zero"
    if ratio > RIGHT[1]:
        return f"too wide by a factor of {ratio:.2g}"
    return f"about right ({ratio:.2g}×)"


def _until(lists: Mapping[str, Any]) -> tuple[float | None, float]:
    """The lead time up to which the spread is right, if it is wrong after it, and by how much."""
    columns = zip(lists["lead_time"], lists["spread"], lists["rmse"], strict=True)
    values = np.array([row for row in columns if None not in row], float).reshape(-1, 3)
    if not len(values) or not values[:, 2].all():
        return None, 1.0
    ratio = values[:, 1] / values[:, 2]
    right = np.logical_and.accumulate((ratio >= RIGHT[0]) & (ratio <= RIGHT[1]))
    count = int(right.sum())
    if count in {0, len(values)}:
        return None, 1.0
    later = np.sqrt((values[count:, 1] ** 2).mean() / (values[count:, 2] ** 2).mean())
    if RIGHT[0] <= later <= RIGHT[1]:  # it left the range and came back: nothing to report
        return None, 1.0
    return float(values[count - 1, 0]), float(later)


def _divergence(result: Mapping[str, Any]) -> str:
    number = result["diverged"]
    if not number:
        return ""
    total = result["members"] * result["trajectories"]
    first = result.get("diverged_first_at")
    when = f", the first at t={first:.3g}" if first is not None else ""
    return (
        f"{number} of {total} forecasts DIVERGED{when}: scores that they touch are not given, and "
        "the model should not be used beyond that time."
    )


def _finite_until(result: Mapping[str, Any]) -> float | None:
    lists = result["by_lead_time"]
    pairs = zip(lists["lead_time"], lists["relative_error"], strict=True)
    return max((time for time, error in pairs if error is not None), default=None)


def _useful(result: Mapping[str, Any]) -> str:
    valid = result["valid_prediction_time"]
    limit = f"{100 * valid['threshold']:.0f}\u00a0%"
    horizon = result["by_lead_time"]["lead_time"][-1]
    if valid["reached_horizon"] == result["trajectories"]:
        return f"The error stays below {limit} over the whole horizon (lead time {horizon:.3g})."
    return (
        f"The error stays below {limit} up to lead time {valid['mean']:.3g} on average, of a "
        f"horizon of {horizon:.3g}."
    )


def _few(result: Mapping[str, Any]) -> str:
    number = result["trajectories"]
    if number == 1:
        return "There is one trajectory only: how much these numbers vary is not known."
    if number < 10:
        known = leading(result) is not None
        below = "; intervals are given below" if known else ""
        return f"With {number} trajectories these numbers are rough{below}."
    return ""


def _seconds(result: Mapping[str, Any]) -> str:
    named = {"train": "training", "rollout": "the rollout"}
    seconds = result.get("seconds") or {}
    took = [f"{text} {seconds[k]:.3g} s" for k, text in named.items() if seconds.get(k) is not None]
    return f"Time taken: {', '.join(took)}." if took else ""
