"""Sentences on uncertainty: how long the band holds, where the variance comes from, the scales."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SPACE = "\u00a0"
# Spectra whose energies differ by less than this factor, in the root mean square, count as equal.
LIKE = 1.25


def trust(result: Mapping[str, Any]) -> str:
    """Up to which lead time the 90 % band held what it promises, and by how much it fails later."""
    held = result.get("band_holds")
    if not held:
        return ""
    truth = "noise-free" if held["against"] == "clean" else "noisy"
    band = f"The {_percent(held['nominal'])} band"
    horizon = result["by_lead_time"]["lead_time"][-1]
    before, beyond = held.get("before"), held["beyond"]
    if held["until"] is None:
        return (
            f"{band} held {_held(beyond)} of the {truth} truth, and is wrong at all lead times: it "
            f"is {_width(beyond['factor'])}."
        )
    if not before and not beyond:
        return (
            f"{band} can be taken at its word over the whole horizon (lead time {horizon:.3g}): it "
            f"held {_held(held)} of the {truth} truth."
        )
    start = f"from lead time {held['from']:.3g} " if before else ""
    end = f"up to {'' if before else 'lead time '}{held['until']:.3g}"
    parts = [f"{band} held {_held(held)} of the {truth} truth {start}{end}"]
    for name, part in [("before", before), ("beyond", beyond)]:
        if part:
            parts.append(f"{name} that it held {_held(part)} and is {_width(part['factor'])}")
    return "; ".join(parts) + "."


def sources(result: Mapping[str, Any]) -> str:
    """What the variance of the forecast is made of."""
    parts = result.get("variance_parts")
    if not parts or parts["dynamical"] is None:
        return ""
    shares = parts["shares"]
    named = [f"{_percent(shares['dynamical'])} arises within a model (dynamics, initial state)"]
    if shares["observation"] is not None:
        named.append(f"{_percent(shares['observation'])} is observation noise")
    if shares["epistemic"] is None:
        return (
            f"Of the forecast's variance {' and '.join(named)}. One model was trained, so "
            "how much others would disagree is not known: --chains 4 trains four."
        )
    return (
        f"Of the forecast's variance {_percent(shares['epistemic'])} is disagreement between "
        f"{result.get('chains', 'the')} trained models, which more data could reduce; "
        f"{' and '.join(named)}."
    )


def scales(result: Mapping[str, Any]) -> str:
    """What the micro part adds, and whether members are as rough as the truth."""
    said = []
    found = result.get("scales")
    if found and found["explained"]["both"] is not None:
        macro, both = found["explained"]["macro"], found["explained"]["both"]
        said.append(
            f"The macro part alone explains {_share(macro)} of the truth's variance, with the "
            f"micro part {_share(both)}."
        )
    spectrum = result.get("spectrum")
    if spectrum and spectrum["log_ratio_rms"] is not None:
        factor = 2.718281828 ** spectrum["log_ratio_rms"]
        if factor <= LIKE:
            said.append("Single members have as much energy at each scale as the truth.")
        else:
            said.append(
                "Single members are not as rough or smooth as the truth: their energy at a scale "
                f"is typically off by a factor of {factor:.2g}."
            )
    return " ".join(said)


def _held(part: Mapping[str, Any]) -> str:
    low, high = part["interval"]
    return f"{_percent(part['observed'])} [{100 * low:.0f}, {100 * high:.0f}]"


def _width(factor: float) -> str:
    if factor >= 1:
        return f"too narrow by {factor:.2g}×"
    return f"too wide by {1 / factor:.2g}×"


def _share(value: float) -> str:
    return _percent(value) if value > 0 else "nothing"


def _percent(value: float) -> str:
    return f"{100 * value:.0f}{SPACE}%"
