"""Decisions about API keys: how many of a key's histories are flagged, against what benign users would have."""

import math

import torch
from torch import Tensor

SHARES = (2, 5, 10, 30)  # flagged shares under H1, as multiples of the rate; and one half
HALF = 0.5


def log_evidence(histories: Tensor, flagged: Tensor, rate: float) -> Tensor:
    """Return the logarithm of the e-value [B] that a key with so many flagged histories is no benign one.

    It is the mean over alternative shares p of the likelihood ratio of p against the rate at which benign histories are
    flagged:  E = mean_p (p / rate)^flagged ((1 - p) / (1 - rate))^(histories - flagged). Of independent benign
    histories it exceeds 1 / alpha with probability alpha at most, however often it is looked at (Ville's inequality).

    Args:
        histories: [B] different histories of each key; one that extends another counts once.
        flagged: [B] those that are flagged.
        rate: share of benign histories that are flagged at most.
    """
    histories, flagged = histories.double(), flagged.double()
    shares = sorted({*(min(HALF, times * rate) for times in SHARES), HALF} - {rate})
    ratios = [
        flagged * math.log(share / rate) + (histories - flagged) * math.log((1 - share) / (1 - rate))
        for share in shares
    ]
    return torch.stack(ratios).logsumexp(0) - math.log(len(ratios))


def key_is_flagged(histories: Tensor, flagged: Tensor, rate: float) -> Tensor:
    """Return whether each key is flagged [B], for at most a share `rate` of benign keys; arguments as above.

    >>> key_is_flagged(torch.tensor([100, 100, 1]), torch.tensor([1, 9, 1]), 0.01)
    tensor([False,  True, False])
    """
    return log_evidence(histories, flagged, rate) > -math.log(rate)
