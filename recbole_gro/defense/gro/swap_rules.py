"""How GRO pushes lists to where a copying student fails: the paper's swap step, and ours, by name (`gro_swap`)."""

from typing import Any

from torch import Tensor

from recbole_gro.config.settings import setting
from recbole_gro.objective.extensions import swap_targets_outside
from recbole_gro.objective.swap import swap_loss, swap_targets
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.registry import Registry


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
