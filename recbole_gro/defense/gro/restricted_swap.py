"""Ours: the paper's swap step without the head of the list (`gro_rows`, `swap_candidates`)."""

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.defense.gro.settings import GROTrainerSettings, VariantSettings
from recbole_gro.defense.gro.swap_rules import PaperSwap, register_restricted_rule
from recbole_gro.defense.settings import check_head
from recbole_gro.objective.extensions import swap_targets_outside
from recbole_gro.objective.swap import swap_loss, swap_targets

RESTRICTIONS = ("gro_rows", "swap_candidates")


def checked_head(config: ConfigLike) -> int:
    """Return `gro_head_k`, the length of a list's head.

    Raises:
        UserError: no position is below the head.
    """
    settings = GROTrainerSettings.of(config)
    check_head("gro_head_k", settings.gro_head_k, settings.served_k)
    return settings.gro_head_k


@register_restricted_rule("paper")
class RestrictedSwap(PaperSwap):
    """Restrict the paper's swap step to the positions below the head, to the items outside it, or to both.

    `gro_rows: tail` takes the mean of Eq. 5 over the positions below the head alone; `swap_candidates: outside_head`
    swaps in no item of the head. The paper's best item for the student is mostly in the head, and a user sees the first
    positions of a list.
    """

    def __init__(self, config: ConfigLike):
        super().__init__(config)
        variant = VariantSettings.of(config)
        self.rows, self.candidates = variant.gro_rows, variant.swap_candidates
        self.head_k = checked_head(config)
        self.effective = {"gro_head_k": self.head_k}

    @staticmethod
    def applies(config: ConfigLike) -> bool:
        """Return whether a setting restricts the paper's rule."""
        return any(getattr(VariantSettings.of(config), name) != "all" for name in RESTRICTIONS)

    def term(self, target_scores, served, student_scores, gradient):
        head, first_row = served[:, : self.head_k], self.head_k if self.rows == "tail" else 0
        rows, moved = served[:, first_row:], gradient[:, first_row:]
        if self.candidates == "outside_head":
            swapped = swap_targets_outside(student_scores, rows, moved, head, self.paper_code_ties)
        else:
            swapped = swap_targets(student_scores, rows, moved, self.paper_code_ties)
        return swap_loss(target_scores, rows, swapped, self.margin)
