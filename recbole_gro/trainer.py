"""What our trainers share: checkpoints of plain data, one output folder, a progress bar a stage, the registry.

RecBole's Trainer does the training. Its `_train_epoch` takes a loss function, so a stage is a class that says what its
loss is.
"""

import contextlib
import os
from pathlib import Path
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.trainer import Trainer
from recbole.utils import ModelType
from recbole.utils import get_trainer as recbole_trainer
from tqdm import tqdm

from recbole_gro.compat import tensorboard_in
from recbole_gro.config import plain_settings
from recbole_gro.errors import UserError
from recbole_gro.progress import progress_bar
from recbole_gro.registry import Registry
from recbole_gro.scoring import create_scorer

_trainers: Registry[type[Trainer]] = Registry("trainer")
register_trainer = _trainers.register


def get_trainer(model_type: ModelType | str, model_name: str | None = None) -> type[Trainer]:
    """The trainer class registered under a name, else the one RecBole has for a model; called as RecBole's is.

    >>> get_trainer("gro").__name__, get_trainer(ModelType.SEQUENTIAL, "NARM").__name__
    ('GROTrainer', 'Trainer')
    """
    name = str(model_type if model_name is None else model_name)
    if name in _trainers:
        return _trainers[name]
    return recbole_trainer(ModelType.SEQUENTIAL if model_name is None else model_type, name)


def write_atomically(state: Any, file: str | os.PathLike) -> None:
    """torch.save under a temporary name, then rename: a half-written file is never there under its own name."""
    part = f"{file}.part"
    torch.save(state, part)
    os.replace(part, file)


class StageTrainer(Trainer):
    """RecBole's Trainer for one stage of a run.

    With an `output_dir` in the config the checkpoint is `output_dir/STAGE.pth` and TensorBoard's events go to
    `output_dir/tensorboard/STAGE`; without one both are where RecBole puts them.

    Args:
        config: RecBole's Config or ours.
        model: a RecBole sequential model.
        stage: name of the stage, for files and the progress bar.
    """

    stage = "target"

    def __init__(self, config, model, stage: str | None = None):
        self.stage = stage or self.stage
        folder = Path(config["output_dir"]) if config["output_dir"] else None
        with tensorboard_in(folder and folder / "tensorboard" / self.stage):
            super().__init__(config, model)
        if folder:
            self.saved_model_file = str(folder / f"{self.stage}.pth")
        self.scorer = create_scorer(model)
        self.last_valid: tuple[float, Any] | None = None
        self._bar: tqdm | None = None
        self._epoch, self._batch = 0, 0

    def stage_loss(self, interaction: Interaction) -> Any:
        """The loss of a batch, or a tuple of losses that RecBole adds up and logs one by one."""
        return self.scorer.loss(interaction)

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        with self._progress(len(train_data), show_progress):
            return super().fit(train_data, valid_data, verbose, saved, False, callback_fn)

    def load_saved(self) -> None:
        """Put the saved weights into the model."""
        self.model.load_state_dict(torch.load(self.saved_model_file, map_location=self.device)["state_dict"])

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False):
        self._epoch, self._batch = epoch_idx, 0
        return super()._train_epoch(train_data, epoch_idx, loss_func or self._ticking_loss, show_progress)

    def _ticking_loss(self, interaction: Interaction) -> Any:
        if self._bar is not None:
            self._bar.update()
        self._batch += 1
        return self.stage_loss(interaction)

    def _check_nan(self, loss):
        if not torch.isfinite(loss):
            raise self._diverged(f"epoch {self._epoch}, batch {self._batch}: the loss is {loss.item()}")

    def _diverged(self, what: str) -> UserError:
        """The error for a stage whose numbers are numbers no more: what happened, what is left, what may help."""
        kept = Path(self.saved_model_file)
        left = f"; {kept} keeps the best epoch before that" if kept.is_file() else ""
        return UserError(f"{self.stage}: {what}, so it stopped{left}; try a smaller learning rate, or clip_grad_norm")

    def _valid_epoch(self, valid_data, show_progress=False):
        self.last_valid = super()._valid_epoch(valid_data, show_progress)
        self._show_valid()
        return self.last_valid

    def _show_valid(self) -> None:
        if self._bar is not None and self.last_valid is not None:
            self._bar.set_postfix_str(f"{self.valid_metric} {self.last_valid[0]:.4f}", refresh=False)

    @contextlib.contextmanager
    def _progress(self, batches: int, shown: bool):
        epochs = self.epochs - self.start_epoch
        with progress_bar(self.stage, epochs * batches, "batch", shown) as self._bar:
            yield
        self._bar = None

    def _save_checkpoint(self, epoch, verbose=True, **kwargs):
        """RecBole's checkpoint without its pickled Config, so that torch.load(weights_only=True) reads it.

        Raises:
            UserError: weights are NaN or infinite; the earlier checkpoint stays.
        """
        if not all(bool(weights.isfinite().all()) for weights in self.model.parameters()):
            raise self._diverged(f"epoch {epoch}: its last step left weights that are NaN or infinite")
        file = kwargs.pop("saved_model_file", self.saved_model_file)
        write_atomically(
            {
                "config": plain_settings(self.config),
                "epoch": epoch,
                "cur_step": self.cur_step,
                "best_valid_score": float(self.best_valid_score),
                "state_dict": self.model.state_dict(),
                "other_parameter": self._other_parameter(),
                "optimizer": self._model_optimizer_state(),
            },
            file,
        )
        if verbose:
            self.logger.info(f"Saving current: {file}")

    def _other_parameter(self) -> dict[str, Any]:
        """RecBole's other_parameter without whole modules: their weights are in the state dict."""
        return {
            name: value
            for name, value in self.model.other_parameter().items()
            if not isinstance(value, torch.nn.Module)
        }

    def _model_optimizer_state(self) -> dict[str, Any]:
        """The optimizer's state for the model alone; a second model's parameters stand in later groups."""
        state = self.optimizer.state_dict()
        own = state["param_groups"][:1]
        return {"state": {i: state["state"][i] for i in own[0]["params"] if i in state["state"]}, "param_groups": own}


@register_trainer("target")
class TargetTrainer(StageTrainer):
    """The target's own training, before any defense: the model's loss, early stopping on validation."""
