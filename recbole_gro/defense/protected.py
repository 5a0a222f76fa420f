"""The checkpoint of a defense that trains."""

from pathlib import Path
from typing import Any

from torch import nn

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.defense.base import Defense
from recbole_gro.trainer.catalogue import checkpoint_of, weights_of
from recbole_gro.trainer.stage_name import stages_named
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import load_state


def protected_checkpoint(
    defense: Defense, target: nn.Module, train_data: Any, valid_data: Any, config: ConfigLike
) -> dict[str, Any]:
    """Train with a defense; return the checkpoint of the model that it returns, with what its trainer stored besides.

    Args:
        defense: whose config has the folder of the checkpoint as `output_dir`.
        target: from which it starts.
        train_data: loader of training rows.
        valid_data: loader of validation rows.
        config: of the run.

    Raises:
        UserError: it returned no model of the target's class, or one whose weights are NaN.
    """
    file = Path(defense.config["output_dir"]) / f"target-{defense.name}.pth"
    with stages_named(file.stem):
        model = defense.protect(target, train_data, valid_data, config["show_progress"])
    _check(model, target, defense.name)
    checkpoint = load_state(file) if file.exists() else checkpoint_of(config, model, train_data._dataset)
    return checkpoint | {"stage": file.stem} | weights_of(model)


def _check(model: Any, target: nn.Module, name: str) -> None:
    if type(model) is not type(target):
        raise UserError(
            f"defense: {name}: protect returned {type(model).__name__}; the model to serve is expected, a "
            f"{type(target).__name__}"
        )
    values = (value for value in model.state_dict().values() if value.is_floating_point())
    if any(bool(value.isnan().any()) for value in values):
        raise UserError(f"defense: {name}: the weights of its model are NaN; its training diverged")
