"""Decisions about API keys: how many of a key's histories are flagged, against what benign users would have."""

import math

import numpy as np
import torch
from scipy.special import betainc, betaln
from torch import Tensor

from recbole_gro.detection.calibration import conformal_rank

SHARES = (2, 5, 10, 30)  # flagged shares under H1, as multiples of the rate; HALF; and all above it, drawn uniformly
HALF = 0.5


def log_evidence(histories: Tensor, flagged: Tensor, rate: float, benign: int) -> Tensor:
    """Return the logarithm of the e-value [B] that a key with so many flagged histories is no benign one.

    It is the mean over alternative shares p of the likelihood ratio of p against benign histories. One alternative
    draws p uniformly above the rate: fixed ones alone would hold a key of thousands of histories, nearly all flagged,
    for benign. What share of benign histories a threshold flags is not known: it exceeds all but r - 1 of n benign
    scores, so that this share has the law Beta(r, n + 1 - r), and x flagged ones of m have that of a beta-binomial
    distribution: E = mean_p p^x (1 - p)^(m - x) B(r, n + 1 - r) / B(r + x, n + 1 - r + m - x).
    Of independent benign histories it exceeds 1 / alpha with probability alpha at most, over thresholds too, however
    often it is looked at (Ville's inequality).

    Args:
        histories: [B] different histories of each key; one that extends another counts once.
        flagged: [B] those that are flagged.
        rate: share of benign histories that are flagged at most.
        benign: number n of benign users whose scores gave the threshold.
    """
    histories, flagged = histories.double(), flagged.double()
    place = conformal_rank(benign, rate)
    above, below = benign + 1 - place, place
    null = torch.from_numpy(
        betaln((above + flagged).numpy(), (below + histories - flagged).numpy()) - betaln(above, below)
    )
    highest = HALF if rate < HALF else (1 + rate) / 2  # an alternative lies above the rate
    shares = sorted({*(share for times in SHARES if rate < (share := min(highest, times * rate))), highest})
    ratios = [flagged * math.log(share) + (histories - flagged) * math.log1p(-share) - null for share in shares]
    shape = (1 + flagged).numpy(), (1 + histories - flagged).numpy()
    of_uniform = betaln(*shape) + _log_above(*shape, rate) - math.log1p(-rate)
    ratios.append(torch.from_numpy(of_uniform) - null)
    return torch.stack(ratios).logsumexp(0) - math.log(len(ratios))


def _log_above(a: np.ndarray, b: np.ndarray, rate: float) -> np.ndarray:
    """Return the logarithm of the probability that Beta(a, b) has above a rate; -inf where it is below the floats.

    Few flagged histories of many leave next to none above a high rate: 1 less the rest has no digits of it then, while
    the law of the benign share, Beta(b, a) below 1 - rate, has all. scipy names it betaincc from 1.11 on.
    """
    below = betainc(a, b, rate)
    with np.errstate(divide="ignore"):
        return np.where(below < HALF, np.log1p(-below), np.log(betainc(b, a, 1 - rate)))


def highest_evidence(keys: Tensor, flagged: Tensor, rate: float, benign: int) -> Tensor:
    """Return the highest logarithm of the e-value [K] that each key has had after any of its histories.

    Args:
        keys: [N] number of the key of each history, in ascending order, those of a key as they arrived.
        flagged: [N] whether each history is.
        rate: as above.
        benign: as above.

    >>> highest_evidence(torch.tensor([0, 1, 1]), torch.tensor([False, True, False]), 0.5, 99) > 0
    tensor([False,  True])
    """
    n_keys = int(keys.max()) + 1 if len(keys) else 0
    histories = keys.bincount(minlength=n_keys)
    before = histories.cumsum(0) - histories
    n_flagged = flagged.long().cumsum(0)
    n_flagged_before = torch.cat([n_flagged.new_zeros(1), n_flagged])[before]
    seen = torch.arange(1, len(keys) + 1) - before[keys]
    evidence = log_evidence(seen, n_flagged - n_flagged_before[keys], rate, benign)
    return torch.full((n_keys,), -torch.inf, dtype=evidence.dtype).scatter_reduce(0, keys, evidence, "amax")


def key_is_flagged(histories: Tensor, flagged: Tensor, rate: float, benign: int) -> Tensor:
    """Return whether each key is flagged [B], for at most a share `rate` of benign keys; arguments as above.

    >>> key_is_flagged(torch.tensor([100, 100, 1]), torch.tensor([1, 9, 1]), 0.01, 2000)
    tensor([False,  True, False])
    """
    return log_evidence(histories, flagged, rate, benign) > threshold_of(rate)


def threshold_of(rate: float) -> float:
    """Return the logarithm of the e-value above which a key is flagged."""
    return -math.log(rate)
