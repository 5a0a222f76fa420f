"""What it costs to be able to resume: a checkpoint after every epoch, a cached response after every query.

    python benchmarks/resume.py [--KEY=VALUE ...]

BERT4Rec on ml-100k with the demo's settings; an epoch is training and, where it is due, validation.
"""

import contextlib
import statistics
import tempfile
from pathlib import Path

import torch
from common import command, machine, now, seconds, write_below

from recbole_gro import Config, DecoyGROTrainer, GROTrainer, Service, create_attacker, create_defense
from recbole_gro.attack import cached_black_box as responses
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.quick_start.seeding import start_stage
from recbole_gro.trainer import epoch_checkpoint as epochs
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.command_line import Parser, options_and_settings
from recbole_gro.utils.patching import replaced

BRIEF = {"epochs": "5", "gro_epochs": "5", "gro_steps": "1", "show_progress": "False"}


@contextlib.contextmanager
def timed_writes(module):
    """Time the writes of a module inside the block; yields the list that their seconds are added to."""
    spent, write = [], module.save_state

    def timed(file, state):
        spent.append(seconds(lambda: write(file, state)))

    with replaced(module, "save_state", timed):
        yield spent


def report(what: str, kept: list[float], work, folder: Path) -> None:
    """Do the work and print how long a write takes, as a share of the work before it."""
    kept.clear()
    start = now()
    work()
    rest = now() - start - sum(kept)
    mib = sum(file.stat().st_size for file in folder.rglob("*.pth")) / 2**20
    print(
        f"{what}: {1000 * statistics.median(kept):.0f} ms to keep (median of {len(kept)}, {1000 * min(kept):.0f} to "
        f"{1000 * max(kept):.0f}) after {rest / len(kept):.2f} s of work: {sum(kept) / rest:.2%}; {mib:.1f} MiB",
        flush=True,
    )


def main(words):
    _, settings = options_and_settings(Parser(prog="resume"), words)
    attack = {"attacker": "standard", "surrogate_model": "None"}
    config = Config("BERT4Rec", config_file_list=["gro.yaml"], command_line={**attack, **BRIEF, **settings})
    train, valid, _ = build_loaders(config, build_dataset(config))
    print(machine())
    with (
        timed_writes(epochs) as kept_epochs,
        timed_writes(responses) as kept_responses,
        tempfile.TemporaryDirectory(dir=".") as folder,  # on the disk that runs write to
    ):
        start_stage(config, "target", train)
        model = config.model_class(config, train._dataset)
        for cls in (TargetTrainer, GROTrainer, DecoyGROTrainer):
            place = Path(folder) / cls.stage
            write_below(config, place)
            config["resume_dir"] = str(place / "resume")
            trainer = cls(config, model)
            fit = trainer.fit if cls is TargetTrainer else trainer.fit_gro
            report(f"epoch of {cls.stage}", kept_epochs, lambda fit=fit: fit(train, valid), place / "resume")
        defense = create_defense("none", config)
        service = Service(model, config["served_k"], defense.answer)
        box = responses.CachedBlackBox(service, Path(folder) / "queries", defense)
        generator = torch.Generator().manual_seed(start_stage(config, "queries"))
        attacker = create_attacker(config["attacker"], config)
        report("query", kept_responses, lambda: attacker.query(box, generator), box.folder)


if __name__ == "__main__":
    command(__file__, main)
