import pytest
import torch
from defense.gro.cases import with_student

from recbole_gro import UserError
from recbole_gro.defense.gro.callback import GROCallback, register_callback
from recbole_gro.defense.gro.hold import Hold
from recbole_gro.defense.gro.learning_rate_decay import LearningRateDecay
from recbole_gro.defense.gro.minimum_steps import MinimumSteps
from recbole_gro.defense.gro.mixed_contexts import MixedContexts
from recbole_gro.defense.gro.quality_constraint import QualityConstraint

ENABLED = {
    "gro_target_loss": ("hold", Hold),
    "gro_contexts": ("mixed", MixedContexts),
    "gro_decay": (True, LearningRateDecay),
    "gro_steps": (7, MinimumSteps),
    "gro_min_quality": (0.9, QualityConstraint),
}


@pytest.mark.parametrize("key", ENABLED)
def test_a_setting_enables_its_variant_alone_in_a_trainer_used_directly(make_trainer, key):
    value, variant = ENABLED[key]
    trainer, *_ = make_trainer(**{"gro_steps": None, key: value})
    assert [type(callback) for callback in trainer.callbacks] == [variant]
    assert trainer.callbacks[0].value == value


def test_the_papers_trainer_has_no_callback(make_trainer):
    assert make_trainer(gro_steps=None)[0].callbacks == []


@pytest.mark.parametrize("key", ["gro_target_loss", "gro_min_quality"])
def test_a_variant_that_needs_a_converged_target_is_refused_without_one(make_trainer, key):
    with pytest.raises(UserError, match=f"gro_start: untrained .*{key}.*gro_start=converged") as error:
        make_trainer(gro_start="untrained", **{key: ENABLED[key][0]})
    assert "\n" not in str(error.value)


class Recorder(GROCallback):
    """Record the calls of the hooks."""

    def __init__(self):
        super().__init__(None)
        self.seen = []

    def on_phase_start(self, trainer, train_data, valid_data):
        self.seen.append(("start", trainer.student_scorer is not None))

    def on_optimizer(self, trainer, steps):
        self.seen.append(("optimizer", len(trainer.optimizer.param_groups), steps))

    def on_validation(self, trainer, score):
        self.seen.append(("validation", score == trainer.last_valid[0]))

    def on_phase_end(self):
        self.seen.append("end")


def test_hooks_are_called_in_order(make_trainer):
    trainer, train, valid = make_trainer(epochs=1, gro_epochs=2)
    recorder = Recorder()
    trainer.callbacks = [recorder]
    trainer.fit(train, valid)
    validation = ("validation", True)
    phase = [("start", True), ("optimizer", 2, 2 * len(train)), validation, validation, "end"]
    assert recorder.seen == phase


@pytest.mark.parametrize("replaced", [0.5, (torch.ones(()),), (torch.ones(3), torch.ones(3, 31)), (0.5, 0.5)])
def test_what_is_no_loss_with_scores_is_refused(make_trainer, replaced):
    trainer, train, _ = make_trainer()
    callback = Recorder()
    callback.target_loss = lambda *_: replaced
    trainer.callbacks.append(callback)
    with pytest.raises(UserError, match=r"^target_loss of Recorder is to return None, or a loss"):
        trainer.stage_loss(with_student(trainer, train)[2])


def test_a_setting_has_one_variant():
    with pytest.raises(ValueError, match="'gro_decay' is registered already"):
        register_callback("gro_decay")(GROCallback)
