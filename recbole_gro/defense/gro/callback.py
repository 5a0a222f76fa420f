"""Hooks by which a variant changes the paper's trainer, and the table of variants by the setting that enables them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_gro.utils.errors import UserError
from recbole_gro.utils.registry import Registry

if TYPE_CHECKING:
    from recbole_gro.defense.gro.trainer import GROTrainer


class GROCallback:
    """Change one thing about a GROTrainer; this base class changes nothing.

    Args:
        value: effective value of the setting under which the class is registered.

    Attributes:
        off: value of that setting which leaves the variant out.
        needs_converged: why there must be a converged target to start from, for the error message; "" where not.
    """

    off: ClassVar[Any] = None
    needs_converged: ClassVar[str] = ""

    def __init__(self, value: Any):
        self.value = value

    def on_phase_start(self, trainer: "GROTrainer", train_data, valid_data) -> None:
        """Act before the GRO phase, when the student exists and the optimizer does not."""

    def on_optimizer(self, trainer: "GROTrainer", steps: int) -> None:
        """Act on the new optimizer of a GRO phase of `steps` steps."""

    def target_loss(self, trainer: "GROTrainer", interaction: Interaction) -> tuple[Tensor, Tensor] | None:
        """Return what replaces L_target of Eq. 6, and the target's scores [N, n_items]; None replaces nothing."""
        return None

    def on_validation(self, trainer: "GROTrainer", score: float) -> None:
        """Act on a validation score, in plain training too."""

    def on_phase_end(self) -> None:
        """Release what only the GRO phase needs."""

    def resumed_parts(self) -> dict[str, Any]:
        """Return what an epoch leaves to the next one, by name, as `StageTrainer.resumed_parts`."""
        return {}


_callbacks: Registry[type[GROCallback]] = Registry("variant of GRO")
register_callback = _callbacks.register


def create_callbacks(effective: Callable[[str], Any]) -> list[GROCallback]:
    """Return the variants that the settings enable.

    Args:
        effective: the effective value of a setting, by its name.

    Raises:
        UserError: GRO starts from scratch, and a variant needs a converged target.
    """
    callbacks = [_callbacks[name](effective(name)) for name in _callbacks if effective(name) != _callbacks[name].off]
    needs = [callback.needs_converged for callback in callbacks if callback.needs_converged]
    if needs and effective("gro_start") == "untrained":
        raise UserError(f"gro_start: untrained {needs[0]}, or gro_start=converged")
    return callbacks
