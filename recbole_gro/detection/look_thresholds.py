"""Thresholds of looks from benign users."""

from collections.abc import Sequence

import torch
from torch import Tensor

from recbole_gro.detection.benign import BenignHistories
from recbole_gro.detection.conformal import ShareLaw, different, most_counted, share_law, threshold_at
from recbole_gro.detection.looks import LOOK_LEVEL, LOOKS
from recbole_gro.detection.standardized import StandardizedDetector
from recbole_gro.detection.traces import Traces


def look_thresholds(
    halves: Sequence[tuple[StandardizedDetector, Tensor]],
    benign: BenignHistories,
    flagged_above: float,
) -> tuple[list[float], list[ShareLaw], list[ShareLaw]]:
    """Return the threshold of each look, the law of the share of benign histories above it, and that of flagged ones.

    A threshold is the score that LOOK_LEVEL of benign histories exceed at most, whether clients send the first items or
    the most recent ones. Equal items of different users count each, as histories of a key do that differ later, and
    once, as those do that do not. The laws are of the kind of these with most above.

    Args:
        halves: fitted on each half of them, and the users [n] of the other half.
        benign: the users.
        flagged_above: the threshold of histories.

    Returns:
        Thresholds [looks], laws [looks] of the share above them, and laws [looks] of the share of histories of as many
        items that are flagged.
    """
    whole, thresholds, laws, of_flagged = benign.whole, [], [], []
    running = _running(halves, benign.beginnings)
    for n in LOOKS:
        rows = (whole.lengths >= n).nonzero().squeeze(1)
        recent = benign.recent.get(n, whole)  # `whole` where the model reads no more
        first, last = running[rows, min(n, running.shape[1]) - 1], _running(halves, recent)[rows, -1]
        once = [different(traces.items[rows, :n]) for traces in (benign.beginnings, recent)]
        kinds = [first, last, first[once[0]], last[once[1]]]
        limit = most_counted(len(rows), min(map(len, once)))
        of_flagged.append(_law(kinds, flagged_above, limit))
        thresholds.append(threshold_at(kinds, LOOK_LEVEL))
        laws.append(_law(kinds, thresholds[-1], limit))
    return thresholds, laws, of_flagged


def _running(halves: Sequence[tuple[StandardizedDetector, Tensor]], traces: Traces) -> Tensor:
    """Return the highest score [N, L] that histories have had up to each of their items, by their users' detectors."""
    scores = torch.full(traces.items.shape, -torch.inf)
    for detector, users in halves:
        scores[users] = detector.scores(traces[users])
    return scores.cummax(1).values


def _law(kinds: Sequence[Tensor], threshold: float, limit: int) -> ShareLaw:
    """Return the law of the share above a threshold, of the kind that has most above it."""
    return max((share_law(scores, threshold, limit) for scores in kinds), key=ShareLaw.observed)
