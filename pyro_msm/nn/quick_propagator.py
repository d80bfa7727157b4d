"""A propagator in NumPy: for few numbers at a time, several times faster than PyTorch."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from pyro_msm.nn.propagator import Propagator


class QuickPropagator:
    """The predictions of a ``Propagator`` of one component, step by step, on the host.

    A step of a few trajectories is some ten products of small matrices, each of which costs PyTorch
    more to call than to compute.

    Args:
        propagator: its weights are those of the moment.

    Attributes:
        std: (latent,) standard deviation of a step.
    """

    def __init__(self, propagator: Propagator) -> None:
        self.centre, self.spread = _array(propagator.centre), _array(propagator.spread)
        self.rate = _array(propagator.rate)
        self.inputs_centre = _array(propagator.inputs_centre)
        self.inputs_spread = _array(propagator.inputs_spread)
        self.std = _array(propagator.typical_log_std.exp()) * self.rate
        network = propagator.network
        self.first, self.last = _layer(network.first), _layer(network.last)
        self.middle = [_layer(layer) for layer in network.middle if isinstance(layer, nn.Linear)]
        self.polynomial = propagator.polynomial
        if self.polynomial is not None:
            self.factors = self.polynomial.factors.cpu().numpy().T
            self.weight, self.reach = _array(self.polynomial.weight), _array(self.polynomial.reach)
        self.cell = propagator.cell
        if self.cell is not None:
            weights = {name: _array(part) for name, part in self.cell.named_parameters()}
            self.seen = weights["weight_ih_l0"].T.copy(), weights["bias_ih_l0"]
            self.kept = weights["weight_hh_l0"].T.copy(), weights["bias_hh_l0"]

    def __call__(
        self, latent: np.ndarray, inputs: np.ndarray, state: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean (batch, latent) one step later, and the hidden state after it.

        Args:
            latent: (batch, latent).
            inputs: (batch, inputs) known inputs of the step.
            state: (batch, state_size).
        """
        seen = scaled = (latent - self.centre) / self.spread
        if inputs.shape[-1]:
            known = (inputs - self.inputs_centre) / self.inputs_spread
            seen = np.concatenate([seen, known], -1)
        if self.cell is not None:
            memory, state = self._remember(seen, state)
            seen = np.concatenate([seen, memory], -1)
        hidden = np.tanh(seen @ self.first[0] + self.first[1])
        for weight, bias in self.middle:
            hidden = hidden + np.tanh(hidden @ weight + bias)
        change = hidden @ self.last[0] + self.last[1]
        if self.polynomial is not None:
            change = change + self._polynomial(scaled)
        return latent + self.rate * change, state

    def _polynomial(self, scaled: np.ndarray) -> np.ndarray:
        near = np.clip(scaled, -self.reach, self.reach)
        variables = np.concatenate([np.ones_like(near[:, :1]), near], -1)
        found: np.ndarray = variables[:, self.factors].prod(1) @ self.weight
        return found

    def _remember(self, seen: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Output and state of the gated cell, by the formulas of ``nn.GRU`` and ``nn.LSTM``."""
        now = seen @ self.seen[0] + self.seen[1]
        if isinstance(self.cell, nn.LSTM):
            memory, carried = np.split(state, 2, -1)
            gates = now + memory @ self.kept[0] + self.kept[1]
            enter, keep, new, show = np.split(gates, 4, -1)
            carried = _sigmoid(keep) * carried + _sigmoid(enter) * np.tanh(new)
            memory = _sigmoid(show) * np.tanh(carried)
            return memory, np.concatenate([memory, carried], -1)
        before = state @ self.kept[0] + self.kept[1]
        (reset, update, new), (reset_h, update_h, new_h) = (
            np.split(part, 3, -1) for part in (now, before)
        )
        share = _sigmoid(update + update_h)
        new = np.tanh(new + _sigmoid(reset + reset_h) * new_h)
        memory = (1 - share) * new + share * state
        return memory, memory


def _array(tensor: Tensor) -> np.ndarray:
    found: np.ndarray = tensor.detach().cpu().numpy()
    return found


def _layer(layer: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    return _array(layer.weight).T.copy(), _array(layer.bias)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    # By the tangent, which cannot overflow.
    return 0.5 + 0.5 * np.tanh(0.5 * values)
