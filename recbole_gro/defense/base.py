"""What a defense is, and the table of them."""

from typing import Any

from torch import Tensor

from recbole_gro.config.settings import Settings
from recbole_gro.serving.service import Query
from recbole_gro.utils.registry import Registry


class Defense:
    """Protects a served model in training (`protect`), on its output (`shown` or `answer`), or both; by default in
    neither.

    Args:
        config: the target's config.
    """

    summary = "the ranking is served as it is"  # what it does, in a few words, for the log
    name = ""  # that it is registered under
    # classes of settings that `protect`, and that `shown` and `answer` read; None: not declared, so it may be any key
    training_settings: tuple[type[Settings], ...] | None = None
    output_settings: tuple[type[Settings], ...] | None = None
    shortens = False  # whether 0 may stand at the end of its lists, in place of items

    def __init__(self, config):
        self.config = config
        self.effective: dict[str, Any] = {}  # effective settings, where the config does not show them

    @property
    def needs_target(self) -> bool:
        """Whether `protect` starts from the trained target."""
        return True

    @property
    def parts(self) -> tuple["Defense", ...]:
        """What it is made of, in the order in which they act."""
        return (self,)

    def protect(self, target, train_data, valid_data, show_progress: bool = False):
        """The model to serve, from the converged target, which stays as it is."""
        return target

    def shown(self, ranked: Tensor) -> Tensor:
        """The list that is served, [B, k] item ids, from the model's ranking [B, k], best first."""
        return ranked

    def answer(self, ranked: Tensor, asked: Query) -> Tensor:
        """As `shown`, for a defense that needs the query or the scores too; what a service calls."""
        return self.shown(ranked)

    def state_dict(self) -> dict[str, Any]:
        """What its next list depends on besides the query, where it draws afresh: plain values and tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was asked."""


defenses: Registry[type[Defense]] = Registry("defense")
register_defense = defenses.register
