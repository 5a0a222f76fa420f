"""The base class of defenses, and their registry."""

from typing import Any

from torch import Tensor

from recbole_gro.config.settings import Settings
from recbole_gro.serving.service import Query
from recbole_gro.utils.registry import Registry


class Defense:
    """Protect a served model in training (`protect`), on its output (`shown` or `answer`), or both; by default
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
        """The defenses that it combines, in the order in which they act."""
        return (self,)

    def protect(self, target, train_data, valid_data, show_progress: bool = False):
        """Return the model to serve, trained from the converged target, which stays as it is."""
        return target

    def shown(self, ranked: Tensor) -> Tensor:
        """Return the served lists [B, k] of item ids, from the model's ranking [B, k], best first."""
        return ranked

    def answer(self, ranked: Tensor, query: Query) -> Tensor:
        """Return the served lists [B, k], from the ranking [B, k] and the query; a service calls it."""
        return self.shown(ranked)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that its next list depends on besides the query: plain values and tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned."""


defenses: Registry[type[Defense]] = Registry("defense")
register_defense = defenses.register
