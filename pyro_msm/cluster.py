"""Where blocks of work run: one after the other here, or on the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from pyro_msm.errors import InputError
from pyro_msm.progress import Update

Block = TypeVar("Block")
Result = TypeVar("Result")


class Run(Protocol):
    """Does a function for every block; yields each block with its result, in any order."""

    def __call__(
        self, function: Callable[[Block], Result], blocks: Sequence[Block]
    ) -> Iterator[tuple[Block, Result]]:
        """The results as they are ready."""


def serially(
    function: Callable[[Block], Result], blocks: Sequence[Block]
) -> Iterator[tuple[Block, Result]]:
    """One block after the other, in this process.

    Example:
        >>> dict(serially(abs, [-1, 2]))
        {-1: 1, 2: 2}
    """
    for block in blocks:
        yield block, function(block)


def shown(run: Run, update: Update) -> Run:
    """The same, with a progress bar that counts blocks."""

    def counting(
        function: Callable[[Block], Result], blocks: Sequence[Block]
    ) -> Iterator[tuple[Block, Result]]:
        for done, pair in enumerate(run(function, blocks), 1):
            update(done, len(blocks))
            yield pair

    return counting


@contextmanager
def workers(address: str | None) -> Iterator[Run]:
    """A ``Run`` on a Dask cluster, or in this process.

    Args:
        address: that of a Dask scheduler, as ``tcp://host:8786``; ``local:N`` starts N processes
            on this machine and stops them at the end; None works in this process.

    Raises:
        InputError: Dask is missing, the address makes no sense, or nobody answers there.
    """
    if address is None:
        yield serially
        return
    try:
        import distributed
    except ImportError as error:
        raise InputError(
            f"--scheduler {address} needs Dask: install it with `pip install 'pyro-msm[dask]'`"
        ) from error
    with _client(distributed, address) as client:
        yield _OnCluster(client)


class _OnCluster:
    def __init__(self, client: Any) -> None:
        self.client = client

    def __call__(
        self, function: Callable[[Block], Result], blocks: Sequence[Block]
    ) -> Iterator[tuple[Block, Result]]:
        from distributed import as_completed

        if not blocks:
            return
        # What all blocks need (the model, the data) travels to each worker once.
        shared = self.client.scatter(function, broadcast=True, hash=False)
        futures = {self.client.submit(_apply, shared, block, pure=False): block for block in blocks}
        try:
            for future, result in as_completed(list(futures), with_results=True):
                yield futures.pop(future), result
                future.release()
        finally:
            self.client.cancel(list(futures))


def _apply(function: Callable[[Any], Any], block: Any) -> Any:
    return function(block)


@contextmanager
def _client(distributed: Any, address: str) -> Iterator[Any]:
    kind, _, count = address.partition(":")
    if kind == "local":
        if not count.isdecimal() or int(count) < 1:
            raise InputError(
                f"--scheduler {address}: expected local:N with a number of processes, as local:4"
            )
        with (
            distributed.LocalCluster(
                n_workers=int(count), threads_per_worker=1, dashboard_address=None
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = distributed.Client(address)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address} ({error}): start one with `dask scheduler`, "
            "or give local:N for N processes on this machine"
        ) from error
    with client:
        yield client
