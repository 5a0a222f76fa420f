"""What our trainers share: checkpoints of plain data, one output folder, a progress bar a stage, the registry.

RecBole's Trainer does the training. Its `_train_epoch` takes a loss function, so a stage is a class that says what its
loss is.
"""

import contextlib
from pathlib import Path
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.trainer import Trainer
from recbole.utils import ModelType
from recbole.utils import get_trainer as recbole_trainer
from tqdm import tqdm

from recbole_gro.config.config import plain_settings
from recbole_gro.scoring import create_scorer
from recbole_gro.trainer.epoch_checkpoint import EpochCheckpoint
from recbole_gro.utils.compat import tensorboard_in
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import write_atomically
from recbole_gro.utils.progress import progress_bar
from recbole_gro.utils.registry import Registry

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


class StageTrainer(Trainer):
    """RecBole's Trainer for one stage of a run.

    With an `output_dir` in the config the checkpoint is `output_dir/STAGE.pth` and TensorBoard's events go to
    `output_dir/tensorboard/STAGE`; without one both are where RecBole puts them. With a `resume_dir` in the config, as
    a run of the pipeline sets it, every finished epoch is kept there, and `fit` goes on from the last one that it finds
    (of a finished training: returns what that returned).

    Args:
        config: RecBole's Config or ours.
        model: a RecBole sequential model.
        stage: name of the stage, for files and the progress bar.
    """

    stage = "target"
    # attributes with plain values that an epoch leaves to the next one
    resumed_values: tuple[str, ...] = (
        "cur_step",
        "best_valid_score",
        "best_valid_result",
        "train_loss_dict",
        "last_valid",
    )

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
        self._kept: EpochCheckpoint | None = None

    def stage_loss(self, interaction: Interaction) -> Any:
        """The loss of a batch, or a tuple of losses that RecBole adds up and logs one by one."""
        return self.scorer.loss(interaction)

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        folder = self.config["resume_dir"]
        kept = self._kept = EpochCheckpoint(
            folder and Path(folder) / Path(self.saved_model_file).name, self, train_data
        )
        finished = kept.restore()
        with self._progress(len(train_data), show_progress):
            # RecBole would save the weights that there are where no epoch is left; the best ones are in the file
            result = super().fit(train_data, valid_data, verbose, saved and not finished, False, callback_fn)
        if not finished:
            kept.keep(max(self.train_loss_dict, default=-1), finished=True)
        return result

    def evaluate(self, eval_data, load_best_model=True, model_file=None, show_progress=False):
        with self.scorer.fused():  # RecBole runs the model itself
            return super().evaluate(eval_data, load_best_model, model_file, show_progress)

    def load_saved(self) -> None:
        """Put the saved weights into the model."""
        self.model.load_state_dict(torch.load(self.saved_model_file, map_location=self.device)["state_dict"])

    def resumed_parts(self) -> dict[str, Any]:
        """What an epoch leaves to the next one, by name, each with `state_dict` and `load_state_dict`."""
        return {"model": self.model, "optimizer": self.optimizer}

    def resumed_generators(self) -> dict[str, torch.Generator]:
        """The trainer's own generators, by name."""
        return {}

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False):
        # RecBole has no hook behind an epoch whatever the settings; before the next one all of it is settled
        if self._kept is not None and epoch_idx > self.start_epoch:
            self._kept.keep(epoch_idx - 1)
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
                "other_parameter": self.other_parameter(),
                "optimizer": self._model_optimizer_state(),
            },
            file,
        )
        if verbose:
            self.logger.info(f"Saving current: {file}")

    def other_parameter(self) -> dict[str, Any]:
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
