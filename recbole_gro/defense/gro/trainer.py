"""GRO (Zhang et al., WSDM'24): train the target so that a student copying its lists comes out bad."""

import math
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import torch
from recbole.data.interaction import Interaction
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import LambdaLR

from recbole_gro.config.config import derive, setting
from recbole_gro.config.models import copied_model
from recbole_gro.data.loaders import check_served_k
from recbole_gro.data.time_order import warn_of_rounded_times
from recbole_gro.defense.gro.quality_constraint import QualityConstraint
from recbole_gro.defense.gro.swap_rules import create_swap_rule
from recbole_gro.objective.extensions import hold_loss
from recbole_gro.objective.extraction import extraction_loss, sample_negatives
from recbole_gro.scoring import create_scorer
from recbole_gro.trainer.base import StageTrainer, register_trainer
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.ranking import top_k


def create_student(config, target_class: type, dataset):
    """An untrained model of the student's architecture: the target's own unless the config says otherwise."""
    name, file = setting(config, "student_model"), setting(config, "student_config")
    student_config = config if name is None and file is None else derive(config, name, file, "student_model")
    model_class = target_class if name is None else student_config.model_class
    return model_class(student_config, dataset).to(config["device"])


@register_trainer("gro")
class GROTrainer(StageTrainer):
    """RecBole's Trainer that ends with GRO: stands in for `Trainer(config, model)` in any RecBole script.

    `fit` trains the model plainly to convergence (RecBole's own loop and early stopping), then fine-tunes it with
    Eq. 6 for `gro_epochs` beside a student that copies its lists (section 5.3). What is saved, evaluated and attacked
    is the last GRO epoch: RecBole's best-validation epoch would be the least defended one. The student is dropped at
    the end; the checkpoint is an ordinary one of the model. The converged model is kept beside it, as -undefended.pth.
    With `gro_start=untrained` there is no plain training: Eq. 6 from the first step on, as the authors train ML-1M.

    Args:
        config: RecBole's Config or ours; keys of this plugin that a plain one lacks take our defaults.
        model: the target, any RecBole sequential model.
    """

    stage = "target-gro"
    chosen: ClassVar[dict[str, Any]] = {}  # keys of this plugin that a subclass settles, whatever the config says
    least_steps = 0  # where `gro_steps` is None
    resumed_values = (*StageTrainer.resumed_values, "gro_lambda")

    def __init__(self, config, model, stage: str | None = None):
        if config["nproc"] not in (None, 1) or not config["single_spec"]:
            raise UserError(f"nproc: {config['nproc']!r} is not supported; GRO trains in one process (nproc=1)")
        super().__init__(config, model, stage)
        self.check_start(config)
        self.served_k = setting(config, "served_k")
        self.gro_lambda = self._setting("gro_lambda")
        self.gro_epochs = setting(config, "gro_epochs")
        self.margins = setting(config, "margin_rank"), setting(config, "margin_negative")
        self.swap_rule = create_swap_rule(self._setting("gro_swap"), config)
        self.paper_code_ties = setting(config, "paper_code_ties")
        self.student_scorer: Any = None
        self.converged_scorer: Any = None
        self.constraint: QualityConstraint | None = None
        self.schedule: LambdaLR | None = None
        self.generator = torch.Generator(self.device).manual_seed(config["seed"])
        check_served_k(self.served_k, model.n_items)

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        """Plain training to convergence, then GRO.

        Returns:
            (float, dict): validation score and result of the last GRO epoch; (-1, None) without validation data, as
            RecBole's fit.
        """
        warn_of_rounded_times(train_data._dataset)
        if self._setting("gro_start") == "untrained":
            return self.fine_tune(train_data, valid_data, verbose, saved, show_progress, callback_fn)
        final = Path(self.saved_model_file)
        with tempfile.TemporaryDirectory() as scratch:
            folder = final.parent if saved else Path(scratch)
            self.saved_model_file = str(folder / f"{final.stem}-undefended.pth")
            super().fit(train_data, valid_data, verbose, True, show_progress, callback_fn)
            self.load_saved()
        self.saved_model_file = str(final)
        return self.fine_tune(train_data, valid_data, verbose, saved, show_progress, callback_fn)

    def fine_tune(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        """GRO alone, from the weights the model has or, as `gro_start` says, from new ones; otherwise as `fit`."""
        if self._setting("gro_start") == "untrained":
            untrained = type(self.model)(self.config, train_data._dataset)
            self.model.load_state_dict(untrained.state_dict())
        self.student_scorer = create_scorer(self._new_student(train_data._dataset))
        if self._setting("gro_target_loss") == "hold":
            self.converged_scorer = create_scorer(copied_model(self.model).eval())
        self.constraint = self._new_constraint(valid_data)
        self.gro_epochs = max(self.gro_epochs, math.ceil(self._setting("gro_steps") / len(train_data)))
        self._start_gro_phase(self.gro_epochs * len(train_data))
        super().fit(train_data, valid_data, verbose, False, show_progress, callback_fn)
        last_epoch = self.epochs - 1
        if valid_data and self.epochs % max(self.eval_step, 1) != 0:
            self._valid_epoch(valid_data)
        self.student_scorer = self.converged_scorer = self.constraint = None
        if self.last_valid is not None:
            self.best_valid_score, self.best_valid_result = self.last_valid
        if saved:
            self._save_checkpoint(last_epoch, verbose=verbose)
        return (-1, None) if self.last_valid is None else self.last_valid

    @classmethod
    def settled(cls, config, name: str) -> Any:
        """A key as this class of trainer takes it: its own choice, else the config's."""
        value = cls.chosen[name] if name in cls.chosen else setting(config, name)
        return cls.least_steps if name == "gro_steps" and value is None else value

    @classmethod
    def check_start(cls, config) -> None:
        """Raise UserError where something is measured against a converged target and there is none."""
        if cls.settled(config, "gro_start") == "converged":
            return
        if cls.settled(config, "gro_target_loss") == "hold":
            raise UserError("gro_start: untrained has nothing for gro_target_loss=hold to hold; give own, or converged")
        if cls.settled(config, "gro_min_quality") is not None:
            raise UserError(
                "gro_start: untrained has no quality for gro_min_quality to keep; leave it out, or converged"
            )

    def _setting(self, name: str) -> Any:
        return self.settled(self.config, name)

    def _new_student(self, dataset):
        return create_student(self.config, type(self.model), dataset)

    def _new_constraint(self, valid_data) -> QualityConstraint | None:
        share = setting(self.config, "gro_min_quality")
        if share is None:
            return None
        if not valid_data:
            raise UserError("gro_min_quality: there are no validation data to measure quality on")
        self.eval_step = 1
        converged, _ = super()._valid_epoch(valid_data)
        return QualityConstraint(share, converged, self.valid_metric_bigger)

    def _valid_epoch(self, valid_data, show_progress=False):
        result = super()._valid_epoch(valid_data, show_progress)
        if self.constraint is not None:
            self.gro_lambda = self.constraint.next_lambda(self.gro_lambda, result[0])
            self.logger.info(f"gro_min_quality: lambda is {self.gro_lambda:.4g} from here on")
        return result

    def _start_gro_phase(self, steps: int) -> None:
        """Epochs count on from the plain ones; the optimizer starts anew with the student in a group of its own."""
        self.start_epoch = max(self.train_loss_dict, default=-1) + 1
        self.epochs = self.start_epoch + self.gro_epochs
        self.stopping_step = self.gro_epochs
        self.cur_step = 0
        self.best_valid_score = -float("inf") if self.valid_metric_bigger else float("inf")
        student = list(self.student_scorer.model.parameters())
        self.optimizer = self._build_optimizer(
            params=[{"params": list(self.model.parameters())}, {"params": student}],
            learning_rate=setting(self.config, "gro_learning_rate"),
        )
        if self._setting("gro_decay"):
            falling = self.schedule = LambdaLR(self.optimizer, lambda step: 1 - step / steps)
            self.optimizer.register_step_post_hook(lambda *_: falling.step())
        if self.clip_grad_norm:

            def clip_student(*_: Any) -> None:
                clip_grad_norm_(student, **self.clip_grad_norm)

            # RecBole clips self.model alone
            self.optimizer.register_step_pre_hook(clip_student)

    def resumed_parts(self):
        parts = super().resumed_parts()
        if self.student_scorer is not None:
            parts |= {"student": self.student_scorer.model, "swap_rule": self.swap_rule}
        if self.converged_scorer is not None:
            parts["converged"] = self.converged_scorer.model
        if self.schedule is not None:
            parts["schedule"] = self.schedule
        return parts

    def resumed_generators(self):
        return {"negatives": self.generator}

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False):
        if self.student_scorer is not None:
            self.student_scorer.model.train()
        loss = super()._train_epoch(train_data, epoch_idx, loss_func, show_progress)
        if self.student_scorer is not None:
            self.swap_rule.epoch_ended()
        return loss

    def stage_loss(self, interaction: Interaction):
        return self.scorer.loss(interaction) if self.student_scorer is None else self.gro_losses(interaction)

    def gro_losses(self, interaction: Interaction) -> tuple[Tensor, Tensor, Tensor]:
        """The three terms of Eq. 6: the target's loss, the student's (Eq. 4) and lambda times the swap loss (Eq. 5).

        The student learns from the second alone, the target from the other two.
        """
        target_loss, target_scores = self._target_loss(interaction)
        student_scores = self._student_scores(interaction)
        served = self.served_lists(interaction, target_scores.detach())
        negatives = sample_negatives(served, self.scorer.n_items, self.generator, self.paper_code_ties)
        listed, outside = student_scores.gather(1, torch.cat([served, negatives], 1)).chunk(2, 1)
        student_loss = extraction_loss(listed, outside, *self.margins, self.paper_code_ties)
        (listed_gradient,) = torch.autograd.grad(student_loss, listed, retain_graph=True)
        swap = self.swap_rule.term(target_scores, served, student_scores.detach(), listed_gradient)
        return target_loss, student_loss, self.gro_lambda * swap

    def _target_loss(self, interaction: Interaction) -> tuple[Tensor, Tensor]:
        """The target's term of Eq. 6, and its scores [N, n_items]."""
        if self.converged_scorer is None:
            loss, scores = self.scorer.loss_and_scores(interaction, self.swap_rule.left_out)
            return (sum(loss) if isinstance(loss, tuple) else loss), scores
        self.model.eval()  # held as it is served: without dropout
        scores = self.scorer.position_scores(interaction)
        with torch.no_grad():
            converged = self.converged_scorer.position_scores(interaction)
        return hold_loss(scores, converged, self.swap_rule.left_out), scores

    def served_lists(self, interaction: Interaction, target_scores: Tensor) -> Tensor:
        """[N, served_k] what the target would serve at the training positions; scores [N, n_items] as it trains."""
        return top_k(target_scores, self.served_k)

    def _student_scores(self, interaction: Interaction) -> Tensor:
        """[N, n_items] of the student at the target's training positions."""
        if type(self.student_scorer) is type(self.scorer):
            return self.student_scorer.position_scores(interaction)
        # another kind of model reads what precedes each position
        return self.student_scorer.next_item_scores(*self.scorer.contexts(interaction))
