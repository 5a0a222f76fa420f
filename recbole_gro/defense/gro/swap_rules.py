"""The third term of Eq. 6 by name (`gro_swap`): the interface of swap rules, their table and the paper's rule."""

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.settings import Settings
from recbole_gro.defense.gro.settings import GROSettings
from recbole_gro.objective.swap import swap_loss, swap_targets
from recbole_gro.utils.errors import UserError, kind_of
from recbole_gro.utils.read_only import read_only
from recbole_gro.utils.registry import Registry, registered_as


class SwapRule:
    """The third term of Eq. 6.

    Args:
        config: RecBole's Config or ours.

    Attributes:
        config: the same; `MySettings.of(self.config)` reads settings of a rule's own.
        unread: settings of GRO's that neither it nor the trainer beside it reads; for rules of this package.
        left_out: [n_items] bool, items that the target's own loss ignores unless they are the positive; None for no
            such items.
        effective: effective settings that this rule reads and others do not, for the results.
    """

    # classes of settings that it reads besides those of GRO; None: not declared, so it may be any key
    settings: ClassVar[tuple[type[Settings], ...] | None] = None
    unread: ClassVar[tuple[str, ...]] = ()
    left_out: Tensor | None = None

    def __init__(self, config: ConfigLike):
        self.config, settings = config, GROSettings.of(config)
        self.margin, self.paper_code_ties = settings.margin_swap, settings.paper_code_ties
        self.served_k = settings.served_k
        self.effective: dict[str, Any] = {}

    @abstractmethod
    def term(self, target_scores: Tensor, served: Tensor, student_scores: Tensor, gradient: Tensor) -> Tensor:
        """Compute L_swap of Eq. 6, []; the trainer multiplies it by lambda.

        Args:
            target_scores: [N, n_items]; the gradient goes here.
            served: [N, k] lists of the target.
            student_scores: [N, n_items], detached.
            gradient: [N, k] of the student's loss with respect to its scores of `served`.
        """
        raise NotImplementedError

    def check_epochs(self, epochs: int) -> None:
        """Refuse fewer epochs of GRO than the rule needs.

        Raises:
            UserError: there are fewer.
        """

    def epoch_ended(self) -> None:
        """Act after every epoch."""

    def state_dict(self) -> dict[str, Any]:
        """Return what an epoch leaves to the next one, as plain values and tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; tensors come on the model's device."""


_rules: Registry[type[SwapRule]] = Registry("gro_swap", SwapRule)
register_swap_rule = _rules.register
# rules that replace the one of the same name where their `applies(config)` is true
_restricted_rules: Registry[Any] = Registry("restricted gro_swap")
register_restricted_rule = _restricted_rules.register


def create_swap_rule(name: str, config: ConfigLike) -> SwapRule:
    """Return the rule of that name, or its restricted form where the settings call for one.

    Args:
        name: as registered.
        config: RecBole's Config or ours.

    Raises:
        UserError: unknown rule, or settings that contradict each other.
    """
    rule = _rules[name]
    if name in _restricted_rules and _restricted_rules[name].applies(config):
        rule = _restricted_rules[name]
    return rule(config)


def swap_term(
    rule: SwapRule, target_scores: Tensor, served: Tensor, student_scores: Tensor, gradient: Tensor
) -> Tensor:
    """Return the term of a rule, which a user may have written; arguments as of `SwapRule.term`.

    Raises:
        UserError: it is no tensor of one number, or the rule changed what it computes it from.
    """
    of_rule = f"{registered_as(type(rule)) or type(rule).__name__}: term"
    with read_only(
        of_rule, target_scores=target_scores, served=served, student_scores=student_scores, gradient=gradient
    ):
        term: Any = rule.term(target_scores, served, student_scores, gradient)
    if not isinstance(term, Tensor) or term.numel() != 1 or not term.is_floating_point():
        raise UserError(f"{of_rule} returned {kind_of(term)}; a tensor of one number is expected")
    return term


@register_swap_rule("paper")
class PaperSwap(SwapRule):
    """Eq. 5 towards A' of section 4.5."""

    settings = ()

    def term(self, target_scores, served, student_scores, gradient):
        swapped = swap_targets(student_scores, served, gradient, self.paper_code_ties)
        return swap_loss(target_scores, served, swapped, self.margin)
