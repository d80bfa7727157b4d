"""A recurrent network on POD coordinates."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from pyro_msm.forecasting.baselines import arrays
from pyro_msm.forecasting.baselines.pod_forecaster import Choice, Model, PodForecaster
from pyro_msm.nn.propagator import Propagator

RANKS = (4, 8, 16)
MEMORY = 50
STEPS = 3000
BATCH = 32
WINDOW = 64
LEARNING_RATE = 3e-3
NOISE = 0.01
CHECKS = 5


class PodRnn(PodForecaster):
    """An LSTM that reads POD coordinates one after the other and gives the next increment.

    Trained on windows of the training trajectories, one step ahead, each from an empty memory and
    with a little noise on what it reads. The rank (4, 8 or 16), and how long to train, are chosen
    by free-running forecasts of the validation split. Same seed, same machine, same numbers.

    Args:
        warmup: number of snapshots that a forecast starts from; the network reads them all.
        steps: optimisation steps for each rank; by default 3000.
        seed: of initial weights, windows and noise.
        budget_seconds: of the whole fit, shared equally by the ranks; None: no bound.
    """

    name: ClassVar[str] = "pod-rnn"

    def __init__(
        self,
        warmup: int = 1,
        steps: int | None = None,
        seed: int = 0,
        budget_seconds: float | None = None,
    ) -> None:
        super().__init__(warmup)
        self.steps, self.seed, self.budget_seconds = steps or STEPS, seed, budget_seconds

    def _candidates(
        self, coordinates: np.ndarray, only: Choice | None
    ) -> Iterator[tuple[Choice, Model]]:
        ranks = sorted({min(rank, coordinates.shape[-1]) for rank in RANKS})
        if only:
            ranks = [only["rank"]]
        seconds = None if self.budget_seconds is None else self.budget_seconds / len(ranks)
        for rank in ranks:
            record = torch.from_numpy(coordinates[..., :rank]).float()
            last = only["steps"] if only else self.steps
            for count, network in self._trained(record, last, seconds):
                if only and count < last:
                    continue
                weights = {name: part.numpy().copy() for name, part in network.state_dict().items()}
                yield {"warmup": self.warmup, "rank": rank, "steps": count}, weights

    def _trained(
        self, record: Tensor, steps: int, seconds: float | None
    ) -> Iterator[tuple[int, Propagator]]:
        """The network after so many steps, several times on the way."""
        began, window = time.perf_counter(), min(WINDOW, record.shape[1] - 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = _network(record.shape[-1])
        network.centre.copy_(record.mean((0, 1)))
        network.spread.copy_(record.std((0, 1)) + 1e-12)
        network.rate.copy_((record[:, 1:] - record[:, :-1]).std((0, 1)) + 1e-12)
        optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        generator = torch.Generator().manual_seed(self.seed)
        offsets, none = torch.arange(window + 1), torch.zeros(BATCH, window, 0)
        for step in range(1, steps + 1):
            rows = torch.randint(len(record), (BATCH, 1), generator=generator)
            first = torch.randint(record.shape[1] - window, (BATCH, 1), generator=generator)
            true = record[rows, first + offsets]
            noise = NOISE * network.spread * torch.randn(true[:, 1:].shape, generator=generator)
            law, _ = network(true[:, :-1] + noise, none, network.start(BATCH))
            loss = ((law.expected() - true[:, 1:]) / network.rate).square().mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            late = seconds is not None and time.perf_counter() - began > seconds
            if late or step == steps or step % -(-steps // CHECKS) == 0:
                yield step, network
            if late:
                return

    @staticmethod
    @torch.no_grad()
    def _advance(
        choice: Choice, model: Model, history: np.ndarray, leads: np.ndarray
    ) -> np.ndarray:
        network = _network(choice["rank"])
        network.load_state_dict(
            {name: torch.from_numpy(part) for name, part in model.items() if name != "bound"}
        )
        given = torch.from_numpy(history[..., : choice["rank"]]).float()
        batch, count, _ = given.shape
        steps = int(np.ceil(leads.max(initial=0))) + 1
        law, state = network(given, torch.zeros(batch, count, 0), network.start(batch))
        first = law.expected()[:, -1:]
        path, _ = network.free(first[:, 0], torch.zeros(batch, steps, 0), state)
        whole = torch.cat([given[:, -1:], first, path], dim=1).numpy().astype(float)
        return arrays.between(whole, leads, float(model["bound"][0]))


def _network(rank: int) -> Propagator:
    return Propagator(rank, cell="lstm", memory=MEMORY, hidden=MEMORY, layers=1)
