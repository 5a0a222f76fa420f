"""An epoch of GRO against a plain epoch of the same target on the same rows of ml-100k, and where GRO's rest goes.

    python benchmarks/gro_epoch.py [--rounds=8] [--KEY=VALUE ...]

Two models are trained, so 2.0 is the floor that the student's own loss moves a little: it needs no softmax.
"""

import sys
import tempfile

import torch
from common import machine, paired, ratio_line
from torch.profiler import ProfilerActivity, profile, record_function

from recbole_gro import Config, GROTrainer
from recbole_gro.cli.run import parse
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.defense import create_student
from recbole_gro.defense.gro import swap_rules
from recbole_gro.defense.gro import trainer as gro
from recbole_gro.scoring import create_scorer
from recbole_gro.trainer.base import TargetTrainer

ADAM = "Optimizer.step#Adam.step"
STEPS = ("top_k", "sample_negatives", "extraction_loss", "swap_targets", "swap_loss")


def trainers(settings):
    config = Config("BERT4Rec", config_file_list=["gro.yaml"], command_line=settings)
    config["checkpoint_dir"] = config["output_dir"] = tempfile.mkdtemp()
    data = build_dataset(config)
    train, _, _ = build_loaders(config, data)
    torch.manual_seed(1)
    plain = TargetTrainer(config, config.model_class(config, data))
    ours = GROTrainer(config, config.model_class(config, data))
    ours.student_scorer = create_scorer(create_student(config, config.model_class, data))
    ours._start_gro_phase(len(train))
    return plain, ours, train


def named_steps():
    """Wrap the steps of GRO's loss so that the profile names them."""
    for name in STEPS:
        module = gro if hasattr(gro, name) else swap_rules
        function = getattr(module, name)

        def named(*args, _function=function, _name=name, **kwargs):
            with record_function(f"GRO {_name}"):
                return _function(*args, **kwargs)

        setattr(module, name, named)


def shares(trainer, train):
    """Print the forward time of each step of GRO's loss as a share of an epoch."""
    named_steps()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        trainer._train_epoch(train, 0)
    events = {event.key: event for event in seen.key_averages()}
    total = sum(event.self_cpu_time_total for event in events.values())
    for key in (*(f"GRO {name}" for name in STEPS), "aten::bernoulli_", "aten::mm", "aten::addmm", ADAM):
        if key in events:
            print(f"  {key:<28} {events[key].cpu_time_total / total:6.1%}")


if __name__ == "__main__":
    words = sys.argv[1:]
    rounds = next((int(word.partition("=")[2]) for word in words if word.startswith("--rounds=")), 8)
    _, settings = parse([word for word in words if not word.startswith("--rounds=")])
    plain, ours, train = trainers(settings)
    print(machine())
    gro_seconds, plain_seconds = paired(
        lambda: ours._train_epoch(train, 0), lambda: plain._train_epoch(train, 0), rounds
    )
    print(ratio_line("epoch, GRO / plain", gro_seconds, plain_seconds))
    shares(ours, train)
