"""Thresholds of looks from benign users."""

from collections.abc import Sequence

import torch
from torch import Tensor

from recbole_gro.detection.benign import BenignHistories
from recbole_gro.detection.conformal import ShareLaw, different, share_law, threshold_at
from recbole_gro.detection.looks import KEY_LOOKS, LOOK_LEVEL, scores_at_looks
from recbole_gro.detection.standardized import StandardizedDetector
from recbole_gro.detection.traces import Traces


def look_thresholds(
    fitted: StandardizedDetector, halves: Sequence[tuple[StandardizedDetector, Tensor]], benign: BenignHistories
) -> tuple[list[float], list[ShareLaw]]:
    """Return the threshold of each look, and what is known of the share of benign histories above it.

    It is the score that LOOK_LEVEL of benign histories exceed at most, whether clients send the first items or the most
    recent ones, by the detectors of the other halves and by the one that judges. Equal items of different users count
    each, as histories of a key do that differ later, and once, as those do that do not.

    Args:
        fitted: on all benign users.
        halves: fitted on each half of them, and the users [n] of the other half.
        benign: the users.
    """
    whole, everyone = benign.whole, torch.arange(len(benign.whole))
    recent = [benign.recent.get(n, whole) for n in KEY_LOOKS]  # `whole` where the model reads no more
    kinds: list[tuple[Sequence[Traces], Tensor]] = []
    for scorers in (halves, [(fitted, everyone)]):
        first = torch.full((len(whole), len(KEY_LOOKS)), -torch.inf)
        last = first.clone()
        for detector, users in scorers:
            first[users] = scores_at_looks(detector.scores(benign.beginnings[users]), whole.lengths[users])
            for place, windows in enumerate(recent):
                last[users, place] = detector.scores(windows[users]).amax(1)
        kinds += [([benign.beginnings] * len(KEY_LOOKS), first), (recent, last)]
    found = [_at_look(place, n, kinds, whole.lengths >= n) for place, n in enumerate(KEY_LOOKS)]
    return [threshold for threshold, _ in found], [law for _, law in found]


def _at_look(
    place: int, n: int, kinds: Sequence[tuple[Sequence[Traces], Tensor]], have: Tensor
) -> tuple[float, ShareLaw]:
    """Return the threshold of a look at n items, and the law of the share above it, of the kind with most above it."""
    rows = have.nonzero().squeeze(1)
    kept = [(of_users, rows[different(traces[place].items[rows, :n])]) for traces, of_users in kinds]
    scores = [of_users[those, place] for of_users, once in kept for those in (rows, once)]
    threshold = threshold_at(scores, LOOK_LEVEL)
    laws = [share_law(one, threshold, len(rows)) for one in scores]
    most = max(laws, key=lambda law: law.over / (law.over + law.below))
    return threshold, most._replace(limit=min(law.limit for law in laws))
