"""Thresholds of a detector from benign users, at a stated rate of false positives."""

import math
from typing import Any

import torch
from torch import Tensor

from recbole_gro.detection.base import Detector, create_detector
from recbole_gro.detection.traces import Traces
from recbole_gro.utils.errors import UserError

FEWEST = 20  # benign histories of a length that standardize the scores of it
WINDOWS = 500  # random benign windows of each half, which give the threshold of windows


class CalibratedDetector:
    """A detector that flags at most a share of benign users, and at most that share of benign windows.

    A history is flagged where the score up to any of its items exceeds the threshold, so that a user whose history is
    queried again whenever it grows counts once. The benign users are halved: the detector is fitted on each half and
    scores the other one. The threshold is the order statistic of these scores that a further benign user exceeds with
    the stated probability at most, if users are exchangeable (split conformal prediction; Vovk et al., 2005). The
    detector that is used is fitted on both halves.

    Args:
        name: of the detector.
        config: of its settings.
        benign: histories of users, all that there are of each.
        rate: of false positives.
        window: histories per window.

    Raises:
        UserError: too few benign users for the rate, or a rate of 0 or 1.
    """

    def __init__(self, name: str, config: Any, benign: Traces, rate: float, window: int):
        self.name, self.window = name, window
        if not 0 < rate < 1:
            raise UserError(f"false_positive_rate: {rate:g} is not allowed; it lies between 0 and 1")
        draw = torch.Generator().manual_seed(0)
        halves = torch.randperm(len(benign), generator=draw).chunk(2)
        needed = math.ceil(1 / rate - 1e-9) - 1
        if len(benign) < max(needed, 2):
            reason = f"too few for false_positive_rate={rate:g}, which takes {max(needed, 2):,}"
            raise UserError(f"benign: {len(benign)} users with two or more items are {reason}; give more of them")
        highest, in_windows = [], []
        for fitted_on, rows in (halves, halves[::-1]):
            self._fit(create_detector(name, config), benign[fitted_on])
            highest.append(self.running(benign[rows])[:, -1])
            in_windows.append(self.detector.window_scores(_benign_windows(benign[rows], window, draw), window))
        self.threshold = conformal_quantile(torch.cat(highest), rate)
        self.window_threshold = conformal_quantile(torch.cat(in_windows), rate)
        self._fit(create_detector(name, config), benign)

    def _fit(self, detector: Detector, benign: Traces) -> None:
        detector.fit(benign)
        self.detector = detector
        self.location, self.spread = torch.zeros(benign.items.shape[1]), torch.ones(benign.items.shape[1])
        if detector.standardized:
            scores, inside = detector.scores(benign), benign.items != 0
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
        scores = (self.detector.scores(traces) - self.location[place]) / self.spread[place]
        return scores.masked_fill(traces.items == 0, -torch.inf)

    def running(self, traces: Traces) -> Tensor:
        """Return the highest score [N, L] that a history has had up to each of its items."""
        return self.scores(traces).cummax(1).values

    def alarms(self, traces: Traces) -> Tensor:
        """Return after how many items [N] each history is flagged; 0 for one that is not."""
        flagged = self.scores(traces) > self.threshold
        return (flagged.int().argmax(1) + 1) * flagged.any(1)

    def window_alarms(self, traces: Traces) -> tuple[Tensor, Tensor]:
        """Return the score [W] of each window, and whether it is flagged [W]; `traces` as of `Traces.whole`."""
        if not len(traces):
            return torch.zeros(0), torch.zeros(0, dtype=torch.bool)
        scores = self.detector.window_scores(traces, self.window)
        return scores, scores > self.window_threshold


def conformal_quantile(benign: Tensor, rate: float) -> float:
    """Return the score that a further benign one exceeds with probability `rate` at most; inf where n is too small.

    It is the ceil((n + 1) (1 - rate))-th smallest of n scores.

    >>> conformal_quantile(torch.arange(1.0, 100.0), 0.01), conformal_quantile(torch.arange(1.0, 100.0), 0.5)
    (99.0, 50.0)
    """
    place = math.ceil((len(benign) + 1) * (1 - rate) - 1e-9)
    return float(benign.sort().values[place - 1]) if place <= len(benign) else math.inf


def _benign_windows(benign: Traces, size: int, generator: torch.Generator) -> Traces:
    """Return random benign histories for WINDOWS windows; those of one window are cut to at most the same length."""
    rows = torch.randint(len(benign), (WINDOWS * size,), generator=generator)
    most = torch.randint(1, benign.items.shape[1] + 1, (WINDOWS, 1), generator=generator).expand(-1, size).flatten()
    return benign.whole(rows, torch.minimum(benign.lengths[rows], most))
