"""Ours: the paper's swap step with the head of the list left alone (`gro_rows`, `swap_candidates`)."""

from recbole_gro.config.settings import setting
from recbole_gro.defense.gro.swap_rules import PaperSwap, register_restricted_rule
from recbole_gro.objective.extensions import swap_targets_outside
from recbole_gro.objective.swap import swap_loss, swap_targets
from recbole_gro.utils.errors import UserError

RESTRICTIONS = ("gro_rows", "swap_candidates")


def head_below_list(config) -> int:
    """Return `gro_head_k`, the length of a list's head.

    Raises:
        UserError: nothing of the list is left below its head.
    """
    served_k = setting(config, "served_k")
    head_k = setting(config, "gro_head_k")
    if head_k >= served_k:
        raise UserError(
            f"gro_head_k: {head_k} leaves nothing of lists of {served_k} to change; set it below served_k={served_k}"
        )
    return head_k


@register_restricted_rule("paper")
class RestrictedSwap(PaperSwap):
    """Restrict the paper's swap step to the positions below the head, to the items outside it, or to both.

    `gro_rows: tail` takes the mean of Eq. 5 over the positions below the head alone; `swap_candidates: outside_head`
    swaps in no item of the head. The paper's best item for the student is mostly one of the head, and its first
    positions are the ones that a user sees.
    """

    def __init__(self, config):
        super().__init__(config)
        self.rows = setting(config, "gro_rows")
        self.candidates = setting(config, "swap_candidates")
        self.head_k = head_below_list(config)
        self.effective = {"gro_head_k": self.head_k}

    @staticmethod
    def applies(config) -> bool:
        """Return whether a setting restricts the paper's rule."""
        return any(setting(config, name) != "all" for name in RESTRICTIONS)

    def term(self, target_scores, served, student_scores, gradient):
        head, first_row = served[:, : self.head_k], self.head_k if self.rows == "tail" else 0
        rows, moved = served[:, first_row:], gradient[:, first_row:]
        if self.candidates == "outside_head":
            swapped = swap_targets_outside(student_scores, rows, moved, head, self.paper_code_ties)
        else:
            swapped = swap_targets(student_scores, rows, moved, self.paper_code_ties)
        return swap_loss(target_scores, rows, swapped, self.margin)
