"""An epoch of GRO against a plain epoch of the same target on the same rows of ml-100k, and where GRO's rest goes.

    python benchmarks/gro_epoch.py [--model=BERT4Rec] [--rounds=8] [--two-models] [--KEY=VALUE ...]

Two models are trained, so 2.0 is the floor that the student's own loss moves a little: it needs no softmax.
`--two-models` measures that floor: target and student, each with the model's own loss.
"""

import contextlib
import tempfile

import torch
from common import command, epoch, machine, paired, positive, ratio_line, write_below
from torch.profiler import ProfilerActivity, profile, record_function

from recbole_gro import Config, GROTrainer
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.defense.gro import swap_rules
from recbole_gro.defense.gro import trainer as gro
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.command_line import Parser, options_and_settings
from recbole_gro.utils.patching import replaced

ADAM = "Optimizer.step#Adam.step"
PROFILED = 20  # batches; the profile of an epoch takes minutes to sum up
STEPS = ("top_k", "sample_negatives", "extraction_loss", "swap_targets", "swap_loss")


class TwoModels(GROTrainer):
    """Train target and student with the model's own loss."""

    def stage_loss(self, interaction):
        return self.scorer.loss(interaction), self.student_scorer.loss(interaction)


def trainers(model, settings, folder, gro=GROTrainer):
    """Return a plain trainer and one of GRO, for an epoch each time, and the loader of their rows."""
    one = {"epochs": 1, "gro_epochs": 1, "gro_steps": 1}  # gro.yaml's minimum of steps is of many epochs
    config = Config(model, config_file_list=["gro.yaml"], command_line={**settings, **one})
    write_below(config, folder)
    data = build_dataset(config)
    train, _, _ = build_loaders(config, data)
    torch.manual_seed(1)
    plain, ours = (cls(config, config.model_class(config, data)) for cls in (TargetTrainer, gro))
    return plain, ours, train


def named_steps(replacements):
    """Wrap the steps of GRO's loss so that the profile names them, until the stack of replacements is closed."""
    for name in STEPS:
        module = gro if hasattr(gro, name) else swap_rules
        function = getattr(module, name)

        def named(*args, _function=function, _name=name, **kwargs):
            with record_function(f"GRO {_name}"):
                return _function(*args, **kwargs)

        replacements.enter_context(replaced(module, name, named))


def shares(trainer, train):
    """Print the forward time of each step of GRO's loss as a share of an epoch's first batches."""
    with contextlib.ExitStack() as replacements, profile(activities=[ProfilerActivity.CPU]) as seen:
        named_steps(replacements)
        epoch(trainer.fit_gro, train, PROFILED)
    events = {event.key: event for event in seen.key_averages()}
    total = sum(event.self_cpu_time_total for event in events.values())
    for key in (*(f"GRO {name}" for name in STEPS), "aten::bernoulli_", "aten::mm", "aten::addmm", ADAM):
        if key in events:
            print(f"  {key:<28} {events[key].cpu_time_total / total:6.1%}")


def main(words):
    parser = Parser(prog="gro_epoch")
    parser.add_argument("--model", default="BERT4Rec")
    parser.add_argument("--rounds", type=positive, default=8)
    parser.add_argument("--two-models", action="store_true", help="both with the model's own loss, in place of GRO")
    given, settings = options_and_settings(parser, words)
    with tempfile.TemporaryDirectory() as folder:
        cls, name = (TwoModels, "two models") if given.two_models else (GROTrainer, "GRO")
        plain, ours, train = trainers(given.model, settings, folder, cls)
        print(machine())
        sides = (lambda: epoch(ours.fit_gro, train)), (lambda: epoch(plain.fit, train))
        print(ratio_line(f"epoch, {name} / plain", *paired(*sides, given.rounds, lambda side: side())), flush=True)
        if not given.two_models:
            shares(ours, train)


if __name__ == "__main__":
    command(__file__, main)
