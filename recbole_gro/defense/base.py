"""The base class of defenses, and their registry."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.settings import Settings
from recbole_gro.serving.service import Query
from recbole_gro.utils.registry import Registry


class Defense:
    """Protect a model in training (`protect`), on its output (`shown` or `answer`), or both; by default neither.

    Args:
        config: the target's config.

    Attributes:
        summary: its method in a few words, for the log.
        name: as registered.
        training_settings: classes of settings that `protect` reads; None: not declared, so it may be any key.
        output_settings: classes of settings that `shown` and `answer` read; None as above.
        fixed: {setting of `training_settings`: value in its place}, where `protect` takes the same value, or none,
            whatever the config says; fingerprints have this one.
        shortens: whether 0 may pad the end of its lists.
        effective: effective settings that the config does not show, for the results.
    """

    summary = "the ranking is served as it is"
    name = ""
    training_settings: tuple[type[Settings], ...] | None = None
    output_settings: tuple[type[Settings], ...] | None = None
    fixed: Mapping[str, Any] = MappingProxyType({})
    shortens = False

    def __init__(self, config: ConfigLike):
        self.config = config
        self.effective: dict[str, Any] = {}

    @property
    def needs_target(self) -> bool:
        """Whether `protect` starts from the trained target."""
        return True

    @property
    def classes(self) -> tuple[type, ...]:
        """Classes whose code decides its results; those of a user count in fingerprints."""
        return (type(self),)

    @property
    def parts(self) -> tuple["Defense", ...]:
        """The combined defenses, in the order in which they act."""
        return (self,)

    def check_model(self, model: nn.Module) -> None:
        """Check that `protect` can work with a target, before one is trained.

        Args:
            model: an untrained target, in evaluation mode.

        Raises:
            UserError: it cannot.
        """

    def protect(self, target: nn.Module, train_data: Any, valid_data: Any, show_progress: bool = False) -> nn.Module:
        """Return the model to serve, trained from the converged target, which is not changed."""
        return target

    def shown(self, ranked: Tensor) -> Tensor:
        """Return the served lists [B, k] of item ids, from the model's ranking [B, k], best first."""
        return ranked

    def answer(self, ranked: Tensor, query: Query) -> Tensor:
        """Return the served lists [B, k], from the ranking [B, k] and the query, as a service calls it."""
        return self.shown(ranked)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that its next list depends on besides the query: plain values and tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned."""


defenses: Registry[type[Defense]] = Registry("defense", Defense, acting=("protect", "shown", "answer"))
register_defense = defenses.register
