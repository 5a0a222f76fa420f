"""Ours: swap rules in place of the paper's, by name (`gro_swap`)."""

import torch
from torch import Tensor

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.defense.gro.restricted_swap import RESTRICTIONS, checked_head
from recbole_gro.defense.gro.swap_rules import SwapRule, register_swap_rule
from recbole_gro.objective.extensions import assigned_targets, decoy_loss, head_guard
from recbole_gro.objective.swap import swap_loss
from recbole_gro.trainer.processes import add_up
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.ranking import top_k


@register_swap_rule("assigned")
class AssignedSwap(SwapRule):
    """Eq. 5 towards different items (`assigned_targets`)."""

    settings = ()
    unread = RESTRICTIONS

    def term(self, target_scores, served, student_scores, gradient):
        return swap_loss(target_scores, served, assigned_targets(student_scores, served, gradient), self.margin)


@register_swap_rule("assigned_tail")
class AssignedTailSwap(SwapRule):
    """Eq. 5 as `assigned`, for the positions below the head alone; swap targets stay below it (`head_guard`)."""

    settings = ()
    unread = RESTRICTIONS

    def __init__(self, config: ConfigLike):
        super().__init__(config)
        self.head_k = checked_head(config)

    def term(self, target_scores, served, student_scores, gradient):
        head, tail = served.split([self.head_k, self.served_k - self.head_k], 1)
        swapped = assigned_targets(student_scores, tail, gradient[:, self.head_k :], head)
        return swap_loss(target_scores, tail, swapped, self.margin) + head_guard(target_scores, head[:, -1], swapped)


@register_swap_rule("decoys")
class DecoySwap(SwapRule):
    """Raise the same decoys into every list below its head, from the second epoch to the end.

    The student fits every list of the target, so swap targets that follow the student are undone by it and reverse
    from step to step. The first epoch only sums up the student's scores; then the served_k - head_k items with the
    lowest sums become the decoys: where the gradient is negative no items raise the student's loss more. The target's
    own loss ignores them from then on, so the two losses do not oppose each other there.
    """

    settings = ()
    unread = (*RESTRICTIONS, "margin_swap")

    def __init__(self, config: ConfigLike):
        super().__init__(config)
        self.head_k = checked_head(config)
        self.below_k = self.head_k + max(1, self.head_k // 4)  # decoys lie above this place among the other items
        self.decoys: Tensor | None = None
        self._scores: Tensor | float = 0.0

    def term(self, target_scores, served, student_scores, gradient):
        if self.decoys is None:
            self._scores = self._scores + student_scores.float().sum(0)
            return target_scores.new_zeros((), dtype=torch.float32)
        return decoy_loss(target_scores, self.decoys, self.head_k, self.below_k)

    def check_epochs(self, epochs: int) -> None:
        if epochs < 2:
            raise UserError(
                "gro_epochs: 1 leaves no epoch for the decoys (gro_decoys, gro_swap=decoys), selected in the first; "
                "set it to 2 or more, raise gro_steps, or leave that defense out"
            )

    def epoch_ended(self):
        if self.decoys is None and isinstance(self._scores, Tensor):  # none after an epoch without a masked item
            add_up(self._scores)
            self.decoys = top_k(-self._scores.unsqueeze(0), self.served_k - self.head_k).squeeze(0)
            self.left_out = torch.zeros_like(self._scores, dtype=torch.bool).index_fill(0, self.decoys, True)

    def state_dict(self):
        return {"decoys": self.decoys, "left_out": self.left_out}

    def load_state_dict(self, state):
        self.decoys, self.left_out = state["decoys"], state["left_out"]
