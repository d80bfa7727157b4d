"""Several processes that train one model: PyTorch's DDP, as ``torchrun`` starts it."""

from __future__ import annotations

import datetime
import gc
import importlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from pyro_msm.distributions.windows_noise import part_of_windows
from pyro_msm.errors import InputError

Result = TypeVar("Result")

#: One process may simulate data, or validate, for long while the others wait for it.
PATIENCE = datetime.timedelta(days=1)


class Processes:
    """The processes that train together; one alone where ``torch.distributed`` is not in use.

    Every process draws the whole batch from the same random stream and computes the loss of its
    share. The loss of a share is scaled as if it were a batch of its own, so the mean over the
    processes, which DDP takes of gradients, is the loss of the whole batch; and what does not
    belong to windows counts once. The process of rank 0 *leads*: it alone writes, validates and
    shows progress.

    Attributes:
        rank: of this process, from 0.
        count: of all.
    """

    def __init__(self) -> None:
        self.together = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank() if self.together else 0
        self.count = distributed.get_world_size() if self.together else 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes, validates and shows progress."""
        return self.rank == 0

    def share(self, windows: int) -> slice:
        """The windows of a batch that are this process's.

        Raises:
            InputError: they do not divide.
        """
        if windows % self.count:
            larger = windows + self.count - windows % self.count
            raise InputError(
                f"training.windows = {windows} cannot be shared by {self.count} processes: give a "
                f"multiple of {self.count}, as --set training.windows={larger}"
            )
        each = windows // self.count
        return slice(self.rank * each, (self.rank + 1) * each)

    def noise(self) -> AbstractContextManager[None]:
        """Within it random paths are those of this process's share of the windows."""
        return part_of_windows(self.rank, self.count)

    def replica(self, loss: nn.Module) -> nn.Module:
        """The loss, its gradients averaged over the processes by DDP.

        The weights become those of the leading process.

        Raises:
            InputError: more processes on this machine than GPUs, where these are used.
        """
        if not self.together:
            return loss
        _check_gpus(next(loss.parameters()).device)
        with warnings.catch_warnings():
            # PyTorch 2.13 renames the option; earlier versions know it by this name only.
            warnings.simplefilter("ignore", FutureWarning)
            # Buffers are constants: there is nothing to send at every step.
            return DistributedDataParallel(loss, broadcast_buffers=False)

    def mean(self, *values: Tensor | float) -> list[float]:
        """Means over the processes, the same numbers in all of them."""
        if not self.together:
            return [float(value) for value in values]
        message = torch.tensor([float(value) for value in values], dtype=torch.float64)
        distributed.all_reduce(message)
        return (message / self.count).tolist()

    def any(self, flag: bool) -> bool:
        """Whether it is true in any of the processes."""
        return self.mean(flag)[0] > 0 if self.together else flag

    def by_leader(self, work: Callable[[], Result]) -> Result:
        """What ``work`` returns in the leading process; the others wait for it.

        An error there is raised there; the others leave with ``SystemExit``.
        """
        if not self.together:
            return work()
        answer: list[Result | None] = [None]
        failed: BaseException | None = None
        if self.leads:
            try:
                answer = [work()]
            except BaseException as error:
                failed = error
        (failures,) = self.mean(float(failed is not None))
        if failed is not None:
            raise failed
        if failures:
            raise SystemExit(1)
        distributed.broadcast_object_list(answer, src=0)
        return answer[0]  # type: ignore[return-value]


@contextmanager
def process_group() -> Iterator[Processes]:
    """Joins the processes that ``torchrun`` has started; a process on its own stays so.

    Gradients travel by gloo on the CPU and by NCCL on GPUs, of which each process takes one.

    Example, in a script that ``torchrun --nproc-per-node 2 script.py`` starts:
        >>> with process_group() as processes:  # fit = msm.fit(model, guide, data)
        ...     processes.count
        1
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or distributed.is_initialized():
        yield Processes()
        return
    gpus, own = torch.cuda.device_count(), int(os.environ["LOCAL_RANK"])
    if own < gpus:
        torch.cuda.set_device(own)
    backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
    # DDP imports this module, whose functions keep the group of that moment as a default argument.
    importlib.import_module("torch.distributed.nn.functional")
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Processes()
    finally:
        # Threads of gloo drop tensors a moment after a collective has returned; one that does so
        # while the interpreter goes down aborts the process. They end with the last reference to
        # the group, which has to be PyTorch's own: replicas that nobody needs go first.
        gc.collect()
        distributed.destroy_process_group()


def _check_gpus(device: torch.device) -> None:
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if device.type == "cuda" and here > (found := torch.cuda.device_count()):
        raise InputError(
            f"{here} processes on a machine with {found} GPU(s): each needs one of its own; start "
            f"{found}, or compute with --device cpu"
        )
