"""The defense `gro_knobs`: GRO with the knobs that effect.py turns and the package does not offer."""

import copy

import torch
from torch.nn.utils import clip_grad_norm_

from recbole_gro import Config, GROTrainer, Settings, UserError, key, register_defense
from recbole_gro.config.models import copied_model
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.defense import GRODefense, create_student
from recbole_gro.defense.gro.callback import GROCallback
from recbole_gro.quick_start.seeding import start_stage
from recbole_gro.utils.ranking import top_k

KNOBS = {
    "student lr": None,  # None: the target's
    "student steps": 1,  # of the student on a batch's lists for one of the target's
    "student ahead": 0,  # more steps on a batch's lists after which the student gives the swap targets, then undone
    "student restart": 0,  # epochs after which the student starts from other weights; 0: never
    "ranked without dropout": False,  # lists as they would be served
    "weight decay": 0.0,  # AdamW, of both models, not of biases and layer norms, as in the authors' code
    "clip each": 0.0,  # norm that each parameter tensor's gradient is clipped to, of both models; 0: none
    "decoy band": 0,  # place among the other items down to which decoys lie; 0: that of the package
}


class KnobSettings(Settings):
    """What `gro_knobs` reads besides the settings of GRO."""

    section = "Benchmarks"
    gro_knobs: dict = key({}, "mapping", "knobs over those of KNOBS")
    gro_phase: dict = key({}, "mapping", "settings that hold for GRO alone, not for the undefended target before it")


class KnobbedOptimizer(GROCallback):
    """Set up the optimizers as the knobs say: the extra steps of the student have one of their own."""

    extra_optimizer: torch.optim.Optimizer

    def on_optimizer(self, trainer, steps):
        knobs, rate = self.value, trainer.optimizer.param_groups[0]["lr"]
        student = trainer.student_scorer.model
        self.extra_optimizer = torch.optim.Adam(student.parameters(), lr=knobs["student lr"] or rate)
        both = [*trainer.model.parameters(), *student.parameters()]
        if knobs["weight decay"]:
            decays = [
                {"params": [values], "weight_decay": knobs["weight decay"] * (values.dim() > 1)} for values in both
            ]
            trainer.optimizer = torch.optim.AdamW(decays, lr=rate)
        if knobs["student lr"]:
            trainer.optimizer.param_groups[-1]["lr"] = knobs["student lr"]
        if knobs["clip each"]:

            def clip_each(*_) -> None:
                for values in both:
                    clip_grad_norm_(values, knobs["clip each"])

            trainer.optimizer.register_step_pre_hook(clip_each)

    def resumed_parts(self):
        return {"extra_optimizer": self.extra_optimizer} if hasattr(self, "extra_optimizer") else {}


class KnobbedGRO(GROTrainer):
    """GROTrainer with `gro_knobs`.

    Attributes:
        step_terms: of Eq. 6 at each step: target loss, student loss, swap loss with lambda.
    """

    resumed_values = (*GROTrainer.resumed_values, "step_terms")

    def __init__(self, config, model, stage=None):
        super().__init__(config, model, stage)
        knobs = KnobSettings.of(config).gro_knobs
        if unknown := set(knobs) - set(KNOBS):
            raise UserError(f"gro_knobs: there is no {', '.join(unknown)}; knobs are {', '.join(KNOBS)}")
        if "weight decay" in knobs and (len(knobs) > 1 or self.effective_settings(config).gro_decay):
            raise UserError("gro_knobs: weight decay has an optimizer of its own; no other knob and no gro_decay fits")
        self.knobs = {**KNOBS, **knobs}
        self.optimizers = KnobbedOptimizer(self.knobs)
        self.callbacks.append(self.optimizers)
        self.step_terms: list[list[float]] = []
        if self.knobs["decoy band"]:
            self.swap_rule.below_k = self.knobs["decoy band"]

    @property
    def terms(self) -> list[float]:
        """Terms of Eq. 6 in the last epoch, means per batch: target loss, student loss, swap loss without lambda."""
        own, student, swap = (
            torch.tensor(self.step_terms[-len(self.train_data) :], dtype=torch.float64).mean(0).tolist()
        )
        return [own, student, swap / (self.gro_lambda or 1)]

    def fit_gro(self, train_data, *arguments, **options):
        self.train_data = train_data
        return super().fit_gro(train_data, *arguments, **options)

    def stage_loss(self, interaction):
        every, steps = self.knobs["student restart"] * len(self.train_data), len(self.step_terms)
        if every and steps and steps % every == 0:
            self.restart_student()
        self.train_student(interaction, self.knobs["student steps"] - 1)
        losses = self.losses_of_both(interaction)
        self.step_terms.append([float(loss.detach()) for loss in losses])
        return losses

    def losses_of_both(self, interaction):
        """Return the terms of Eq. 6, with swap targets of a student that is ahead where the knobs say so."""
        if not self.knobs["student ahead"]:
            return super().stage_loss(interaction)
        student, optimizer = self.student_scorer.model, self.optimizers.extra_optimizer
        here = copy.deepcopy((student.state_dict(), optimizer.state_dict()))
        self.train_student(interaction, self.knobs["student ahead"])
        target_loss, _, swap = super().stage_loss(interaction)
        student.load_state_dict(here[0])
        optimizer.load_state_dict(here[1])
        return target_loss, super().stage_loss(interaction)[1], swap

    def restart_student(self):
        """Give the student other weights and an optimizer without a past."""
        student = self.student_scorer.model
        student.load_state_dict(create_student(self.config, type(self.model), self.train_data._dataset).state_dict())
        for values in student.parameters():
            self.optimizer.state.pop(values, None)

    def train_student(self, interaction, n):
        """Train the student alone for n steps on a batch's lists."""
        optimizer = self.optimizers.extra_optimizer
        for _ in range(n):
            super().stage_loss(interaction)[1].backward()
            optimizer.step()
            optimizer.zero_grad()

    @torch.no_grad()
    def served_lists(self, interaction, target_scores):
        if not self.knobs["ranked without dropout"]:
            return super().served_lists(interaction, target_scores)
        self.model.eval()
        served = top_k(self.scorer.position_scores(interaction), self.served_k)
        self.model.train()
        return served


@register_defense("gro_knobs")
class KnobbedGRODefense(GRODefense):
    """The defense gro, drawing as it does, by KnobbedGRO; its effective settings hold the terms of the loss too."""

    def __init__(self, config):
        super().__init__(config)
        self.training_settings += (KnobSettings,)

    def protect(self, target, train_data, valid_data, show_progress=False):
        config, phase = self.config, KnobSettings.of(self.config).gro_phase
        if phase:
            config = Config(config_dict={**config.plain(), **phase})
            for name in ("device", "checkpoint_dir", "output_dir", "resume_dir"):
                config[name] = self.config[name]
            train_data, *_ = build_loaders(config, build_dataset(config))
        start_stage(config, "defense gro", train_data)
        trainer = KnobbedGRO(config, copied_model(target))
        trainer.fit_gro(train_data, valid_data, saved=False, show_progress=show_progress)
        self.effective |= dict(zip(("target loss", "student loss", "swap loss"), trainer.terms, strict=True))
        self.effective["gro steps"] = trainer.gro_epochs * len(train_data)
        return trainer.model
