"""Dynamic batching: what arrives together is answered together."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from recbole_gro.http_service.ledger import Entry
from recbole_gro.http_service.options import Options
from recbole_gro.http_service.refusal import HttpRefusal

Outcome = list[list[int]] | Exception
QUEUED = 4096  # histories that may wait


class Batcher:
    """Hand queries to a function in batches, one batch at a time, in a thread of its own.

    Args:
        respond: returns the lists of each query of a batch, or the exception to raise for it.
        most: histories of a batch; a query is never split.
        wait: seconds that the first query of a batch waits for others.
        queued: histories that may wait; further queries are refused.

    Attributes:
        batches: number of batches.
    """

    def __init__(
        self,
        respond: Callable[[Sequence[Entry]], list[Outcome]],
        most: int = Options.batch,
        wait: float = Options.wait,
        queued: int = QUEUED,
    ):
        self._respond, self._most, self._wait, self._limit = respond, most, wait, queued
        self._queue: deque[tuple[Entry, asyncio.Future, float]] = deque()
        self._histories = self.batches = 0
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1)

    async def lists(self, entry: Entry) -> list[list[int]]:
        """Return the lists of a query.

        Raises:
            HttpRefusal: 503, too many queries are waiting; or what `respond` returned.
        """
        if self._histories + len(entry.histories) > self._limit:
            raise HttpRefusal(503, "too many requests are waiting", retry_after=1)
        future = asyncio.get_running_loop().create_future()
        self._histories += len(entry.histories)
        self._queue.append((entry, future, time.monotonic()))
        self._arrived.set()
        return await future

    async def run(self) -> None:
        """Answer queries until the task is cancelled."""
        while True:
            await self._arrived.wait()
            late = self._queue[0][2] + self._wait - time.monotonic()
            if self._histories < self._most and late > 0:
                await asyncio.sleep(late)
            await self._answer(self._next_batch())

    def close(self) -> None:
        """End the thread, after the batch that it answers."""
        self._thread.shutdown()

    def _next_batch(self) -> list[tuple[Entry, Any]]:
        batch: list[tuple[Entry, Any]] = []
        size = 0
        while self._queue and (not batch or size + len(self._queue[0][0].histories) <= self._most):
            entry, future, _ = self._queue.popleft()
            self._histories -= len(entry.histories)
            if not future.done():  # its client is still there
                size += len(entry.histories)
                batch.append((entry, future))
        if not self._queue:
            self._arrived.clear()
        return batch

    async def _answer(self, batch: list[tuple[Entry, Any]]) -> None:
        if not batch:
            return
        entries = [entry for entry, _ in batch]
        outcomes = await asyncio.get_running_loop().run_in_executor(self._thread, self._outcomes, entries)
        self.batches += 1
        if len(outcomes) != len(batch):  # an error here would end the task, and with it all answers
            outcomes = [ValueError(f"{len(outcomes)} outcomes for {len(batch)} queries")] * len(batch)
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _outcomes(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Return what `respond` does, or the error that it raises for each query; none ends the task of `run`."""
        try:
            return self._respond(entries)
        except StopIteration as error:  # which no future takes
            return [RuntimeError(repr(error))] * len(entries)
        except Exception as error:
            return [error] * len(entries)
        except BaseException as error:  # such as asyncio's CancelledError of a user's own code
            return [RuntimeError(repr(error))] * len(entries)
