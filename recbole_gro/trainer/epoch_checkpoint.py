"""Resume checkpoints: a trainer after its last finished epoch, in a file."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recbole_gro.trainer import processes
from recbole_gro.trainer.catalogue import other_parameter
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import ANEW, load_state, make_folder, plain_state, save_state
from recbole_gro.utils.log import console
from recbole_gro.utils.random_state import generators_of, random_state, set_generator_state, set_random_state


class EpochCheckpoint:
    """Write everything that the next epoch of a trainer depends on after each epoch, and restore it.

    A trainer declares its part: `resumed_parts()` (whatever has a `state_dict`), `resumed_values` (names of attributes
    with plain values) and `resumed_generators()`. The generators of the training data and of the process are added.

    Args:
        file: path of the resume checkpoint; None writes none.
        trainer: a StageTrainer, set up for its first epoch.
        train_data: its loader.
    """

    def __init__(self, file: Path | None, trainer: Any, train_data: Any):
        self.file, self.trainer = file, trainer
        self._generators = {**generators_of(train_data), **trainer.resumed_generators()}

    def restore(self) -> bool:
        """Put the trainer into its state after the last finished epoch, if the file exists.

        Where the checkpoint of the best epoch was removed since, the training starts anew.

        Returns:
            Whether that epoch was the last one of the training.

        Raises:
            UserError: the file is damaged, or of another kind of trainer or model.
        """
        if self.file is None or not processes.by_first(self.file.exists):
            return False
        file, trainer = self.file, self.trainer
        saved = processes.by_first(lambda: load_state(file, remedy=ANEW))
        best = Path(trainer.saved_model_file)
        if saved.get("has_best") and not processes.by_first(best.exists):
            console.warning(f"{file.stem}: {best}, which had the best epoch so far, is gone; the training starts anew")
            return False
        try:
            for name, part in trainer.resumed_parts().items():
                # an optimizer moves its tensors itself, except its count of steps, which stays on the CPU
                moves = isinstance(part, Optimizer)
                part.load_state_dict(saved["parts"][name] if moves else _moved(saved["parts"][name], trainer.device))
            trainer.model.load_other_parameter(_moved(saved["other_parameter"], trainer.device))
            for name in trainer.resumed_values:
                setattr(trainer, name, saved["values"][name])
            for name, generator in self._generators.items():
                set_generator_state(generator, saved["generators"][name])
        except (LookupError, RuntimeError, ValueError) as error:
            raise UserError(f"{self.file} does not fit this run ({str(error).splitlines()[0]})") from error
        set_random_state(saved["process"])
        epoch, finished = saved["epoch"], saved["finished"]
        trainer.start_epoch = trainer.epochs if finished else epoch + 1
        console.info(
            f"{self.file.stem}: training had finished after epoch {epoch}; its result is loaded"
            if finished
            else f"{self.file.stem}: resumes from epoch {epoch + 1}"
        )
        return finished

    def save(self, epoch: int, finished: bool = False) -> None:
        """Write the trainer's state after an epoch.

        Args:
            epoch: the epoch, counted from 0.
            finished: no epoch follows.

        Raises:
            UserError: the file cannot be written.
        """
        if self.file is None:
            return
        file, trainer = self.file, self.trainer
        parts = trainer.resumed_parts()
        state: dict[str, Any] = {
            "epoch": epoch,
            "finished": finished,
            "has_best": Path(trainer.saved_model_file).exists(),
            "parts": {name: part.state_dict() for name, part in parts.items()},
            "other_parameter": other_parameter(trainer.model),
            "values": {name: _plain(getattr(trainer, name)) for name in trainer.resumed_values},
            "generators": {name: generator.get_state() for name, generator in self._generators.items()},
            "process": random_state(),
        }
        for name, part in parts.items():
            if not isinstance(part, nn.Module | Optimizer):  # a swap rule, or a part of a callback
                plain_state(state["parts"][name], f"state_dict of {type(part).__name__}")
        plain_state(state["values"], f"resumed_values of {type(trainer).__name__}: one")
        make_folder(file.parent, "resume checkpoint")
        processes.by_first(lambda: save_state(file, state))
        trainer.logger.info(
            f"{self.file.stem}: resume checkpoint after epoch {epoch}{', the last' if finished else ''}"
        )


def _plain(value: Any) -> Any:
    """Return nested values without numpy's numbers, which torch.load(weights_only=True) refuses."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(entry) for entry in value)
    return value.item() if isinstance(value, np.generic) else value


def _moved(value: Any, device: torch.device) -> Any:
    """Return nested values with their tensors on a device."""
    if isinstance(value, dict):
        return {name: _moved(entry, device) for name, entry in value.items()}
    return value.to(device) if isinstance(value, Tensor) else value
