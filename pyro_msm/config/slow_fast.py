"""The section of the family slow-fast."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, field_validator

from pyro_msm.config.sections import Section

#: See ``models.fast_laws.KINDS``.
LawName = Literal["gaussian", "affine", "states", "moving-states", "three-states", "spline"]


class SlowFastConfig(Section):
    """Averaged dynamics of a slow variable, whose fast law is a normalizing flow."""

    coupling: str | None = Field(
        None,
        description="the known b and σ: a function package.module:name that returns a Coupling "
        "(none: that of the simulated system)",
    )
    dispersion: Literal["known", "learned"] = Field(
        "known", description="σ as the coupling has it, or a constant noise that is learned"
    )
    conditional: bool = Field(True, description="let the law of the fast variable depend on x")
    bins: int = Field(16, ge=2, description="bins of the flow's splines")
    hidden: int = Field(16, ge=1, description="width of the network behind the splines")
    laws: list[LawName] = Field(
        list(get_args(LawName)),
        min_length=1,
        description="kinds of fast laws, from which the evidence of the path chooses",
    )
    samples: int = Field(32, ge=8, description="points of each of two sets that averages are over")
    cells: int = Field(128, ge=2, description="cells in which increments are summed at first")
    increments: int = Field(64, ge=1, description="increments whose own place a step takes")
    power: float = Field(2.0, gt=0, description="p of the penalty on the moment E|Y|^p")
    penalties: list[float] = Field(
        [0.0, 10.0, 100.0],
        min_length=1,
        description="factors λ of that penalty, from which held-out segments choose",
    )
    posterior: Literal["flow", "lowrank", "map"] = Field(
        "lowrank",
        description="posterior: a second flow, a Gaussian of low rank about which b̄ and Σ̄ are "
        "taken as linear, or one point",
    )
    directions: int = Field(
        32, ge=1, description="directions of weight space, at most, that the posterior covers"
    )

    @field_validator("penalties")
    @classmethod
    def _not_negative(cls, value: list[float]) -> list[float]:
        if min(value) < 0:
            raise ValueError("numbers that are not negative")
        return value
