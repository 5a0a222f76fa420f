"""Decisions about API keys: how many of a key's histories are flagged, or unusual, against what benign users have."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import betainc, betaln
from torch import Tensor

from recbole_gro.detection.calibration import CalibratedDetector
from recbole_gro.detection.conformal import ShareLaw
from recbole_gro.detection.looks import NOT_REACHED

SHARES = (5, 10, 30)  # flagged shares under H1, as multiples of that under H0; HALF; and all above the first
HALF = 0.5
LEAST_UNUSUAL = 0.3  # share above the threshold of a look under H1, at least: three times that of benign users


@dataclass(frozen=True)
class KeyCounts:
    """Hold what B keys have sent.

    Attributes:
        histories: [B] different histories of each key; one that extends another counts once.
        flagged: [B] those that are flagged.
        reached: [B, looks] those that had the items of each look.
        unusual: [B, looks] those of these that were above its threshold.
    """

    histories: Tensor
    flagged: Tensor
    reached: Tensor
    unusual: Tensor


def key_evidence(counts: KeyCounts, detector: CalibratedDetector, rate: float) -> Tensor:
    """Return the logarithm of the e-value [B] that a key is no benign one: the mean over flags and looks.

    A mean of e-values is one, and exceeds 1 / alpha with probability alpha at most however often it is looked at. So is
    0, which each has from the limit of its law on: what was flagged before remains so. That of flags has it where the
    key has more histories of some length than the law holds for.

    Args:
        counts: of each key.
        detector: with its thresholds.
        rate: of false positives.
    """
    reached = torch.cat([counts.histories[:, None], counts.reached[:, 1:], torch.zeros_like(counts.reached[:, :1])], 1)
    is_known = (-reached.diff(dim=1) <= torch.tensor(detector.history_limits)).all(1)
    flags = log_evidence(counts.histories, counts.flagged, rate, detector.history_law)
    found = [flags.masked_fill(~is_known, -torch.inf)]
    at_looks = zip(counts.reached.T, counts.unusual.T, detector.look_thresholds, detector.look_laws, strict=True)
    for reached, unusual, threshold, law in at_looks:
        if math.isfinite(threshold):
            found.append(look_evidence(reached, unusual, law))
    return torch.stack(found).logsumexp(0) - math.log(len(found))


def log_evidence(histories: Tensor, flagged: Tensor, rate: float, law: ShareLaw) -> Tensor:
    """Return the logarithm of the e-value [B] that a key with so many flagged histories is no benign one.

    It is the mean over alternative shares p of the likelihood ratio of p against benign histories. One alternative
    draws p uniformly above the least of them: fixed ones alone would hold a key of thousands of histories, nearly all
    flagged, for benign. The least is five times the rate, or five times the mean of the law where that is larger, and
    HALF at most, for keys of users somewhat unlike the benign ones: at small rates evidence grows where 2.5 times as
    many are flagged. A rate or mean of HALF or more has one alternative, midway to 1. What share of benign histories a
    threshold flags is not known: it exceeds all but r - 1 of n benign scores, so that this share has the law
    Beta(r, n + 1 - r), and x flagged ones of m have that of a beta-binomial distribution:
    E = mean_p p^x (1 - p)^(m - x) B(r, n + 1 - r) / B(r + x, n + 1 - r + m - x).
    Of independent benign histories it exceeds 1 / alpha with probability alpha at most, over thresholds too, however
    often it is looked at (Ville's inequality).

    Args:
        histories: [B] different histories of each key; one that extends another counts once.
        flagged: [B] those that are flagged.
        rate: share of benign histories that are flagged at most.
        law: of the share of benign histories that are flagged.
    """
    histories, flagged = histories.double(), flagged.double()
    null = _log_null(histories, flagged, law)
    benign = max(rate, law.mean())
    highest = HALF if benign < HALF else (1 + benign) / 2  # an alternative lies above the share of benign ones
    shares = sorted({*(share for times in SHARES if benign < (share := min(highest, times * benign))), highest})
    ratios = [flagged * math.log(share) + (histories - flagged) * math.log1p(-share) - null for share in shares]
    ratios.append(_log_uniform(histories, flagged, shares[0]) - null)
    return torch.stack(ratios).logsumexp(0) - math.log(len(ratios))


def look_evidence(reached: Tensor, unusual: Tensor, law: ShareLaw) -> Tensor:
    """Return the logarithm of the e-value [B] that a key with so many unusual histories at a look is no benign one.

    As `log_evidence`, with one alternative, which draws the share of unusual histories uniformly above LEAST_UNUSUAL.
    It lies that far above LOOK_LEVEL for keys whose histories depend on each other, as those of one user do, or come
    from somewhat other users than the benign ones: evidence grows where the share stays above 0.2 or so.

    Args:
        reached: [B] histories of each key that had the items of the look.
        unusual: [B] those of these that were above its threshold.
        law: of the share of benign histories above it.
    """
    reached, unusual = reached.double(), unusual.double()
    return _log_uniform(reached, unusual, LEAST_UNUSUAL) - _log_null(reached, unusual, law)


def _log_null(histories: Tensor, flagged: Tensor, law: ShareLaw) -> Tensor:
    """Return the logarithm of the probability [B] of a sequence of flags of benign histories; inf beyond the limit."""
    over, below = law.over, law.below
    null = betaln((over + flagged).numpy(), (below + histories - flagged).numpy()) - betaln(over, below)
    return torch.from_numpy(null).masked_fill(histories > law.limit, torch.inf)


def _log_uniform(histories: Tensor, flagged: Tensor, least: float) -> Tensor:
    """Return the logarithm of the mean probability [B] of a sequence of flags over shares between `least` and 1."""
    shape = (1 + flagged).numpy(), (1 + histories - flagged).numpy()
    return torch.from_numpy(betaln(*shape) + _log_above(*shape, least) - math.log1p(-least))


def _log_above(a: np.ndarray, b: np.ndarray, rate: float) -> np.ndarray:
    """Return the logarithm of the probability that Beta(a, b) has above a rate; -inf where it is below the floats.

    Few flagged histories of many leave next to none above a high rate: 1 less the rest has no digits of it then, while
    the law of the benign share, Beta(b, a) below 1 - rate, has all. scipy names it betaincc from 1.11 on.
    """
    below = betainc(a, b, rate)
    with np.errstate(divide="ignore"):
        return np.where(below < HALF, np.log1p(-below), np.log(betainc(b, a, 1 - rate)))


def highest_evidence(keys: Tensor, flagged: Tensor, looks: Tensor, detector: CalibratedDetector, rate: float) -> Tensor:
    """Return the highest logarithm of the e-value [K] that each key has had after any of its histories.

    Args:
        keys: [N] number of the key of each history, in ascending order, those of a key as they arrived.
        flagged: [N] whether each history is.
        looks: [N, looks] whether it was above the threshold of each look, 0 or 1; NOT_REACHED.
        detector: with its thresholds.
        rate: of false positives.
    """
    n_keys = int(keys.max()) + 1 if len(keys) else 0
    if not n_keys:
        return torch.zeros(0, dtype=torch.double)
    of_key = keys.bincount(minlength=n_keys)
    counted = torch.cat([torch.ones(len(keys), 1), flagged.unsqueeze(1), looks != NOT_REACHED, looks == 1], 1).long()
    seen = counted.cumsum(0)
    before = torch.cat([torch.zeros_like(seen[:1]), seen])[of_key.cumsum(0) - of_key]
    seen -= before[keys]
    n_looks = looks.shape[1]
    counts = KeyCounts(seen[:, 0], seen[:, 1], *seen[:, 2:].split(n_looks, 1))
    evidence = key_evidence(counts, detector, rate)
    return torch.full((n_keys,), -torch.inf, dtype=evidence.dtype).scatter_reduce(0, keys, evidence, "amax")


def threshold_of(rate: float) -> float:
    """Return the logarithm of the e-value above which a key is flagged."""
    return -math.log(rate)
