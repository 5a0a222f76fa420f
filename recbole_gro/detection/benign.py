"""Histories of benign users, and the windows of them that their clients may send."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from recbole_gro.detection.histories import padded
from recbole_gro.detection.looks import LOOKS
from recbole_gro.detection.traces import Tracer, Traces
from recbole_gro.utils.progress import progress_bar

SLIDING = 10  # most recent items that clients may send at each step, besides all that the model reads
ONCE = (2, 5, 20)  # and once
STEPS = 5  # windows of n items are n / STEPS items apart, so that neighbours share most items
MOST = 100  # windows of one length along a history at most, and one
BENIGN_WINDOWS = [SLIDING, *ONCE, STEPS, MOST]  # what thresholds depend on
AT_ONCE = 2**11  # windows that are traced at a time
Score = Callable[[Traces, Tensor], Tensor]


class BenignHistories:
    """Hold the histories of N benign users.

    Args:
        tracer: of the served model.
        histories: item ids of each user, most recent last, also those beyond what the model reads; none is empty.

    Attributes:
        whole: traces [N] of the most recent items that the model reads.
        beginnings: traces [N] of as many first items.
        recent: {n: traces [N] of the most recent n items}.
    """

    def __init__(self, tracer: Tracer, histories: Sequence[Sequence[int]]):
        self._tracer, self._histories = tracer, histories
        self.whole = tracer.trace(padded(histories, tracer.longest))
        self.beginnings = tracer.trace(padded([history[: tracer.longest] for history in histories], tracer.longest))
        self.recent = {n: tracer.trace(padded(histories, n)) for n in LOOKS if n < tracer.longest}

    def __len__(self) -> int:
        return len(self._histories)

    def windows(self, steps: int = STEPS) -> Iterator[tuple[Traces, Tensor]]:
        """Yield traces [n] of windows, some at a time, and the user [n] of each.

        A client may send a history at each step, whole or its 10 most recent items, or its 2, 5 or 20 most recent items
        once. Scores are known up to each item of a window, so the windows of a history that grows up to the length of
        one are in the first.

        Args:
            steps: a window of n items is n / steps items after the one before, or more (`ends_of_windows`).
        """
        longest, users = self._tracer.longest, torch.arange(len(self))
        sliding = {n: self._places(n, max(1, n // steps)) for n in (longest, *(n for n in (SLIDING,) if n < longest))}
        yield self.whole, users
        with progress_bar("windows of benign users", sum(map(len, sliding.values())), "windows") as bar:
            for n, places in sliding.items():
                for part in self._traced(n, places):
                    yield part
                    bar.update(len(part[1]))
        for n in ONCE:
            if n < longest:
                yield self.recent[n], users

    def sliding(self, n: int, step: int) -> Iterator[tuple[Traces, Tensor]]:
        """Yield traces [m] of the windows of n items along the longer histories, and the user [m] of each.

        Args:
            n: items of a window.
            step: items between windows, or more (`ends_of_windows`).
        """
        yield from self._traced(n, self._places(n, step))

    def highest(self, scored: Mapping[str, Score], steps: int = STEPS) -> dict[str, Tensor]:
        """Return the highest score [N] that windows of each user have, by name.

        Args:
            scored: by name, what returns the scores [n, L] of traces and their users [n].
            steps: as of `windows`.
        """
        found = {name: torch.full((len(self),), -torch.inf) for name in scored}
        for traces, users in self.windows(steps):
            for name, scores in scored.items():
                found[name].scatter_reduce_(0, users, scores(traces, users).amax(1), "amax")
        return found

    def _traced(self, n: int, places: list[tuple[int, int]]) -> Iterator[tuple[Traces, Tensor]]:
        """Yield traces of windows of n items, some at a time, and the user of each."""
        for first in range(0, len(places), AT_ONCE):
            part = places[first : first + AT_ONCE]
            windows = padded([self._histories[user][end - n : end] for user, end in part], n)
            yield self._tracer.trace(windows), torch.tensor([user for user, _ in part])

    def _places(self, n: int, step: int) -> list[tuple[int, int]]:
        """Return user and end of the windows of n items along the histories that have more."""
        return [
            (user, end)
            for user, history in enumerate(self._histories)
            if len(history) > n
            for end in ends_of_windows(len(history), n, step)
        ]


def ends_of_windows(length: int, n: int, step: int) -> list[int]:
    """Return where windows of n items end along a longer history, evenly spaced, the first and the last among them.

    Two are at most `step` items apart; in a long history more, so that there are at most MOST + 1.

    >>> ends_of_windows(20, 10, 5), ends_of_windows(21, 10, 5)
    ([10, 15, 20], [10, 14, 17, 21])
    """
    steps = min(-(-(length - n) // step), MOST)
    return [n + round(place * (length - n) / steps) for place in range(steps + 1)]
