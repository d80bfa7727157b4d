"""Energy spectra over space, of the members one by one and of the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse

from pyro_msm.scores.block import Block, Statistic
from pyro_msm.scores.metric import Metric, Sums

#: Numbers that are transformed at once.
CACHED = 2**16


class Spectrum:
    """The energy of a field in shells of equal wavenumber |k|, over one or two space axes.

    Along one periodic axis S₀ = |F₀|²/n² and S_k = 2|F_k|²/n², the Nyquist bin not doubled. Over
    several axes all modes whose |k| rounds to the same multiple of the coarsest axis's step are
    added up. The spectrum therefore sums to the mean square of the field (Parseval).

    An axis that is not periodic is multiplied by a Hann window of unit mean square, after the
    field's mean over space is taken off; the spectrum then sums to the mean square of that product.

    Args:
        shape: points of each axis.
        domain: length of each axis.
        periodic: of each axis.

    Attributes:
        wavenumber: (shell,), in cycles per unit of length.

    Example:
        >>> import numpy as np
        >>> x = np.arange(8) / 8
        >>> spectrum = Spectrum((8,), (1.0,), (True,))
        >>> spectrum(1 + np.cos(2 * np.pi * 2 * x)).round(3).tolist()
        [1.0, 0.0, 0.5, 0.0, 0.0]
    """

    def __init__(
        self, shape: Sequence[int], domain: Sequence[float], periodic: Sequence[bool]
    ) -> None:
        if not len(shape) == len(domain) == len(periodic) or not len(shape):
            raise ValueError(
                "expected as many lengths and boundaries as axes, "
                f"got {len(domain)} and {len(periodic)} for {len(shape)}"
            )
        self.shape = tuple(int(n) for n in shape)
        self._window = None if all(periodic) else _window(self.shape, periodic)
        waves = [np.fft.fftfreq(n, length / n) for n, length in zip(shape, domain, strict=True)]
        last = self.shape[-1]
        waves[-1] = np.fft.rfftfreq(last, domain[-1] / last)
        step = max(1 / length for length in domain)
        radius = np.sqrt(sum(k**2 for k in np.meshgrid(*waves, indexing="ij")))
        shell = np.rint(radius / step).astype(int).ravel()
        twice = np.full(waves[-1].shape, 2.0)
        twice[0] = 1.0
        if last % 2 == 0:
            twice[-1] = 1.0
        weight = np.broadcast_to(twice, radius.shape).ravel() / np.prod(self.shape) ** 2
        modes = np.arange(shell.size)
        self._shells = sparse.csr_array((weight, (shell, modes)), (shell.max() + 1, shell.size))
        self.wavenumber = np.arange(shell.max() + 1) * step

    def __call__(self, field: np.ndarray) -> np.ndarray:
        """The spectra (…, shell) of fields (…, *shape); NaN where a field is not finite."""
        return self.in_shells(self.power(field))

    def power(self, field: np.ndarray) -> np.ndarray:
        """|F|² of every mode, (…, mode), of fields (…, *shape)."""
        axes = tuple(range(-len(self.shape), 0))
        field = np.asarray(field, np.float64)
        if self._window is not None:
            field = (field - field.mean(axes, keepdims=True)) * self._window
        modes = np.fft.rfftn(field, axes=axes)
        power = modes.real**2 + modes.imag**2
        return power.reshape(*field.shape[: -len(self.shape)], -1)

    def in_shells(self, power: np.ndarray) -> np.ndarray:
        """The spectra (…, shell) of powers (…, mode)."""
        lead = power.shape[:-1]
        return (self._shells @ power.reshape(-1, power.shape[-1]).T).T.reshape(*lead, -1)


def _window(shape: Sequence[int], periodic: Sequence[bool]) -> np.ndarray:
    window = np.ones(())
    for n, whole in zip(shape, periodic, strict=True):
        hann = np.ones(n) if whole else np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2
        window = window[..., np.newaxis] * hann / np.sqrt((hann**2).mean())
    return window


class Spectra(Metric):
    """Mean spectra of the truth, of the members and of the ensemble mean, (…, 3, shell).

    The members' should be the truth's; the mean of an honest ensemble is smoother than either. They
    are averages over channels. Samples with unobserved points have no spectrum and are left out.

    Args:
        spectrum: of the grid of the fields.
    """

    whole_fields = True

    def __init__(self, spectrum: Spectrum) -> None:
        self.spectrum = spectrum

    def sums(self, block: Block) -> Sums:
        """See ``Metric``: of the truth, of single members, and the fields themselves."""
        whole = block.observed.all(-1)
        power: np.ndarray | float = 0.0
        step = max(1, CACHED // block.truth.size)
        for first in range(0, block.size, step):
            power = power + self._power(block.members[first : first + step]).sum(0)
        found = {
            "truth": self.spectrum.in_shells(self._power(block.truth)) * block.size,
            "members": self.spectrum.in_shells(np.asarray(power)),
            "mean": block.members.sum(0, dtype=np.float64),
        }
        weight = whole * float(block.size)
        return {
            name: Statistic(np.where(whole[..., np.newaxis], total, 0), weight)
            for name, total in found.items()
        }

    def statistics(self, sums: Sums) -> Sums:
        """See ``Metric``."""
        weight = sums["members"].weight
        whole, each = (weight > 0).astype(np.float64), np.maximum(weight, 1)[..., np.newaxis]
        found = {name: total / each for name, (total, _) in sums.items()}
        found["mean"] = self.spectrum.in_shells(self._power(found["mean"]))
        return {name: Statistic(total, whole) for name, total in found.items()}

    def value(self, means: Mapping[str, np.ndarray]) -> np.ndarray:
        """See ``Metric``."""
        return np.stack([means["truth"], means["members"], means["mean"]], -2)

    def _power(self, values: np.ndarray) -> np.ndarray:
        """Averaged over channels: (…, mode) of (…, point)."""
        fields = values.reshape(*values.shape[:-1], -1, *self.spectrum.shape)
        return self.spectrum.power(fields).mean(-2)
