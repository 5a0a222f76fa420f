"""A share of the target's quality to be kept, in place of a fixed lambda (ours, not the paper's)."""

import math

from recbole_gro.utils.errors import UserError

RATE = 10.0  # a tenth of the quality to spare, or missing, changes lambda by a factor of e
LARGEST_STEP = math.log(2)


class QualityConstraint:
    """Adapt lambda by dual ascent: strongest defense subject to validation score >= share of the converged target's.

    Lambda is the price of quality, so it moves against what quality there is to spare: up while the score lies above
    the wanted share, down while it lies below; by its own size, at most twofold an epoch. Where a score is better
    smaller, as losses are, the shares are turned round.

    Args:
        share: of the converged target's validation score that is to be kept.
        converged: that score.
        bigger: whether more of it is better.

    Raises:
        UserError: the converged score is not above 0.

    >>> constraint = QualityConstraint(0.9, 0.05)
    >>> round(constraint.next_lambda(1.0, 0.05), 3), round(constraint.next_lambda(1.0, 0.045), 3)
    (2.0, 1.0)
    >>> round(constraint.next_lambda(1.0, 0.04), 3)
    0.5
    """

    def __init__(self, share: float, converged: float, bigger: bool = True):
        if not 0 < converged < math.inf:
            raise UserError(
                f"gro_min_quality: the converged target's validation score is {converged:g}, which has no share to be "
                f"kept; train the target longer, choose another valid_metric, or unset gro_min_quality"
            )
        self.share, self.converged, self.bigger = share, converged, bigger

    def next_lambda(self, gro_lambda: float, score: float) -> float:
        """Return lambda of the next epoch, from the validation score after this one."""
        kept, whole = (score, self.converged) if self.bigger else (self.converged, score)
        kept = kept / whole if whole else math.inf
        step = RATE * (kept - self.share)
        return gro_lambda * math.exp(max(-LARGEST_STEP, min(LARGEST_STEP, step)))
