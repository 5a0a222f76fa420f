"""Thresholds of a detector from benign users, at a stated rate of false positives."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.detection.base import Detector, create_detector
from recbole_gro.detection.traces import Tracer, Traces
from recbole_gro.scoring import keep_recent
from recbole_gro.utils.errors import UserError

FEWEST = 20  # benign histories of a length that standardize the scores of it
RECENT = (2, 5, 10, 20)  # items of a history that clients may send in place of all
WINDOWS = 200  # random benign windows of each half, at least, which give the threshold of windows
LOOKS = (1, 2, 3, 5, 10, 20)  # items of the histories of a window when it is judged, besides all


class CalibratedDetector:
    """A detector that is to flag at most a share of benign users, and that share of benign windows.

    A history is flagged where the score up to any of its items exceeds the threshold, so that a user whose history is
    queried again whenever it grows counts once, up to what the model reads; so does one whose most recent items are
    queried once (`benign_traces`). Users whose recent items are queried again and again are flagged more often.
    Windows likewise, which are looked at when their histories have 1, 2, 3, 5, 10, 20 and all items.
    The benign users are halved: the detector is fitted on each half and scores the other one. The threshold is the
    order statistic of these scores that a further exchangeable user exceeds with the stated probability at most in
    split conformal prediction (Vovk et al., 2005). As the detector that is used is fitted on both halves, this holds
    nearly; windows are drawn again and again from the same users, so for these it is the aim alone.

    Args:
        name: of the detector.
        config: of its settings.
        benign: from `benign_traces`, each part in the same order of users.
        rate: of false positives.
        window: histories per window.

    Attributes:
        benign_users: number of benign users whose scores gave the threshold.

    Raises:
        UserError: too few benign users for the rate, or a rate of 0 or 1.
    """

    def __init__(self, name: str, config: ConfigLike, benign: Sequence[Traces], rate: float, window: int):
        self.name, self.window, self.benign_users = name, window, len(benign[0])
        if not 0 < rate < 1:
            raise UserError(f"false_positive_rate: {rate:g} is not allowed; it takes a number above 0 and below 1")
        draw = torch.Generator().manual_seed(0)
        histories = benign[0]
        halves = torch.randperm(len(histories), generator=draw).chunk(2)
        needed = math.ceil(1 / rate - 1e-9) - 1
        if len(histories) < max(needed, 2):
            reason = f"too few for false_positive_rate={rate:g}, which takes {max(needed, 2):,}"
            raise UserError(
                f"benign: {len(histories)} users with two or more items of the catalogue are {reason}; give more"
            )
        self._n_windows = max(WINDOWS, math.ceil(needed / 2))
        highest, in_windows = [], []
        for fitted_on, rows in (halves, halves[::-1]):
            self._fit(create_detector(name, config), histories[fitted_on])
            highest.append(torch.stack([self.running(part[rows])[:, -1] for part in benign]).amax(0))
            in_windows.append(self._window_scores(histories[rows], draw))
        self.threshold = conformal_quantile(torch.cat(highest), rate)
        windows = torch.cat(in_windows)
        self._window_location, self._window_spread = windows.mean(0), windows.std(0).clamp(min=1e-6)
        highest_windows = ((windows - self._window_location) / self._window_spread).amax(1)
        self.window_threshold = conformal_quantile(highest_windows, rate)
        self._fit(create_detector(name, config), histories)

    def _fit(self, detector: Detector, benign: Traces) -> None:
        detector.fit(benign)
        self.detector = detector
        self.location, self.spread = torch.zeros(benign.items.shape[1]), torch.ones(benign.items.shape[1])
        if detector.standardized:
            scores, inside = self._raw_scores(benign), benign.items != 0
            for place in range(scores.shape[1]):  # a place in a history, not a history
                own = scores[inside[:, place], place]
                if len(own) >= FEWEST:
                    self.location[place], self.spread[place] = own.mean(), own.std().clamp(min=1e-6)
                elif place:
                    self.location[place], self.spread[place] = self.location[place - 1], self.spread[place - 1]

    def scores(self, traces: Traces) -> Tensor:
        """Return comparable scores [N, L] of each history up to each of its items; -inf in padding."""
        width = len(self.location)
        place = torch.arange(traces.items.shape[1]).clamp(max=width - 1)
        scores = (self._raw_scores(traces) - self.location[place]) / self.spread[place]
        return scores.masked_fill(traces.items == 0, -torch.inf)

    def running(self, traces: Traces) -> Tensor:
        """Return the highest score [N, L] that a history has had up to each of its items."""
        return self.scores(traces).cummax(1).values

    def alarms(self, traces: Traces) -> Tensor:
        """Return after how many items [N] each history is flagged; 0 for one that is not."""
        flagged = self.scores(traces) > self.threshold
        return (flagged.int().argmax(1) + 1) * flagged.any(1)

    def window_alarms(self, traces: Traces) -> tuple[Tensor, Tensor]:
        """Return the score [W] of each window, and whether it is flagged [W]; `traces` as of `Traces.whole`.

        Scores are compared with those of benign windows whose histories are about as long as the longest of the window.
        """
        if not len(traces):
            return torch.zeros(0), torch.zeros(0, dtype=torch.bool)
        longest = traces.lengths.view(-1, self.window).amax(1)
        look = torch.bucketize(longest, torch.tensor(LOOKS), right=True) - 1
        look[longest >= len(self.location)] = len(LOOKS)
        scores = self._raw_window_scores(traces)
        scores = (scores - self._window_location[look]) / self._window_spread[look]
        return scores, scores > self.window_threshold

    def _window_scores(self, benign: Traces, generator: torch.Generator) -> Tensor:
        """Return the scores [W, looks] of random windows whose histories have at most so many items."""
        rows = torch.randint(len(benign), (self._n_windows * self.window,), generator=generator)
        looks = [benign.whole(rows, benign.lengths[rows].clamp(max=n)) for n in (*LOOKS, benign.items.shape[1])]
        return torch.stack([self._raw_window_scores(traces) for traces in looks], 1)

    def _raw_scores(self, traces: Traces) -> Tensor:
        inside = traces.items != 0
        return self._checked(self.detector.scores(traces), "scores", "history and item", inside)

    def _raw_window_scores(self, traces: Traces) -> Tensor:
        windows = torch.ones(len(traces) // self.window, dtype=torch.bool)
        return self._checked(self.detector.window_scores(traces, self.window), "window_scores", "window", windows)

    def _checked(self, scores: Tensor, method: str, unit: str, inside: Tensor) -> Tensor:
        """Return scores of a detector, which a user may have written: NaN would exceed no threshold."""
        shape = tuple(getattr(scores, "shape", ()))
        if shape != inside.shape:
            raise UserError(
                f"detector {self.name}: {method} returned a shape of {list(shape)}; it returns a score per {unit}, "
                f"here {list(inside.shape)}"
            )
        if scores[inside].isnan().any():
            raise UserError(f"detector {self.name}: {method} returned NaN; it returns a number per {unit}")
        return scores


def benign_traces(tracer: Tracer, items: Tensor) -> list[Traces]:
    """Return the traces of users' histories [N, L], and of the most recent 2, 5, 10 and 20 items of each."""
    lengths = (items != 0).sum(1)
    recent = [keep_recent(items, lengths, n, n)[0] for n in RECENT if n < items.shape[1]]
    return [tracer.trace(part) for part in (items, *recent)]


def conformal_quantile(benign: Tensor, rate: float) -> float:
    """Return the score that a further benign one exceeds with probability `rate` at most; inf where n is too small.

    >>> conformal_quantile(torch.arange(1.0, 100.0), 0.01), conformal_quantile(torch.arange(1.0, 100.0), 0.5)
    (99.0, 50.0)
    """
    place = conformal_rank(len(benign), rate)
    return float(benign.sort().values[place - 1]) if place <= len(benign) else math.inf


def conformal_rank(n: int, rate: float) -> int:
    """Return the rank, from the smallest, of that score among n: ceil((n + 1) (1 - rate)); n + 1 where there is none.

    >>> conformal_rank(99, 0.01), conformal_rank(50, 0.01)
    (99, 51)
    """
    return math.ceil((n + 1) * (1 - rate) - 1e-9)
