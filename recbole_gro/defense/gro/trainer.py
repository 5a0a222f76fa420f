"""The paper's trainer (Zhang et al., WSDM'24): a target trained to mislead a student that is trained on its lists."""

import tempfile
from pathlib import Path
from typing import Any, ClassVar

import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from recbole_gro.config.config import derive
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.settings import setting
from recbole_gro.data.loaders import check_served_k
from recbole_gro.data.missing_items import warn_of_missing_items
from recbole_gro.data.time_order import warn_of_rounded_times
from recbole_gro.defense.gro.callback import callback_settings, checked_target_loss, create_callbacks
from recbole_gro.defense.gro.settings import GROTrainerSettings, StudentSettings
from recbole_gro.defense.gro.step_in_blocks import StepInBlocks
from recbole_gro.defense.gro.swap_rules import create_swap_rule, swap_term
from recbole_gro.objective.extraction import BatchPart, extraction_loss, sample_negatives
from recbole_gro.scoring import NextItemScorer, create_scorer
from recbole_gro.scoring.causal import SLOTS
from recbole_gro.scoring.picked_scores import ScoreRecorder
from recbole_gro.trainer.base import StageTrainer, TargetTrainer, register_trainer
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.ranking import top_k


def create_student(config: ConfigLike, target_class: type, dataset: Any) -> nn.Module:
    """Return an untrained student, by default of the target's architecture (section 4.3).

    Args:
        config: the target's config, with `student_model` and `student_config`.
        target_class: class of the target.
        dataset: the target's training data.

    Raises:
        UserError: unknown model or file.
    """
    settings = StudentSettings.of(config)
    name, file = settings.student_model, settings.student_config
    student_config = config if name is None and file is None else derive(config, name, file, "student_model")
    model_class = target_class if name is None else student_config.model_class
    return model_class(student_config, dataset).to(config["device"])


@register_trainer("gro")
class GROTrainer(StageTrainer):
    """Train a target with GRO, in place of RecBole's `Trainer(config, model)` in any script.

    `fit` trains the model plainly to convergence (RecBole's own loop and early stopping), then fine-tunes it with
    Eq. 6 for `gro_epochs` beside a student trained on its lists (section 5.3). What is saved, evaluated and attacked
    is the last GRO epoch: RecBole's best-validation epoch would be the least defended one. The student is discarded at
    the end; the checkpoint is an ordinary one of the model. The converged model is saved beside it, as -undefended.pth.
    With `gro_start=untrained` there is no plain training: Eq. 6 from the first step, as the authors train ML-1M.
    `gro_lambda=0` is the control: the student is trained and the swap loss computed over the same steps and random
    draws, but it moves no weight of the target.

    Variants of ours are callbacks (callback.py) and swap rules, which their settings enable.

    Args:
        config: RecBole's Config or ours; settings of this plugin that RecBole's lacks take our defaults.
        model: the target, any RecBole sequential model.
        stage: name of the stage, for files and the progress bar.

    Raises:
        UserError: settings that contradict each other, or lists too long for the catalogue.
    """

    stage = "target-gro"
    plain_trainer: ClassVar[type[StageTrainer]] = TargetTrainer  # of `fit`, before GRO
    overrides: ClassVar[dict[str, Any]] = {}  # settings that a subclass fixes
    resumed_values = (*StageTrainer.resumed_values, "gro_lambda", "last_lambda")

    def __init__(self, config: ConfigLike, model: nn.Module, stage: str | None = None):
        if config["nproc"] not in (None, 1) or not config["single_spec"]:
            raise UserError(f"nproc: {config['nproc']!r} is not supported; GRO trains in one process (nproc=1)")
        super().__init__(config, model, stage)
        settings = self.effective_settings(config)
        self.callbacks = create_callbacks(settings)
        self.swap_rule = create_swap_rule(settings.gro_swap, config)
        if not settings.gro_steps:  # which may raise the epochs
            self.swap_rule.check_epochs(settings.gro_epochs)
        self.gro_start, self.gro_lambda, self.gro_epochs = settings.gro_start, settings.gro_lambda, settings.gro_epochs
        self.last_lambda = self.gro_lambda  # of the last epoch; gro_min_quality changes it after each
        self.gro_learning_rate = settings.gro_learning_rate
        self.served_k = settings.served_k
        self.margins = settings.margin_rank, settings.margin_negative
        self.paper_code_ties = settings.paper_code_ties
        self.student_scorer: Any = None
        self._contexts: tuple[Tensor, Tensor] | None = None  # of this step, besides the training positions
        self.generator = torch.Generator(self.device).manual_seed(config["seed"])
        all_scores = GROTrainer._target_loss, GROTrainer.served_lists, GROTrainer.with_contexts
        self._in_blocks = StepInBlocks(self, all_scores)
        check_served_k(self.served_k, self.scorer.n_items)

    @classmethod
    def effective_settings(cls, config: ConfigLike) -> GROTrainerSettings:
        """Return the settings of a config, with those that this class of trainer overrides."""
        settings = GROTrainerSettings.of(config)
        for name in (name for declared in callback_settings() for name in declared.names):
            setattr(settings, name, setting(config, name))
        for name, value in cls.overrides.items():
            setattr(settings, name, value)
        return settings

    def fit(
        self, train_data: Any, valid_data: Any = None, verbose: bool = True, saved: bool = True,
        show_progress: bool = False, callback_fn: Any = None,
    ) -> tuple[float, Any]:  # fmt: skip
        """Train plainly to convergence, then with GRO.

        Returns:
            (float, dict): validation score and result of the last GRO epoch; (-1, None) without validation data, as
            RecBole's fit.
        """
        parts = [data._dataset for data in (train_data, valid_data) if data is not None]
        warn_of_rounded_times(*parts)
        warn_of_missing_items(*parts)
        if self.gro_start == "untrained":
            return self.fit_gro(train_data, valid_data, verbose, saved, show_progress, callback_fn)
        final, plain = Path(self.saved_model_file), self.plain_trainer(self.config, self.model)
        with tempfile.TemporaryDirectory() as scratch:
            folder = final.parent if saved else Path(scratch)
            plain.saved_model_file = str(folder / f"{final.stem}-undefended.pth")
            plain.fit(train_data, valid_data, verbose, True, show_progress, callback_fn)
            plain.load_saved()
        self.train_loss_dict |= plain.train_loss_dict
        return self.fit_gro(train_data, valid_data, verbose, saved, show_progress, callback_fn)

    def fit_gro(
        self, train_data: Any, valid_data: Any = None, verbose: bool = True, saved: bool = True,
        show_progress: bool = False, callback_fn: Any = None,
    ) -> tuple[float, Any]:  # fmt: skip
        """Train with Eq. 6 alone, from the model's weights or, with `gro_start=untrained`, from scratch; as `fit`."""
        if self.gro_start == "untrained":
            untrained = type(self.model)(self.config, train_data._dataset)
            self.model.load_state_dict(untrained.state_dict())
        self.student_scorer = create_scorer(self._new_student(train_data._dataset))
        self.eval_collector.data_collect(train_data)  # which `fit` does too late for callbacks that validate
        for callback in self.callbacks:
            callback.on_phase_start(self, train_data, valid_data)
        self.swap_rule.check_epochs(self.gro_epochs)
        self._start_gro_phase(self.gro_epochs * len(train_data))
        super().fit(train_data, valid_data, verbose, False, show_progress, callback_fn)
        last_epoch = self.epochs - 1
        if valid_data and self.epochs % max(self.eval_step, 1) != 0:
            self._valid_epoch(valid_data)
        self.student_scorer = None
        for callback in self.callbacks:
            callback.on_phase_end()
        if self.last_valid is not None:
            self.best_valid_score, self.best_valid_result = self.last_valid
        if saved:
            self._save_checkpoint(last_epoch, verbose=verbose)
        return (-1, None) if self.last_valid is None else self.last_valid

    def _new_student(self, dataset):
        return create_student(self.config, type(self.model), dataset)

    def _start_gro_phase(self, steps: int) -> None:
        """Number epochs after the plain ones; create an optimizer with the student's parameters in a second group."""
        self.start_epoch = max(self.train_loss_dict, default=-1) + 1
        self.epochs = self.start_epoch + self.gro_epochs
        self.stopping_step = self.gro_epochs
        self.cur_step = 0
        self.best_valid_score = -float("inf") if self.valid_metric_bigger else float("inf")
        student = list(self.student_scorer.model.parameters())
        self.optimizer = self._build_optimizer(
            params=[{"params": list(self.model.parameters())}, {"params": student}],
            learning_rate=self.gro_learning_rate,
        )
        for callback in self.callbacks:
            callback.on_optimizer(self, steps)
        if self.clip_grad_norm:

            def clip_student(*_: Any) -> None:
                clip_grad_norm_(student, **self.clip_grad_norm)

            # RecBole clips self.model alone
            self.optimizer.register_step_pre_hook(clip_student)

    def resumed_parts(self):
        parts = super().resumed_parts() | {"student": self.student_scorer.model, "swap_rule": self.swap_rule}
        for callback in self.callbacks:
            parts |= callback.resumed_parts()
        return parts

    def resumed_generators(self):
        return {"negatives": self.generator}

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False):
        self.student_scorer.model.train()
        self.last_lambda = self.gro_lambda
        loss = super()._train_epoch(train_data, epoch_idx, loss_func, show_progress)
        self.swap_rule.epoch_ended()
        return loss

    def _valid_epoch(self, valid_data, show_progress=False):
        result = super()._valid_epoch(valid_data, show_progress)
        for callback in self.callbacks:
            callback.on_validation(self, result[0])
        return result

    def stage_loss(self, interaction: Interaction) -> tuple[Tensor, Tensor, Tensor]:
        """Return the three terms of Eq. 6: L_target, L_student (Eq. 4) and lambda L_swap (Eq. 5).

        The gradient of the second reaches the student alone, that of the other two the target alone.

        Args:
            interaction: a training batch.
        """
        found = (callback.contexts(self, interaction) for callback in self.callbacks)
        self._contexts = next((contexts for contexts in found if contexts), None)
        if self._contexts is None and (losses := self._in_blocks.losses(interaction)) is not None:
            return losses
        target_loss, target_scores = self._target_loss(interaction)
        with ScoreRecorder(self.scorer.n_items, self.device) as recorder:
            student_scores = self.with_contexts(self.student_scorer, self._student_scores(interaction))
        if not len(target_scores):  # a batch of short prefixes without a masked item
            return target_loss, student_scores.sum(), target_scores.sum()
        served = self.served_lists(interaction, target_scores.detach())
        part = self.batch_part
        if part and self._contexts:
            part = BatchPart(2 * part.first, 2 * part.total)
        negatives = sample_negatives(served, self.scorer.n_items, self.generator, self.paper_code_ties, batch_part=part)
        listed, outside = recorder.pick(student_scores, torch.cat([served, negatives], 1)).chunk(2, 1)
        student_loss = extraction_loss(listed, outside, *self.margins, self.paper_code_ties)
        (listed_gradient,) = torch.autograd.grad(student_loss, listed, retain_graph=True)
        swap = swap_term(self.swap_rule, target_scores, served, student_scores.detach(), listed_gradient)
        return target_loss, student_loss, self.gro_lambda * swap

    def _target_loss(self, interaction: Interaction) -> tuple[Tensor, Tensor]:
        """Return L_target of Eq. 6, and the target's scores [N, n_items]."""
        for callback in self.callbacks:
            replaced = callback.target_loss(self, interaction)
            if replaced is not None:
                return checked_target_loss(callback, replaced)
        loss, scores = self.scorer.loss_and_scores(interaction, self.swap_rule.left_out)
        return (sum(loss) if isinstance(loss, tuple) else loss), self.with_contexts(self.scorer, scores)

    def with_contexts(self, scorer: NextItemScorer, scores: Tensor) -> Tensor:
        """Return scores [N, n_items] at the training positions or, with further contexts, [2 N, n_items] of both."""
        if self._contexts is None:
            return scores
        return torch.cat([scores, scorer.prefix_scores(*self._contexts)[: len(scores)]])

    def served_lists(self, interaction: Interaction, target_scores: Tensor) -> Tensor:
        """Return the lists [N, served_k] that the target serves at the training positions.

        Args:
            interaction: a training batch.
            target_scores: [N, n_items] at these positions, in training mode.
        """
        return top_k(target_scores, self.served_k)

    def _student_scores(self, interaction: Interaction) -> Tensor:
        """Return the student's scores [N, n_items] at the target's training positions."""
        alike = type(self.student_scorer) is type(self.scorer)
        if alike or (SLOTS in interaction and self.student_scorer.all_prefixes_at_once):
            return self.student_scorer.position_scores(interaction)
        # a student of another kind scores the histories before each position
        sequences, lengths = self.scorer.contexts(interaction)
        if not len(lengths):  # which not all models take
            return torch.zeros(0, self.scorer.n_items, device=self.device)
        return self.student_scorer.next_item_scores(sequences, lengths)
