"""Hooks of the paper's trainer for variants, and the registry of variants by the setting that enables them."""

from typing import TYPE_CHECKING, Any, ClassVar

from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_gro.config.settings import Settings
from recbole_gro.defense.gro.settings import GROTrainerSettings
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.registry import Registry

if TYPE_CHECKING:
    from recbole_gro.defense.gro.trainer import GROTrainer


class GROCallback:
    """Change one step of a GROTrainer; this base class changes none.

    Args:
        value: effective value of the setting under which the class is registered.

    Attributes:
        off: value of that setting that disables the variant.
        reads: classes of settings of other parts that the variant reads.
        needs_converged: why it needs a converged target, for the error message; "" where it needs none.
    """

    # declared by variants outside the package; None: it may read any key
    settings: ClassVar[tuple[type[Settings], ...] | None] = None
    off: ClassVar[Any] = None
    reads: ClassVar[tuple[type[Settings], ...]] = ()
    needs_converged: ClassVar[str] = ""

    def __init__(self, value: Any):
        self.value = value

    def on_phase_start(self, trainer: "GROTrainer", train_data: Any, valid_data: Any) -> None:
        """Act before the GRO phase, when the student exists and the optimizer does not."""

    def on_optimizer(self, trainer: "GROTrainer", steps: int) -> None:
        """Act on the new optimizer of a GRO phase of `steps` steps."""

    def contexts(self, trainer: "GROTrainer", interaction: Interaction) -> tuple[Tensor, Tensor] | None:
        """Return sequences [S, L] and prefix lengths [S, P] whose lists a step is to change too, S P >= N; or None."""
        return None

    def target_loss(self, trainer: "GROTrainer", interaction: Interaction) -> tuple[Tensor, Tensor] | None:
        """Return what replaces L_target of Eq. 6, and the target's scores [N, n_items]; None replaces nothing."""
        return None

    def on_validation(self, trainer: "GROTrainer", score: float) -> None:
        """Act on a validation score of the GRO phase."""

    def on_phase_end(self) -> None:
        """Release what only the GRO phase needs."""

    def resumed_parts(self) -> dict[str, Any]:
        """Return what an epoch leaves to the next one, by name, as `StageTrainer.resumed_parts`."""
        return {}


def checked_target_loss(callback: GROCallback, replaced: Any) -> tuple[Tensor, Tensor]:
    """Return what `target_loss` of a variant returned, which a user may have written.

    Raises:
        UserError: it is no pair of a loss and scores.
    """
    pair = isinstance(replaced, tuple) and len(replaced) == 2 and all(isinstance(part, Tensor) for part in replaced)
    if not pair or replaced[0].numel() != 1 or replaced[1].ndim != 2:
        raise UserError(
            f"target_loss of {type(callback).__name__} is to return None, or a loss [] and scores [N, n_items]"
        )
    return replaced


_callbacks: Registry[type[GROCallback]] = Registry("variant of GRO", GROCallback)
register_callback = _callbacks.register


def callback_settings() -> tuple[type[Settings], ...]:
    """Return the settings that the registered variants declare besides those of GROTrainerSettings."""
    return tuple(declared for name in _callbacks for declared in _callbacks[name].settings or ())


def create_callbacks(settings: GROTrainerSettings) -> list[GROCallback]:
    """Return the variants that the effective settings enable.

    Raises:
        UserError: GRO starts from scratch, and a variant needs a converged target.
    """
    values = {name: getattr(settings, name) for name in _callbacks}
    callbacks = [_callbacks[name](value) for name, value in values.items() if value != _callbacks[name].off]
    needs = [callback.needs_converged for callback in callbacks if callback.needs_converged]
    if needs and settings.gro_start == "untrained":
        raise UserError(f"gro_start: untrained {needs[0]}, or gro_start=converged")
    return callbacks
