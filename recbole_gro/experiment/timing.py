"""Times of a few steps that hardly depend on what else the machine does."""

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

STEPS_TIMED = 2  # after a first one, which is slower
REPETITIONS = 5  # at most; the shortest counts
SECONDS_REPEATED = 2.0  # after which nothing is repeated: long steps are disturbed less


def clock_of(device: torch.device) -> Callable[[], float]:
    """Return the clock for work on a device.

    CPU seconds where one thread of the CPU does everything, for they leave out what other processes take; with several
    threads they would be the sum of all, spinning included, so that wall time counts. A GPU works on after a call has
    returned, and is waited for.
    """
    if device.type == "cuda":

        def synchronized() -> float:
            torch.cuda.synchronize(device)
            return time.perf_counter()

        return synchronized
    return time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter


def shortest_seconds(
    clock: Callable[[], float], work: Callable[[], Any], before: Callable[[], Any] = lambda: None
) -> float:
    """Return the least seconds of several repetitions.

    Args:
        clock: from `clock_of`.
        work: what is timed.
        before: called before each repetition, and not timed.
    """
    start, shortest = time.perf_counter(), float("inf")
    for _ in range(REPETITIONS):
        before()
        begun = clock()
        work()
        shortest = min(shortest, clock() - begun)
        if time.perf_counter() - start > SECONDS_REPEATED:
            break
    return shortest


def step_seconds(clock: Callable[[], float], fit: Callable[..., Any], batches: Any) -> float:
    """Return the seconds of a step of a trainer's `fit` on a loader's batches: the least mean of a few in a row.

    Args:
        clock: from `clock_of`.
        fit: method of a trainer.
        batches: loader.
    """
    few = _FewBatches(batches, clock)
    with contextlib.suppress(_Enough):
        fit(few, None, verbose=False, saved=False)
    ends = few.ends[1::STEPS_TIMED]
    return min(end - begun for begun, end in itertools.pairwise(ends)) / STEPS_TIMED


def busy() -> str | None:
    """Return a line on the load of the machine where it exceeds the number of cores, else None."""
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0]
    if load <= cores:
        return None
    return f"the machine is busy (load {load:.1f}, cores: {cores}): estimates are of an idle one and less certain now"


class _Enough(Exception):
    """The timed steps are over."""


class _FewBatches:
    """A loader that ends the training after a few batches and records the end of each step.

    Args:
        loader: source of the batches; read again if it has too few.
        clock: from `clock_of`.
    """

    def __init__(self, loader: Any, clock: Callable[[], float]):
        self.loader = loader
        self.clock = clock
        self.ends: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        latest = float("inf")
        for batch in itertools.chain.from_iterable(itertools.repeat(self.loader)):
            self.ends.append(self.clock())
            repetitions, begun = divmod(len(self.ends) - 2, STEPS_TIMED)
            if len(self.ends) == 2:
                latest = time.perf_counter() + SECONDS_REPEATED
            elif begun == 0 and (repetitions == REPETITIONS or time.perf_counter() > latest):
                raise _Enough
            yield batch
