"""Thresholds of detectors from benign users, at a stated rate of false positives."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.detection.benign import BenignHistories
from recbole_gro.detection.conformal import (
    ShareLaw,
    conformal_quantile,
    different,
    most_counted,
    share_law,
    threshold_at,
    users_needed,
)
from recbole_gro.detection.look_thresholds import look_thresholds
from recbole_gro.detection.looks import LOOKS, above
from recbole_gro.detection.standardized import StandardizedDetector
from recbole_gro.detection.traces import Traces
from recbole_gro.utils.errors import UserError

WINDOWS = 200  # random benign windows of each half, at least, which give the threshold of windows


class Judged(NamedTuple):
    """Hold what a detector says of N histories.

    Attributes:
        alarms: [N] items after which each is flagged; 0 for one that is not.
        highest: [N] highest score up to any of its items.
        looks: [N, looks] whether it is above the threshold of each look, 0 or 1, NOT_REACHED with fewer items.
    """

    alarms: Tensor
    highest: Tensor
    looks: Tensor


def joined_judgements(parts: Sequence[Judged]) -> Judged:
    """Return what a detector says of the histories of several parts."""
    return Judged(*map(torch.cat, zip(*parts, strict=True)))


class CalibratedDetector:
    """A detector that is to flag at most a share of benign users, and that share of benign windows.

    A history is flagged where the score up to any of its items exceeds the threshold. A user is flagged where that
    holds at any time, whether clients send the whole history at each step or its most recent items
    (`BenignHistories.windows`). Windows of histories likewise, which are looked at when their histories have 1, 2, 3,
    5, 10, 20 and all items, the first ones or the most recent.
    The benign users are halved: the detector is fitted on each half and scores the other one. The threshold is the
    order statistic of these scores that a further exchangeable user exceeds with the stated probability at most in
    split conformal prediction (Vovk et al., 2005). What is judged has the lower one of the scores by both halves'
    detectors: one that is fitted on all users would score higher what none of them has, such as items, where they have
    little of the catalogue. As the scores of both halves give one threshold, and not every window of a user is scored,
    the probability holds nearly; windows of histories are drawn again and again from the same users, so for these it is
    the aim alone.
    Decisions on keys have thresholds of their own (`look_thresholds`).

    Args:
        halves: fitted on each half of them, and the users [n] of the other half.
        highest: [N] score of each user, by the detector of the other half.
        name: of the detector.
        benign: the users.
        rate: of false positives.
        window: histories per window.

    Attributes:
        detectors: those that were fitted on the halves.
        benign_users: number of benign users whose scores gave the threshold.
        history_law: what is known of the share of benign histories that are flagged.
        history_limits: numbers of histories of a key that it holds for: of those that have the items of each look, but
            not of the next one.
        look_thresholds: of each look; infinity where too few benign users have the items.
        look_laws: what is known of the share of benign histories above each of them.
    """

    def __init__(
        self,
        halves: Sequence[tuple[StandardizedDetector, Tensor]],
        highest: Tensor,
        *,
        name: str,
        benign: BenignHistories,
        rate: float,
        window: int,
    ):
        self.name, self.window, self.benign_users = name, window, len(benign)
        self._longest, self._fitted = benign.whole.items.shape[1], [detector for detector, _ in halves]
        self.detectors = [fitted.detector for fitted in self._fitted]
        self.threshold = threshold_at((highest,), rate)
        self.look_thresholds, self.look_laws, of_lengths = look_thresholds(halves, benign, self.threshold)
        once = highest[different(benign.whole.items)]
        laws = [share_law(scores, self.threshold, most_counted(len(benign), len(once))) for scores in (highest, once)]
        self.history_law = max([*laws, *of_lengths], key=ShareLaw.observed)
        self.history_limits = [law.limit for law in of_lengths]
        draw = torch.Generator().manual_seed(0)
        n_windows = max(WINDOWS, math.ceil(users_needed(rate) / 2))
        drawn = [_window_scores(half, benign, users[_random(len(users), n_windows * window, draw)], window)
                 for half, users in halves]  # fmt: skip
        grown, recent = (torch.cat(scores) for scores in zip(*drawn, strict=True))
        self._window_location, self._window_spread = grown.mean(0), grown.std(0).clamp(min=1e-6)
        highest_windows = torch.maximum(grown, recent).sub(self._window_location).div(self._window_spread).amax(1)
        self.window_threshold = conformal_quantile(highest_windows, rate)
        for threshold, scores in ((self.threshold, "scores"), (self.window_threshold, "window_scores")):
            if not math.isfinite(threshold):  # it would flag nothing
                raise UserError(
                    f"detector {name}: {scores} returned infinite numbers for so many benign users that no threshold "
                    f"flags {rate:g} of them at most; let it return finite ones"
                )

    def scores(self, traces: Traces) -> Tensor:
        """Return comparable scores [N, L] of each history up to each of its items; -inf in padding."""
        return torch.stack([detector.scores(traces) for detector in self._fitted]).amin(0)

    def running(self, traces: Traces) -> Tensor:
        """Return the highest score [N, L] that a history has had up to each of its items."""
        return self.scores(traces).cummax(1).values

    def judged(self, traces: Traces) -> Judged:
        """Return what the detector says of each history by itself."""
        scores = self.scores(traces)
        flagged = scores > self.threshold
        alarms = (flagged.int().argmax(1) + 1) * flagged.any(1)
        return Judged(alarms, scores.amax(1), above(scores, traces.lengths, self.look_thresholds))

    def window_alarms(self, traces: Traces) -> tuple[Tensor, Tensor]:
        """Return the score [W] of each window, and whether it is flagged [W]; `traces` as of `Traces.whole`.

        Scores are compared with those of benign windows whose histories are about as long as the longest of the window.
        """
        if not len(traces):
            return torch.zeros(0), torch.zeros(0, dtype=torch.bool)
        longest = traces.lengths.view(-1, self.window).amax(1)
        look = torch.bucketize(longest, torch.tensor(LOOKS), right=True) - 1
        look[longest >= self._longest] = len(LOOKS)
        scores = torch.stack([detector.window_scores(traces, self.window) for detector in self._fitted]).amin(0)
        scores = (scores - self._window_location[look]) / self._window_spread[look]
        return scores, scores > self.window_threshold


def calibrated(
    names: Sequence[str], config: ConfigLike, benign: BenignHistories, rate: float, window: int
) -> dict[str, CalibratedDetector]:
    """Return detectors with their thresholds, by name.

    Args:
        names: of the detectors.
        config: of their settings.
        benign: histories of benign users.
        rate: of false positives.
        window: histories per window.

    Raises:
        UserError: too few benign users for the rate, or a rate of 0 or 1.
    """
    if not 0 < rate < 1:
        raise UserError(f"false_positive_rate: {rate:g} is not allowed; it takes a number above 0 and below 1")
    if len(benign) < users_needed(rate):
        reason = f"too few for false_positive_rate={rate:g}, which takes {users_needed(rate):,}"
        raise UserError(f"benign: {len(benign)} users with two or more items of the catalogue are {reason}; give more")
    first, second = torch.randperm(len(benign), generator=torch.Generator().manual_seed(0)).chunk(2)
    halves = {
        name: [(StandardizedDetector(name, config, benign.whole[fitted_on]), others)
               for fitted_on, others in ((first, second), (second, first))]
        for name in names
    }  # fmt: skip
    highest = benign.highest({name: functools.partial(_by_other_half, halves[name]) for name in names})
    return {
        name: CalibratedDetector(
            halves[name], highest[name], name=name, benign=benign, rate=rate, window=window
        )
        for name in names
    }  # fmt: skip


def _by_other_half(halves: Sequence[tuple[StandardizedDetector, Tensor]], traces: Traces, users: Tensor) -> Tensor:
    """Return the scores [n, L] of traces by the detector that was fitted without their users [n]."""
    scores = torch.full(traces.items.shape, -torch.inf)
    for detector, others in halves:
        rows = torch.isin(users, others).nonzero().squeeze(1)
        if len(rows):
            scores[rows] = detector.scores(traces[rows])
    return scores


def _window_scores(
    detector: StandardizedDetector, benign: BenignHistories, users: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Return the scores [W, looks] of windows of users' histories, with the first and with the most recent items."""
    whole, beginnings = benign.whole, benign.beginnings
    first = [beginnings.whole(users, whole.lengths[users].clamp(max=n)) for n in (*LOOKS, whole.items.shape[1])]
    recent = [part.whole(users, part.lengths[users]) for n in LOOKS for part in (benign.recent.get(n, whole),)]
    last = detector.window_scores(whole.whole(users, whole.lengths[users]), size)
    of_first, of_recent = ([detector.window_scores(traces, size) for traces in looks] for looks in (first, recent))
    return torch.stack(of_first, 1), torch.stack([*of_recent, last], 1)


def _random(n: int, size: int, generator: torch.Generator) -> Tensor:
    # with replacement: windows of different users of a few hundreds share so many that they differ less from each other
    # than windows of new users differ from them
    return torch.randint(n, (size,), generator=generator)
