"""The base class of trainers: checkpoints of plain data, resuming, an output folder and a progress bar per stage.

RecBole's Trainer does the training. Its `_train_epoch` takes a loss function, so a stage is a class that defines its
loss.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.trainer import Trainer, trainer
from recbole.utils import ModelType
from recbole.utils import get_trainer as recbole_trainer
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from recbole_gro.config.config import plain_settings
from recbole_gro.config.models import reference_to, sequential_models
from recbole_gro.config.recbole_checks import check_scaler
from recbole_gro.objective.extraction import BatchPart
from recbole_gro.scoring import create_scorer
from recbole_gro.trainer import processes
from recbole_gro.trainer.catalogue import catalogue_state, other_parameter
from recbole_gro.trainer.collector import RankCollector
from recbole_gro.trainer.epoch_checkpoint import EpochCheckpoint
from recbole_gro.trainer.stage_name import stage_name
from recbole_gro.utils.compat import no_scaler_warning, no_tensorboard
from recbole_gro.utils.errors import UserError, unknown_name
from recbole_gro.utils.files import make_folder, save_state
from recbole_gro.utils.metric_result import CheckedEvaluator, checked_result
from recbole_gro.utils.patching import replaced
from recbole_gro.utils.progress import on_terminal, progress_bar
from recbole_gro.utils.registry import Registry

_trainers: Registry[type[Trainer]] = Registry("trainer", Trainer)
register_trainer = _trainers.register


def get_trainer(model_type: ModelType | str, model_name: str | None = None) -> type[Trainer]:
    """Return the trainer class registered under a name, else RecBole's for a model.

    Args:
        model_type: RecBole's type of the model; alone, a registered or a model's name.
        model_name: a registered or a model's name, as of RecBole's `get_trainer`.

    Raises:
        UserError: a single argument is neither.

    >>> get_trainer("gro").__name__, get_trainer(ModelType.SEQUENTIAL, "NARM").__name__
    ('GROTrainer', 'Trainer')
    """
    name = str(model_type if model_name is None else model_name)
    if name in _trainers:
        return _trainers[name]
    if model_name is None and name not in sequential_models():
        raise unknown_name("trainer or sequential model", name, [*_trainers, *sequential_models()])
    return recbole_trainer(ModelType.SEQUENTIAL if model_name is None else model_type, name)


_files: set[str] = set()  # checkpoints that trainers of this process were given


def _unused(file: str) -> str:
    """Return the file, numbered, since RecBole names them by the second.

    The name has this process's id: scripts that are started at once would write each other's checkpoints.
    """
    path, number = Path(file), len(_files) + 1
    file = str(path.with_stem(f"{path.stem}-{os.getpid()}-{number}"))
    _files.add(file)
    return file


class StageTrainer(Trainer):
    """Train one stage of a run with RecBole's Trainer.

    With an `output_dir` in the config the checkpoint is `output_dir/STAGE.pth` and TensorBoard's events go to
    `output_dir/tensorboard/STAGE`; without one both are where RecBole puts them. With a `resume_dir`, as runs set it, a
    resume checkpoint is written there after every epoch, and `fit` resumes from it, or returns the result of a training
    that has finished.

    In several processes (`processes`) each trains on its part of every batch.

    Args:
        config: RecBole's Config or ours.
        model: a RecBole sequential model.
        stage: name of the stage, for files and the progress bar.

    Attributes:
        batch_part: the training positions of this process among those of the batch, for draws that are made for the
            whole batch; None where this process has the whole batch.
        stored: further plain values of its checkpoints, by name.
    """

    stage = "target"
    batch_part: BatchPart | None = None
    _weight = 1.0  # of this process's part of a batch
    tensorboard: Any
    # attributes with plain values that the next epoch depends on
    resumed_values: tuple[str, ...] = (
        *("cur_step", "best_valid_score", "best_valid_result", "train_loss_dict", "last_valid"),
    )

    def __init__(self, config: Config, model: nn.Module, stage: str | None = None):
        self.stage = stage or stage_name(self.stage)
        check_scaler(config)
        evaluator = CheckedEvaluator(config)  # first: RecBole makes the metrics too, and names none that fails
        with no_tensorboard():  # a writer is a thread, which `fit` starts and ends
            super().__init__(config, model)
        self.eval_collector, self.evaluator = RankCollector(config), evaluator
        self._folder = Path(config["output_dir"]) if config["output_dir"] else None
        if self._folder:
            make_folder(self._folder)
            self.saved_model_file = str(self._folder / f"{self.stage}.pth")
        else:
            self.saved_model_file = processes.by_first(lambda: _unused(self.saved_model_file))  # of one second
        self.scorer = create_scorer(model)
        self.last_valid: tuple[float, Any] | None = None
        self._bar: tqdm | None = None
        self.epoch, self.batch = 0, 0
        self._resume: EpochCheckpoint | None = None
        self._catalogue: dict[str, Any] | None = None
        self.stored: dict[str, Any] = {}

    def stage_loss(self, interaction: Interaction) -> Any:
        """Return the loss of a batch, or a tuple of losses, which RecBole adds up and logs one by one."""
        return self.scorer.loss(interaction)

    def fit(
        self, train_data: Any, valid_data: Any = None, verbose: bool = True, saved: bool = True,
        show_progress: bool = False, callback_fn: Any = None,
    ) -> tuple[float, Any]:  # fmt: skip
        """Train as RecBole's `fit`, from the resume checkpoint if there is one."""
        folder = self.config["resume_dir"]
        file = folder and Path(folder) / Path(self.saved_model_file).name
        self.last_valid = None  # of an earlier `fit`
        resume = self._resume = EpochCheckpoint(file, self, train_data)
        finished = resume.restore()
        self._catalogue = catalogue_state(self.config, self.model, getattr(train_data, "_dataset", None))
        with self._progress(len(train_data), show_progress), self._events(), no_scaler_warning():
            # after a finished training RecBole would overwrite the best weights with the last ones
            result = super().fit(train_data, valid_data, verbose, saved and not finished, False, callback_fn)
        if not finished:
            resume.save(max(self.train_loss_dict, default=-1), finished=True)
        return result

    def evaluate(self, eval_data, load_best_model=True, model_file=None, show_progress=False):
        with self.scorer.fused():  # RecBole runs the model itself
            result = super().evaluate(eval_data, load_best_model, model_file, show_progress and on_terminal())
        if result is not None:
            checked_result(result, self.config["metrics"], self.config["topk"])
        return result

    def _full_sort_batch_eval(self, batched_data):
        if not self.scorer.any_length:  # nothing is saved, and RecBole has a way for models without full_sort_predict
            return super()._full_sort_batch_eval(batched_data)
        scores = self.scorer.evaluation_scores(batched_data[0].to(self.device))
        with replaced(self.model, "full_sort_predict", lambda _: scores):
            return super()._full_sort_batch_eval(batched_data)

    def load_saved(self) -> None:
        """Load the saved weights into the model."""
        self.model.load_state_dict(
            processes.by_first(lambda: torch.load(self.saved_model_file, map_location="cpu")["state_dict"])
        )

    def resumed_parts(self) -> dict[str, Any]:
        """Return what the next epoch depends on, by name, each with `state_dict` and `load_state_dict`."""
        return {"model": self.model, "optimizer": self.optimizer}

    def resumed_generators(self) -> dict[str, torch.Generator]:
        """Return the trainer's own generators, by name."""
        return {}

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False):
        # RecBole has no hook after each epoch and its validation, so the next epoch saves the one before
        if self._resume is not None and epoch_idx > self.start_epoch:
            self._resume.save(epoch_idx - 1)
        self.epoch, self.batch = epoch_idx, 0
        batches = self._parts(train_data) if processes.count() > 1 else train_data
        with processes.own_draws(self.device, epoch_idx):
            losses = super()._train_epoch(batches, epoch_idx, loss_func or self._ticking_loss, show_progress)
        return processes.summed(losses)

    def _ticking_loss(self, interaction: Interaction) -> Any:
        if self._bar is not None:
            self._bar.update()
        self.batch += 1
        losses = self.stage_loss(interaction)
        return losses if processes.count() == 1 else processes.weighted(losses, self._weight, self.optimizer)

    def _parts(self, train_data: Any) -> Iterator[Interaction]:
        """Yield this process's part of each batch."""
        for batch in train_data:
            part = processes.part_of(self.positions_of_rows(batch))
            self.batch_part, self._weight = part.positions, part.weight
            yield self.part_of_batch(batch, part.rows)
        self.batch_part = None

    def positions_of_rows(self, batch: Interaction) -> Tensor:
        """Return the number [B] of training positions of each row of a batch, over which losses are means."""
        return self.scorer.positions_of_rows(batch)

    def part_of_batch(self, batch: Interaction, rows: slice) -> Interaction:
        """Return some rows of a batch."""
        return self.scorer.part_of_batch(batch, rows)

    def _check_nan(self, loss):
        if not torch.isfinite(loss):
            raise self._diverged(f"epoch {self.epoch}, batch {self.batch}: the loss is {loss.item()}")

    def _diverged(self, what: str) -> UserError:
        """Return the error for NaN or infinite values: the event, the checkpoint that stays, and a remedy."""
        file = Path(self.saved_model_file)
        left = f"; {file} keeps the best epoch before that" if file.is_file() else ""
        return UserError(f"{self.stage}: {what}, so it stopped{left}; try a smaller learning rate, or clip_grad_norm")

    def _valid_epoch(self, valid_data, show_progress=False):
        self.last_valid = processes.by_first(lambda: self.validate(valid_data, show_progress))
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self.valid_metric} {self.last_valid[0]:.4f}", refresh=False)
        return self.last_valid

    def validate(self, valid_data: Any, show_progress: bool = False) -> tuple[float, Any]:
        """Return the validation score and result."""
        return super()._valid_epoch(valid_data, show_progress)

    @contextlib.contextmanager
    def _progress(self, batches: int, shown: bool) -> Iterator[None]:
        epochs = self.epochs - self.start_epoch
        early = self.stopping_step * self.eval_step < epochs
        with progress_bar(f"{self.stage}: trains", epochs * batches, "batches", shown, at_most=early) as self._bar:
            yield
        self._bar = None

    @contextlib.contextmanager
    def _events(self) -> Iterator[None]:
        """Write TensorBoard's events inside the block, at whose end the writer's thread and file are closed."""
        folder, silent = self._folder, self.tensorboard
        if not processes.is_first():
            yield
            return
        self.tensorboard = (  # RecBole's, looked up where `no_tensorboard` replaces it
            SummaryWriter(str(folder / "tensorboard" / self.stage)) if folder else trainer.get_tensorboard(self.logger)
        )
        try:
            yield
        finally:
            self.tensorboard.close()
            self.tensorboard = silent

    def _save_checkpoint(self, epoch, verbose=True, **kwargs):
        """Write RecBole's checkpoint without its pickled Config, so that torch.load(weights_only=True) reads it.

        Inside `fit` it holds `catalogue_state`, so that it can be served without the data.

        Raises:
            UserError: weights are NaN or infinite; the earlier checkpoint stays.
        """
        if not all(bool(weights.isfinite().all()) for weights in self.model.parameters()):
            raise self._diverged(f"epoch {epoch}: its last step left weights that are NaN or infinite")
        file = kwargs.pop("saved_model_file", self.saved_model_file)
        trained = {"model": reference_to(type(self.model))}  # RecBole's Config may name the class that it derives from
        state = {
            "config": plain_settings(self.config) | trained,
            "stage": self.stage,
            "epoch": epoch,
            "cur_step": self.cur_step,
            "best_valid_score": float(self.best_valid_score),
            "state_dict": self.model.state_dict(),
            "catalogue": self._catalogue,
            "other_parameter": other_parameter(self.model),
            "optimizer": self._model_optimizer_state(),
            **self.stored,
        }
        processes.by_first(lambda: save_state(file, state))
        if verbose:
            self.logger.info(f"Saving current: {file}")

    def _model_optimizer_state(self) -> dict[str, Any]:
        """Return the optimizer's state for the model alone; a second model's parameters are in later groups."""
        state = self.optimizer.state_dict()
        own = state["param_groups"][:1]
        return {"state": {i: state["state"][i] for i in own[0]["params"] if i in state["state"]}, "param_groups": own}


@register_trainer("target")
class TargetTrainer(StageTrainer):
    """Train the undefended target with the model's own loss and early stopping on validation."""

    @property
    def still_improving(self) -> bool:
        """Whether the maximum number of epochs ended the training before early stopping."""
        return self.last_valid is not None and self.cur_step <= self.stopping_step
