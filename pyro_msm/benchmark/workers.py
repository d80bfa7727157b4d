"""Groups of jobs side by side in processes of their own."""

from __future__ import annotations

import logging
import logging.handlers
import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from pyro_msm.benchmark.plan import Job
from pyro_msm.benchmark.records import Record

#: Jobs of one system → each with its records, as soon as it is done.
Compute = Callable[[Sequence[Job]], Iterator[tuple[Job, list[Record]]]]

#: Seconds between two looks at whether a process has failed.
PATIENCE = 0.5


def computed(
    groups: Sequence[Sequence[Job]], compute: Compute, processes: int
) -> Iterator[tuple[Job, list[Record]]]:
    """The records of all jobs, each as soon as it is there.

    Args:
        groups: the jobs of a group are computed one after the other, in one process.
        compute: can be pickled, if there are several processes.
        processes: at most so many groups at a time, each with its share of the cores.
    """
    if min(processes, len(groups)) < 2:
        for group in groups:
            yield from compute(group)
        return
    context = multiprocessing.get_context("spawn")
    threads = max(1, available_cores() // processes)
    with context.Manager() as manager:
        done = manager.Queue()
        with ProcessPoolExecutor(processes, context, _begin, (threads, done)) as pool:
            working = {pool.submit(_work, compute, group, done) for group in groups}
            try:
                while working or not done.empty():
                    finished = {each for each in working if each.done()}
                    yield from _arrived(done)
                    for each in finished:
                        each.result()
                    working -= finished
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in multiprocessing.active_children():
                    if process.pid is not None:
                        os.kill(process.pid, signal.SIGINT)  # which their trainings obey
                raise


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _arrived(done: Any) -> Iterator[tuple[Job, list[Record]]]:
    """What comes within a short time; what the processes say is logged here."""
    try:
        found = done.get(timeout=PATIENCE)
    except queue.Empty:
        return
    if isinstance(found, logging.LogRecord):
        logging.getLogger(found.name).handle(found)
    else:
        yield found


def _begin(threads: int, done: Any) -> None:
    """In a new process: its share of the cores, and a logger that tells the first one.

    Ctrl-C reaches the first process only, which passes it on: a second one would end a training
    without a checkpoint.
    """
    import torch

    if hasattr(os, "setpgrp"):
        os.setpgrp()
    torch.set_num_threads(threads)
    logger = logging.getLogger("pyro_msm")
    logger.handlers, logger.propagate = [logging.handlers.QueueHandler(done)], False
    logger.setLevel(logging.INFO)


def _work(compute: Compute, group: Sequence[Job], done: Any) -> None:
    first = multiprocessing.parent_process()
    for found in compute(group):
        if first is not None and not first.is_alive():
            return  # nobody listens any more
        done.put(found)
