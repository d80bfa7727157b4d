"""Growth of the microscale: a model with more components that starts where a smaller one stands.

A trained model with n_η components tells what one more should be: a linear function of what its
encoder sees that explains most of what it still gets wrong. All that the small model has learned is
kept, and the weights with which the new component acts on it start at zero. So the grown model
encodes, forecasts and decodes as the small one does until training finds a use for the component.
This is how the published models were trained (Ilersich & Nair, NeurIPS 2025), one at a time.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pyro_msm import data as datasets
from pyro_msm.data.evenly import evenly
from pyro_msm.data.windows import Windows
from pyro_msm.errors import InputError
from pyro_msm.guides.amortized_path import AmortizedPathGuide
from pyro_msm.models import MultiscaleSDE
from pyro_msm.models.initialise import SNAPSHOTS, initial_law, measure, principal_basis, view_from
from pyro_msm.nn.comoving import ANGLE

#: Directions in which the encoder sees less than this share of its largest variance are not used.
SMALLEST = 1e-8

#: Tensors whose new entries are zero, so that what is new does not act on what is there.
WEIGHTS = ("weight", "bias", "linear")


def grow(
    guide: AmortizedPathGuide, data: xr.Dataset, micro: int | None = None
) -> tuple[MultiscaleSDE, AmortizedPathGuide]:
    """A model with a larger microscale state, and its guide, that start as the trained ones stand.

    From n_η = 0, which has no microscale parts, the parts of the first component are those of an
    untrained model for the data; their weights are drawn from PyTorch's generator.

    Args:
        guide: of the model to grow; neither is changed, and nothing is shared with them.
        data: a validated dataset, whose ``train`` split the new components are chosen from.
        micro: n_η of the grown model; None means one more.

    Raises:
        InputError: other fields than the model's, no ``train`` split, a smaller n_η, or no
            component to grow from in a moving frame.

    Example:
        >>> import pyro_msm as msm
        >>> data = msm.data.systems.get("kdv-1d", points=40, frames=21).simulate(seed=0)
        >>> model = msm.models.MultiscaleSDE.for_data(data, macro=10, micro=1, hidden=8)
        >>> guide = msm.guides.AmortizedPathGuide(model)
        >>> model, guide = msm.guides.grow(guide, data)
        >>> model.network.micro
        2
    """
    now = guide.model.network.micro
    micro = now + 1 if micro is None else micro
    check_fields(guide.model, data)
    if micro < now:
        raise InputError(f"a model with {now} microscale components cannot shrink to {micro}")
    train = datasets.select(data, "train")
    with torch.no_grad():
        grown = _continued(guide, _sized(guide.model, now, guide.model.settings["rank"]))
        while (size := grown.model.network.micro) < micro:
            grown = _next(grown, train) if size else _first(grown, data)
    return grown.model, grown


def check_fields(model: MultiscaleSDE, data: xr.Dataset) -> None:
    """Raises ``InputError`` if a model was made for other fields or drivers than those of data."""
    settings = model.settings
    wanted = [settings["channels"], *settings["grid"]]
    found = list(data["field"].shape[2:]) if "field" in data else None
    if found != wanted:
        raise InputError(
            f"the model was made for fields of (channel, *grid) = {wanted}, the data have {found}"
        )
    if list(data.attrs["boundary"]) != settings["boundary"]:
        raise InputError(
            f"the model was made for boundaries {settings['boundary']}, the data have "
            f"{list(data.attrs['boundary'])}"
        )
    for name in ("parameters", "forcing"):
        count = data[name].shape[-1] if name in data else 0
        if count != settings[name]:
            raise InputError(
                f"the model was made for {settings[name]} component(s) of {name}, the data have "
                f"{count}"
            )


def _first(guide: AmortizedPathGuide, data: xr.Dataset) -> AmortizedPathGuide:
    """From n_η = 0 to 1, the scales separated by the kernel that the macroscale has learned."""
    old = guide.model
    scales = copy.deepcopy(old.network.scales).cpu()
    found = measure(
        data, old.network.macro, 1, old.settings["rank"], scales=scales, order=old.network.order
    )
    model = _sized(old, 1, found.sizes["rank"])
    model.initialise(found)
    return _continued(guide, model)


def _next(guide: AmortizedPathGuide, train: xr.Dataset) -> AmortizedPathGuide:
    """From n_η ≥ 1 to n_η + 1."""
    network, settings = guide.model.network, guide.model.settings
    sample = _sample(train, settings["snapshots"], _device(guide))
    mean, field = guide.encode(sample.now)[0], sample.now[:, -1]
    misfit = field - network.mean_field(mean)
    if sample.observed is not None:
        misfit = misfit * sample.observed
    rest = view_from(settings["frame"])(misfit, field)
    rank = max(settings["rank"], _Inputs.of(guide.model).inner + 1)
    grown = _continued(guide, _sized(guide.model, network.micro + 1, rank))
    if rank > settings["rank"]:
        _add_mode(grown, rest)
    known = mean[:, network.macro_values :]
    weights, bias = leading_direction(_seen(grown, sample.now), known, rest)
    code = _micro_encoder(grown).code
    code.linear[-1], code.network[-1].bias[-1] = weights, bias
    _measure_last(grown, sample)
    return grown


def _sized(model: MultiscaleSDE, micro: int, rank: int) -> MultiscaleSDE:
    """An untrained model like another, but for the size of its microscale."""
    sizes = model.settings | {"micro": micro, "rank": rank}
    known = model.network.known_drift if model.known_by_hand else None
    return MultiscaleSDE(**sizes, known_drift=known)


def _continued(guide: AmortizedPathGuide, model: MultiscaleSDE) -> AmortizedPathGuide:
    """A guide of a larger model; both take over what the smaller ones have learned."""
    grown = AmortizedPathGuide(model)
    model.to(_device(guide))
    grown.to(_device(guide))
    inputs = _Inputs.of(guide.model)
    _take_over(guide.model.network.state_dict(), model.network.state_dict(), inputs)
    _take_over(guide.encoder.state_dict(), grown.encoder.state_dict(), inputs)
    return grown


@dataclass(frozen=True)
class _Inputs:
    """Where the perceptrons of a model find what they see.

    Attributes:
        inner: microscale components that are not the frame's angle.
        shared: width of μ, f(t) and t.
        snapshots: that the encoder sees.
    """

    inner: int
    shared: int
    snapshots: int

    @classmethod
    def of(cls, model: MultiscaleSDE) -> _Inputs:
        s = model.settings
        angle = ANGLE if s["frame"] == "comoving" else 0
        shared = s["parameters"] + s["forcing"] + int(s["time_input"])
        return cls(max(0, s["micro"] - angle), shared, s["snapshots"])

    def places(self, name: str, old: int, new: int) -> np.ndarray:
        """Of the ``old`` inputs of a weight among the ``new`` ones, one component or mode more."""
        if name.startswith("macro_drift"):  # [η, shared]
            return np.delete(np.arange(new), old - self.shared)
        if name.startswith("micro_drift"):  # [η, ψ(ζ), shared]
            return np.delete(np.arange(new), self.inner)
        if name.startswith(("decoder", "state_gain")):
            return np.arange(old)
        return np.arange(new).reshape(self.snapshots, -1)[:, : old // self.snapshots].ravel()


def _take_over(old: dict[str, Tensor], new: dict[str, Tensor], inputs: _Inputs) -> None:
    """Copies every tensor of ``old`` into its place in ``new``.

    Outputs of perceptrons and parts of the state are added last, inputs where ``inputs`` says. New
    entries of weights are zero, those of other tensors as they were.
    """
    for name, target in new.items():
        learned = old.get(name)
        # Without μ and f(t), the macroscale drift of n_η = 0 has no context.
        if learned is None and not name.endswith("context.weight"):
            continue
        if name.rpartition(".")[2] in WEIGHTS:
            target.zero_()
        if learned is not None:
            places = [np.arange(size) for size in learned.shape]
            if learned.dim() == 2 and learned.shape[1] != target.shape[1]:
                places[1] = inputs.places(name, learned.shape[1], target.shape[1])
            target[np.ix_(*places)] = learned


def _add_mode(guide: AmortizedPathGuide, rest: Tensor) -> None:
    """Fills the last mode of both bases with the leading one of what is left unexplained."""
    basis = principal_basis(rest, 1, 1)
    encoder = _micro_encoder(guide)
    encoder.basis[-1], encoder.offset[-1] = basis.rows[0], basis.rows[0] @ basis.mean
    guide.model.network.decoder.basis[-1] = basis.modes[0]


def leading_direction(seen: Tensor, known: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """The linear function of what is seen that explains most of what is left unexplained.

    Reduced-rank regression of rank one (Izenman, J. Multivariate Anal. 5, 1975), on the part of
    ``seen`` that the known components do not explain.

    Args:
        seen: (m, width).
        known: (m, n_η).
        rest: (m, values).

    Returns:
        Weights (width,) and bias (): ``seen @ weights + bias`` has mean 0 and variance 1.
    """
    centre = seen.double().mean(0)
    wide, known = seen.double() - centre, known.double() - known.double().mean(0)
    free = wide - known @ (torch.linalg.pinv(known) @ wide)
    variances, directions = torch.linalg.eigh(free.T @ free)
    used = variances > SMALLEST * variances[-1]
    whitening = directions[:, used] / variances[used].sqrt()
    # What is free has mean 0, so the mean of the rest does not count.
    gain = whitening.T @ (free.float().T @ rest).double()
    weights = whitening @ torch.linalg.eigh(gain @ gain.T)[1][:, -1]
    weights = weights / (wide @ weights).std(correction=0)
    return weights.float(), -(centre @ weights).float()


def _measure_last(guide: AmortizedPathGuide, sample: _Sample) -> None:
    """Sets the scales of the last component, and its law at the start of a trajectory."""
    network = guide.model.network
    now, later, first = (guide.encode(field)[0][..., -1:] for field in sample[:3])
    network.state_mean[-1], network.state_scale[-1] = 0.0, 1.0
    network.state_rate[-1] = ((later - now) / sample.lag).std().clamp(min=1e-6)
    law = initial_law(first, network.state_scale[-1:])
    network.initial_mean[-1] = law["initial_mean"][0]
    network.initial_log_std[-1] = law["initial_log_std"][0]


class _Sample(NamedTuple):
    """What the encoder sees, (m, snapshots, channel, *grid), all over a split, and a lag later.

    ``first`` is what it sees at the start of every trajectory; ``observed`` says where the last
    snapshots of ``now`` are known, None where all is.
    """

    now: Tensor
    later: Tensor
    first: Tensor
    lag: float
    observed: Tensor | None


def _sample(train: xr.Dataset, snapshots: int, device: torch.device) -> _Sample:
    count, trajectories = train.sizes["time"], train.sizes["trajectory"]
    windows = Windows(train, 2, max(1, min(8, (count - 1) // 4)), snapshots, device)
    last = count - snapshots - windows.stride
    starts = evenly(0, last, max(2, SNAPSHOTS // trajectories))
    which = torch.arange(trajectories)
    batch = windows.cut(
        which.repeat_interleave(len(starts)), torch.as_tensor(starts).long().repeat(trajectories)
    )
    first = windows.cut(which, torch.zeros_like(which)).field[:, 0]
    observed = None if batch.mask is None else batch.mask[:, 0]
    lag = windows.stride * windows.step
    return _Sample(batch.field[:, 0], batch.field[:, 1], first, lag, observed)


def _device(guide: AmortizedPathGuide) -> torch.device:
    return next(guide.parameters()).device


def _micro_encoder(guide: AmortizedPathGuide) -> Any:
    """What encodes η: the basis, its offset, and the map ``code`` from coefficients."""
    return guide.encoder.moving or guide.encoder


def _seen(guide: AmortizedPathGuide, field: Tensor) -> Tensor:
    """The coefficients that the encoder's perceptrons see of snapshots, (m, snapshots · rank)."""
    found: list[Tensor] = []
    hook = _micro_encoder(guide).code.register_forward_pre_hook(
        lambda _, inputs: found.append(inputs[0])
    )
    guide.encode(field)
    hook.remove()
    return found[0]
