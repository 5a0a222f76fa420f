"""Ours: keep a share of the target's quality by adapting lambda (`gro_min_quality`)."""

import math

from recbole_gro.defense.gro.callback import GROCallback, register_callback
from recbole_gro.utils.errors import UserError

RATE = 10.0  # 0.01 more than the share, or less, changes lambda by a tenth
LARGEST_STEP = math.log(2)


@register_callback("gro_min_quality")
class QualityConstraint(GROCallback):
    """Adapt lambda by dual ascent: max defense subject to validation score >= share of the converged target's.

    Lambda is multiplied by a factor between 1/2 and 2 after every epoch: above 1 while the score is above the share,
    below 1 while it is below. Where smaller scores are better, as with losses, the ratio is inverted.

    Args:
        share: of the converged target's validation score to keep.
        converged: that score; None until the GRO phase starts.
        bigger: whether a larger score is a better one.

    >>> constraint = QualityConstraint(0.9, 0.05)
    >>> round(constraint.next_lambda(1.0, 0.05), 3), round(constraint.next_lambda(1.0, 0.045), 3)
    (2.0, 1.0)
    >>> round(constraint.next_lambda(1.0, 0.04), 3)
    0.5
    """

    settings = ()
    needs_converged = "has no quality for gro_min_quality to keep; leave it out"

    def __init__(self, share: float, converged: float | None = None, bigger: bool = True):
        super().__init__(share)
        self.converged, self.bigger = converged, bigger

    def on_phase_start(self, trainer, train_data, valid_data):
        if not valid_data:
            raise UserError("gro_min_quality: there are no validation data to measure quality on")
        trainer.eval_step = 1
        converged, _ = trainer._valid_epoch(valid_data)
        if not 0 < converged < math.inf:
            raise UserError(
                f"gro_min_quality: the converged target has {trainer.valid_metric} {converged:g} on validation, "
                "of which no share can be kept; train it longer (epochs), or leave gro_min_quality out"
            )
        self.converged, self.bigger = converged, trainer.valid_metric_bigger

    def on_validation(self, trainer, score):
        if self.converged is not None:
            trainer.gro_lambda = self.next_lambda(trainer.gro_lambda, score)
            trainer.logger.info(f"gro_min_quality: lambda is {trainer.gro_lambda:.4g} from the next epoch on")

    def on_phase_end(self):
        self.converged = None

    def next_lambda(self, gro_lambda: float, score: float) -> float:
        """Return lambda of the next epoch, from the validation score after this one."""
        assert self.converged is not None
        better, worse = (score, self.converged) if self.bigger else (self.converged, score)
        step = RATE * ((better / worse if worse else math.inf) - self.value)
        return gro_lambda * math.exp(max(-LARGEST_STEP, min(LARGEST_STEP, step)))
