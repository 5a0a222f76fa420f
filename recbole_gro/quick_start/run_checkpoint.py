"""Checkpoints in the folder of a run: the weights of a stage, which another run may have trained, and its settings."""

import contextlib
from pathlib import Path
from typing import Any

import torch

from recbole_gro.config.config import plain_settings
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.settings import plugin_keys
from recbole_gro.quick_start.stage_fingerprints import WITHOUT_EFFECT
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import load_state, save_state


def keep_checkpoint(file: Path, checkpoint: dict[str, Any], config: ConfigLike) -> None:
    """Write the checkpoint of a stage to the folder of a run, unless it is there.

    Args:
        file: of the checkpoint; one of an interrupted training has the weights of its epoch.
        checkpoint: of the stage.
        config: of the run.
    """
    kept = checkpoint | {"config": settings_of_run(checkpoint.get("config", {}), config)}
    if not _is_there(file, kept):
        save_state(file, kept)


def settings_of_run(trained: dict[str, Any], config: ConfigLike) -> dict[str, Any]:
    """Return the settings of a checkpoint with those of a run where the training does not depend on them.

    A service takes its defaults from a checkpoint, such as the length of its lists. Those of the run that trained it
    may be others: stages are shared.

    Args:
        trained: settings of the training.
        config: of the run.
    """
    free = plugin_keys().keys() | WITHOUT_EFFECT
    own = plain_settings(config)
    return {name: value for name, value in trained.items() if name not in free} | {
        name: value for name, value in own.items() if name in free
    }


def _is_there(file: Path, checkpoint: dict[str, Any]) -> bool:
    """Return whether a file has the weights and the settings of a checkpoint."""
    if not file.exists():
        return False
    with contextlib.suppress(UserError):
        there = load_state(file)
        weights, own = there.get("state_dict") or {}, checkpoint["state_dict"]
        same = weights.keys() == own.keys() and all(torch.equal(weights[name], own[name].cpu()) for name in own)
        return same and there.get("config") == checkpoint["config"]
    return False
