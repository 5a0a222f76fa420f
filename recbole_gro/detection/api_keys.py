"""Decisions about API keys: how many of a key's histories are flagged, against what benign users would have."""

import math

import torch
from scipy.special import betaln
from torch import Tensor

from recbole_gro.detection.calibration import conformal_rank

SHARES = (2, 5, 10, 30)  # flagged shares under H1, as multiples of the rate; and HALF
HALF = 0.5


def log_evidence(histories: Tensor, flagged: Tensor, rate: float, benign: int) -> Tensor:
    """Return the logarithm of the e-value [B] that a key with so many flagged histories is no benign one.

    It is the mean over alternative shares p of the likelihood ratio of p against benign histories. What share of these
    a threshold flags is not known: it exceeds all but r - 1 of n benign scores, so that this share has the law
    Beta(r, n + 1 - r), and x flagged ones of m have that of a beta-binomial distribution:
    E = mean_p p^x (1 - p)^(m - x) B(r, n + 1 - r) / B(r + x, n + 1 - r + m - x).
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
    return torch.stack(ratios).logsumexp(0) - math.log(len(ratios))


def key_is_flagged(histories: Tensor, flagged: Tensor, rate: float, benign: int) -> Tensor:
    """Return whether each key is flagged [B], for at most a share `rate` of benign keys; arguments as above.

    >>> key_is_flagged(torch.tensor([100, 100, 1]), torch.tensor([1, 9, 1]), 0.01, 2000)
    tensor([False,  True, False])
    """
    return log_evidence(histories, flagged, rate, benign) > -math.log(rate)
