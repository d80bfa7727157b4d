"""What a benchmark computes: its presets, and the list of jobs."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from pyro_msm import presets
from pyro_msm.config import Config, resolve
from pyro_msm.data import systems as simulated
from pyro_msm.errors import InputError
from pyro_msm.forecasting.baselines import ALL_BASELINES, BASELINES
from pyro_msm.nn.comoving import ANGLE

MACRO_ONLY = "macro-only"
MULTISCALE = "multiscale"
LED = "led"
SLOW_FAST = "slow-fast"
NOISE_FLOOR = "noise-floor"
OURS = (MACRO_ONLY, MULTISCALE, LED, SLOW_FAST)

#: Baselines that look for the equation of what is observed, where nobody knows it: elsewhere they
#: would take minutes to find one that `coarse-dns` has.
EFFECTIVE_EQUATIONS = {"cspde-neural", "cspde-gp"}

#: Keys that the benchmark sets itself.
VARIED = {
    "model.micro": "choose models with --models",
    "model.warm_start": "its presets say which models grow",
    "seed": "choose seeds with --seeds",
}


@dataclass(frozen=True)
class Job:
    """One row of the table: what is fitted at a time, and scored on every split.

    Attributes:
        system: what is simulated.
        model: one of ``OURS``, ``noise-floor`` or a baseline.
        micro: size of the microscale state; None for what has none.
        seed: of the training and the ensemble; None for what has its own or none.
    """

    system: str
    model: str
    micro: int | None = None
    seed: int | None = None

    def __str__(self) -> str:
        size = f" with micro={self.micro}" if self.model == MULTISCALE else ""
        return f"{self.model}{size}" + ("" if self.seed is None else f", seed {self.seed}")


@dataclass(frozen=True)
class Plan:
    """A preset of the benchmark.

    Attributes:
        preset: its name, also that of the systems' presets.
        micro: sizes of the microscale; the first and last are trained from every seed.
        seeds: roots of trainings.
        config: sections of the configuration, under the system's preset.
        baselines: arguments of the baselines, given to those that take them.
        chain: sizes that, for the first seed, are grown from the size before.
        grown: keys of ``training`` for those, over the system's preset.
        led_seconds: bounds a training of LED, in place of what ``config`` says; None: as that says.
        ensemble_mib: mebibytes that the noise-free ensemble of a split may take; fewer members are
            drawn where it would be larger.
    """

    preset: str
    micro: tuple[int, ...]
    seeds: tuple[int, ...]
    config: dict[str, Any]
    baselines: dict[str, Any]
    chain: tuple[int, ...] = ()
    grown: dict[str, Any] = field(default_factory=dict)
    ensemble_mib: int = 1024
    led_seconds: float | None = None

    def configuration(self, job: Job, overrides: Sequence[str] = ()) -> Config:
        """The configuration of a job.

        Raises:
            InputError: an override that is wrong, or sets what the benchmark varies.
        """
        for text in overrides:
            key = text.partition("=")[0].strip()
            if key in VARIED:
                raise InputError(f"--set {text}: the benchmark varies {key}; {VARIED[key]}")
        if self.smaller(job, overrides) is None:
            return self._laid(job, overrides, {})
        return self._laid(job, overrides, {"training": self.grown})

    def smaller(self, job: Job, overrides: Sequence[str] = ()) -> Job | None:
        """The job from whose best weights this one grows; None: from its own initial weights.

        What was learned in the fixed frame says nothing in a moving one.
        """
        if job.micro is None or job.micro not in self.chain or job.seed != self.seeds[0]:
            return None
        size = max((size for size in self.micro if size < job.micro), default=None)
        if size is None:
            return None
        found = Job(job.system, MULTISCALE if size else MACRO_ONLY, size, job.seed)
        one, other = (self._laid(each, overrides, {}).model.frame for each in (found, job))
        return found if one == other else None

    def _laid(self, job: Job, overrides: Sequence[str], above: dict[str, Any]) -> Config:
        """The configuration, with the sections ``above`` over the system's preset."""
        family = job.model if job.model in (LED, SLOW_FAST) else MULTISCALE
        flags = {"model.family": family, "model.micro": job.micro, "seed": job.seed}
        base = Config.model_validate(self.config)
        base = resolve(job.system, preset=self.preset, base=base, flags=flags)
        if family == LED and self.led_seconds is not None:
            above = above | {"training": {"budget_seconds": self.led_seconds}}
        sections = {name: getattr(base, name).model_dump() | keys for name, keys in above.items()}
        base = Config.model_validate(base.model_dump() | sections)
        config = resolve(job.system, base=base, overrides=list(overrides), flags=flags)
        data = {"seed": config.data.seed or 0}
        if config.data.options.get("file"):  # a measured record ends where it ends
            data["extrapolation"] = 0
        update: dict[str, Any] = {"data": config.data.model_copy(update=data)}
        if job.micro is not None and job.micro <= ANGLE:  # too few for a moving frame
            update["model"] = config.model.model_copy(update={"frame": "fixed"})
        return config.model_copy(update=update)


def load_plan(preset: str) -> Plan:
    """The benchmark's preset of this name.

    Raises:
        InputError: unknown preset.

    >>> load_plan("demo").micro
    (0, 5)
    """
    text = resources.files(__package__).joinpath("presets.toml").read_text("utf-8")
    tables = tomllib.loads(text)
    if preset not in tables:
        near = presets.hint(preset, tables)
        raise InputError(f"unknown preset {preset!r}{near}; known: {', '.join(tables)}")
    table = tables[preset]
    return Plan(
        preset,
        tuple(table["micro"]),
        tuple(table["seeds"]),
        table.get("config", {}),
        table.get("baselines", {}),
        tuple(table.get("chain", ())),
        table.get("grown", {}),
        table["ensemble_mib"],
        table.get("led_seconds"),
    )


def jobs(
    plan: Plan,
    systems: Iterable[str] | None = None,
    models: Iterable[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> list[Job]:
    """All jobs, those of a system together: the noise floor, the baselines, then our models.

    Args:
        plan: the preset.
        systems: their names; None means all.
        models: names of ``OURS`` and baselines; None means all. Of these a system has those that
            its data suit.
        seeds: in place of the plan's.

    Raises:
        InputError: unknown system or model, or no seed.

    >>> [str(job) for job in jobs(load_plan("demo"), ["kdv-1d"], ["macro-only", "analog"])]
    ['noise-floor', 'analog', 'macro-only, seed 0']
    """
    known = [*OURS, *ALL_BASELINES]
    chosen = known if models is None else list(dict.fromkeys(models))
    for name in chosen:
        if name not in known:
            near = presets.hint(name, known)
            raise InputError(f"unknown model {name!r}{near}; known: {', '.join(known)}")
    roots = list(dict.fromkeys(plan.seeds if seeds is None else seeds))
    if not roots or min(roots) < 0:
        raise InputError("the benchmark needs at least one seed, and none below 0")
    found = []
    for system in _systems(systems):
        suited = suited_models(system, plan.preset)
        found += [Job(system, NOISE_FLOOR)]
        found += [Job(system, name) for name in ALL_BASELINES if name in chosen and name in suited]
        found += [
            Job(system, *each)
            for each in _ours(plan, roots)
            if each[0] in chosen and each[0] in suited
        ]
    return found


def suited_models(system: str, preset: str) -> set[str]:
    """Models of ours and baselines that can learn from what is observed of a system.

    >>> sorted(suited_models("slow-fast-a", "demo"))
    ['analog', 'mean-trajectory', 'persistence', 'regression', 'slow-fast']
    """
    observed = simulated.get(system).variable
    if observed != "field":
        return {SLOW_FAST if observed == "path" else LED, *BASELINES, "analog"}
    own = presets.presets(system)[preset].get("model", {}).get("family", MULTISCALE)
    found = {own, MACRO_ONLY, MULTISCALE, *ALL_BASELINES}
    return found if own == LED else found - EFFECTIVE_EQUATIONS


def _ours(plan: Plan, roots: Sequence[int]) -> list[tuple[str, int | None, int]]:
    """Model, size of the microscale and seed."""
    sized: list[tuple[str, int | None, int]] = [
        (MULTISCALE if size else MACRO_ONLY, size, seed)
        for size in plan.micro
        for seed in (roots if size in (plan.micro[0], plan.micro[-1]) else roots[:1])
    ]
    return sized + [(name, None, seed) for name in (LED, SLOW_FAST) for seed in roots]


def _systems(names: Iterable[str] | None) -> list[str]:
    known = presets.systems()
    chosen = list(dict.fromkeys(names or known))
    for name in chosen:
        if name not in known:
            near = presets.hint(name, known)
            raise InputError(f"unknown system {name!r}{near}; known: {', '.join(known)}")
    return chosen
