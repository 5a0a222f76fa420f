"""How GRO pushes lists to where a copying student fails: the paper's swap step, and ours, by name (`gro_swap`)."""

from typing import Any

import torch
from torch import Tensor

from recbole_gro.config import setting
from recbole_gro.errors import UserError
from recbole_gro.objective import swap_loss, swap_targets
from recbole_gro.objective_ours import assigned_targets, decoy_loss, head_guard, swap_targets_outside
from recbole_gro.registry import Registry
from recbole_gro.top_k import top_k


class SwapRule:
    """The third term of Eq. 6.

    Args:
        config: RecBole's Config or ours.

    Attributes:
        left_out: [n_items] bool, items that the target's own loss passes over unless they are the positive; None for
            no such items.
        settled: keys that this rule reads and others do not, as they are in force; for the results.
    """

    left_out: Tensor | None = None

    def __init__(self, config):
        self.margin = setting(config, "margin_swap")
        self.paper_code_ties = setting(config, "paper_code_ties")
        self.served_k = setting(config, "served_k")
        self.head_k = setting(config, "gro_head_k")
        self.settled: dict[str, Any] = {}

    def term(self, target_scores: Tensor, served: Tensor, student_scores: Tensor, gradient: Tensor) -> Tensor:
        """[] what is added to the losses, times lambda.

        Args:
            target_scores: [N, n_items]; the gradient goes here.
            served: [N, k] the target's lists.
            student_scores: [N, n_items], detached.
            gradient: [N, k] of the student's loss with respect to its scores of `served`.
        """
        raise NotImplementedError

    def epoch_ended(self) -> None:
        """After every epoch."""

    def state_dict(self) -> dict[str, Any]:
        """What it remembers from an epoch to the next, as plain values and tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Remember what `state_dict` gave; tensors come on the model's device."""

    def check_head(self) -> None:
        """UserError where nothing of the list is left below its head."""
        if self.head_k >= self.served_k:
            raise UserError(
                f"gro_head_k: {self.head_k} leaves nothing of lists of {self.served_k} to change; "
                f"set it below served_k={self.served_k}"
            )


_rules: Registry[type[SwapRule]] = Registry("gro_swap")
register_swap_rule = _rules.register


def create_swap_rule(name: str, config) -> SwapRule:
    """The rule of that name.

    Raises:
        UserError: no such rule, or one that cannot work with the other keys.
    """
    return _rules[name](config)


@register_swap_rule("paper")
class PaperSwap(SwapRule):
    """Eq. 5 towards A' of section 4.5.

    Ours, off by default, each by itself: the mean of Eq. 5 over the positions below the head alone (`gro_rows: tail`),
    and swap targets that are no items of the head (`swap_candidates: outside_head`). The paper's best item for the
    student is mostly one of the head, and its first positions are the ones that a user sees.
    """

    def __init__(self, config):
        super().__init__(config)
        rows, candidates = setting(config, "gro_rows"), setting(config, "swap_candidates")
        self.settled = {"gro_rows": rows, "swap_candidates": candidates}
        self.first_row = self.head_k if rows == "tail" else 0
        self.outside_head = candidates == "outside_head"
        if (rows, candidates) != ("all", "all"):
            self.check_head()
            self.settled["gro_head_k"] = self.head_k

    def term(self, target_scores, served, student_scores, gradient):
        rows, moved = served[:, self.first_row :], gradient[:, self.first_row :]
        if self.outside_head:
            head = served[:, : self.head_k]
            swapped = swap_targets_outside(student_scores, rows, moved, head, self.paper_code_ties)
        else:
            swapped = swap_targets(student_scores, rows, moved, self.paper_code_ties)
        return swap_loss(target_scores, rows, swapped, self.margin)


@register_swap_rule("assigned")
class AssignedSwap(SwapRule):
    """Ours: Eq. 5 towards different items (`assigned_targets`)."""

    def term(self, target_scores, served, student_scores, gradient):
        return swap_loss(target_scores, served, assigned_targets(student_scores, served, gradient), self.margin)


@register_swap_rule("assigned_tail")
class AssignedTailSwap(SwapRule):
    """Ours: as `assigned`, on the positions below the head alone, which swap targets must not enter."""

    def __init__(self, config):
        super().__init__(config)
        self.check_head()

    def term(self, target_scores, served, student_scores, gradient):
        head, tail = served.split([self.head_k, self.served_k - self.head_k], 1)
        swapped = assigned_targets(student_scores, tail, gradient[:, self.head_k :], head)
        return swap_loss(target_scores, tail, swapped, self.margin) + head_guard(target_scores, head[:, -1], swapped)


@register_swap_rule("decoys")
class DecoySwap(SwapRule):
    """Ours: one assignment for all lists and the whole run, drawn into every list below its head.

    A student learns every list that it is shown, so swap targets that follow the student are undone by it, and pull
    the target to and fro. The first epoch only watches; then the served_k - head_k items that the student scores
    lowest on average become the decoys: where the gradient is negative no items raise the student's loss more. The
    target's own loss passes over them from then on, so the two losses do not fight over them.
    """

    def __init__(self, config):
        super().__init__(config)
        self.check_head()
        if setting(config, "gro_epochs") < 2:
            raise UserError("gro_epochs: 1 leaves no epoch for the decoys, which the first one chooses; at least 2")
        self.below_k = self.head_k + max(1, self.head_k // 4)  # decoys lie above this place among the other items
        self.decoys: Tensor | None = None
        self._scores: Tensor | float = 0.0

    def term(self, target_scores, served, student_scores, gradient):
        if self.decoys is None:
            self._scores = self._scores + student_scores.float().sum(0)
            return target_scores.new_zeros((), dtype=torch.float32)
        return decoy_loss(target_scores, self.decoys, self.head_k, self.below_k)

    def epoch_ended(self):
        if self.decoys is None:
            assert isinstance(self._scores, Tensor)
            self.decoys = top_k(-self._scores.unsqueeze(0), self.served_k - self.head_k).squeeze(0)
            self.left_out = torch.zeros_like(self._scores, dtype=torch.bool).index_fill(0, self.decoys, True)

    def state_dict(self):
        return {"decoys": self.decoys, "left_out": self.left_out}

    def load_state_dict(self, state):
        self.decoys, self.left_out = state["decoys"], state["left_out"]
