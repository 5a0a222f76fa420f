"""What a defense is, and the table of them."""

from typing import Any

from torch import Tensor

from recbole_gro.registry import Registry


class Defense:
    """Protects a served model in training (`protect`), on its output (`shown`), or both; by default in neither.

    Args:
        config: the target's config.
    """

    summary = "the ranking is served as it is"  # what it does, in a few words, for the log

    def __init__(self, config):
        self.config = config
        self.settled: dict[str, Any] = {}  # keys as they were in force, where that is more than the config tells

    def protect(self, target, train_data, valid_data, show_progress: bool = False):
        """The model to serve, from the converged target, which stays as it is."""
        return target

    def shown(self, ranked: Tensor) -> Tensor:
        """The list that is served, [B, k] item ids, from the model's ranking [B, k], best first."""
        return ranked


_defenses: Registry[type[Defense]] = Registry("defense")
register_defense = _defenses.register


def create_defense(name: str, config) -> Defense:
    """The defense of that name.

    Raises:
        UserError: no such defense.
    """
    return _defenses[name](config)
