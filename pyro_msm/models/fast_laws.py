"""Kinds of fast laws: what the prior of a flow lets depend on what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_msm.nn.flows import InvariantLaw

#: Prior standard deviations of a state's logarithmic width, and of its logarithmic occupancy in
#: ratio to that of the first state, for x within one width of its centre.
WIDTH, OCCUPANCY = 0.5, 2.0

#: Size at which weights start that should have no effect yet.
QUIET = 0.05


@dataclass(frozen=True)
class LawKind:
    """Prior standard deviations of groups of weights of an ``InvariantLaw``; 0 leaves them out.

    Attributes:
        title: what the fast variable has, for people.
        by_x: and what x does to that.
        states: of the base.
        places: of how x moves the law.
        widths: of how x, and the components before, change the width of a component.
        shapes: of what the splines' knots are made of.
    """

    title: str
    by_x: str
    states: int = 1
    places: float = 1.0
    widths: float = 0.0
    shapes: float = 0.0

    def described(self, conditional: bool) -> str:
        """What the fast variable has, in a model that lets it depend on x or not."""
        return f"{self.title}, {self.by_x}" if conditional else self.title

    def scales(self, law: InvariantLaw) -> Iterator[tuple[str, Tensor]]:
        """Name and prior standard deviations of each parameter of the law, in their order."""
        for name, parameter in law.named_parameters():
            scale = torch.ones_like(parameter, dtype=torch.float64)
            if name == "log_width":
                scale *= WIDTH
            elif name == "occupancy":
                scale *= OCCUPANCY
            elif name.endswith("weight"):
                scale /= parameter.shape[1] ** 0.5
            if "transforms.0" in name and name.endswith("weight"):
                scale[1::2] *= self.widths  # rows: shift and logarithmic scale, by turns
                scale[0::2, parameter.shape[1] - law.context :] *= self.places
            elif "transforms.1" in name and "hyper.0" not in name:
                scale *= self.shapes
            yield name, scale

    def start(self, law: InvariantLaw, generator: torch.Generator) -> Tensor:
        """Whitened weights to start from: states apart, random features with almost no effect."""
        found = []
        for name, parameter in law.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if name == "place":
                apart = torch.linspace(-1, 1, law.states, dtype=torch.float64)
                drawn = apart[:, None] * drawn[0] / drawn[0].norm()
            elif not ("transforms.1" in name and "hyper.0" in name):
                drawn *= QUIET
            found.append(drawn.flatten())
        return torch.cat(found)


#: From the one of the fewest parameters on.
KINDS = {
    "gaussian": LawKind("one Gaussian state", "that x moves"),
    "affine": LawKind("one state of any widths", "that x moves and widens", widths=1.0),
    "states": LawKind(
        "two Gaussian states", "the likelier of which x decides", states=2, places=0.0
    ),
    "moving-states": LawKind(
        "two Gaussian states", "that x moves, and the likelier of which it decides", states=2
    ),
    "three-states": LawKind(
        "three Gaussian states", "the likelier of which x decides", states=3, places=0.0
    ),
    "spline": LawKind("one state of any shape", "that depends on x", widths=1.0, shapes=0.5),
}

#: Log evidences that differ by less are taken as the same.
GAIN = 2.0


def chosen(evidence: Mapping[str, float]) -> str:
    """The first of ``KINDS`` whose log evidence is within ``GAIN`` of the largest one.

    Example:
        >>> chosen({"spline": 10.0, "gaussian": 8.5, "states": 3.0})
        'gaussian'
    """
    least = max(evidence.values()) - GAIN
    return next(name for name in KINDS if evidence.get(name, -torch.inf) >= least)
