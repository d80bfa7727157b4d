"""A coarse-scale PDE whose right-hand side is a small network."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from pyro_msm.forecasting.baselines.coarse_pde import Choice, CoarsePde, Model

WIDTHS = (8, 16)
DECAYS = (1e-8, 1e-6, 1e-4)
STEPS = 1000


class CoarsePdeNeural(CoarsePde):
    """``CoarsePde`` with F a perceptron of two hidden layers of tanh, trained by L-BFGS.

    Its width (8 or 16) and the penalty on its weights are chosen on the validation split.

    Args:
        warmup: number of snapshots it is given; it reads the last.
        seed: of the sample and the initial weights.
        budget_seconds: see ``CoarsePde``.
        steps: iterations of the optimiser for each setting; by default 1000.
    """

    name: ClassVar[str] = "cspde-neural"

    def __init__(
        self,
        warmup: int = 1,
        seed: int = 0,
        budget_seconds: float | None = None,
        steps: int | None = None,
    ) -> None:
        super().__init__(warmup, seed, budget_seconds)
        self.steps = steps or STEPS

    def _candidates(self, inputs: np.ndarray, rates: np.ndarray) -> Iterator[tuple[Choice, Model]]:
        given, aim = torch.from_numpy(inputs), torch.from_numpy(rates)
        for width, decay in itertools.product(WIDTHS, DECAYS):
            network = self._trained(given, aim, width, decay)
            model = {
                f"{kind}_{number}": getattr(network[2 * number], kind).detach().numpy().copy()
                for number in range(3)
                for kind in ("weight", "bias")
            }
            yield {"width": width, "decay": decay}, model

    def _trained(self, given: Tensor, aim: Tensor, width: int, decay: float) -> nn.Sequential:
        network = self._built(given.shape[1], width, aim.shape[1])
        parameters = list(network.parameters())
        # Rates are small differences of large terms: it goes on until nothing is gained.
        optimiser = torch.optim.LBFGS(
            parameters,
            max_iter=self.steps,
            tolerance_grad=1e-9,
            tolerance_change=1e-13,
            history_size=30,
            line_search_fn="strong_wolfe",
        )

        def closure() -> float:
            optimiser.zero_grad()
            penalty = torch.stack([part.square().sum() for part in parameters]).sum()
            loss = (network(given) - aim).square().mean() + decay * penalty
            loss.backward()
            return loss.item()

        optimiser.step(closure)
        return network

    def _built(self, inputs: int, width: int, outputs: int) -> nn.Sequential:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            layers = nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()
            return nn.Sequential(*layers, nn.Linear(width, outputs)).double()

    @staticmethod
    def _regression(model: Model, inputs: np.ndarray) -> np.ndarray:
        for number in (0, 1):
            inputs = np.tanh(inputs @ model[f"weight_{number}"].T + model[f"bias_{number}"])
        return inputs @ model["weight_2"].T + model["bias_2"]
