"""What it costs to be able to go on after an interruption: keeping every epoch and every answer.

    python benchmarks/resume.py [--KEY=VALUE ...]

BERT4Rec on ml-100k with the demo's settings; an epoch is training and, where it is due, validation.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from common import machine

from recbole_gro import Config, DecoyGROTrainer, GROTrainer, Service, create_attacker, create_defense
from recbole_gro.attack import cached_black_box as answers
from recbole_gro.cli.run import parse
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.quick_start.seeding import start_stage
from recbole_gro.trainer import epoch_checkpoint as epochs
from recbole_gro.trainer.base import TargetTrainer

BRIEF = {"epochs": "5", "gro_epochs": "5", "gro_steps": "1", "show_progress": "False"}


def timed(module) -> list[float]:
    """Have a module's writes timed; their seconds, in order."""
    seconds, write = [], module.write_atomically

    def write_timed(state, file):
        start = time.perf_counter()
        write(state, file)
        seconds.append(time.perf_counter() - start)

    module.write_atomically = write_timed
    return seconds


def told(what: str, kept: list[float], work, folder: Path) -> None:
    """Do the work and print how long a write took, as a share of what it is written after."""
    kept.clear()
    start = time.perf_counter()
    work()
    rest = time.perf_counter() - start - sum(kept)
    mib = sum(file.stat().st_size for file in folder.rglob("*.pth")) / 2**20
    print(
        f"{what}: {1000 * statistics.median(kept):.0f} ms to keep (median of {len(kept)}, {1000 * min(kept):.0f} to "
        f"{1000 * max(kept):.0f}) after {rest / len(kept):.2f} s of work: {sum(kept) / rest:.2%}; {mib:.1f} MiB",
        flush=True,
    )


if __name__ == "__main__":
    _, settings = parse(sys.argv[1:])
    attack = {"attacker": "standard", "surrogate_model": "None"}
    config = Config("BERT4Rec", config_file_list=["gro.yaml"], command_line={**attack, **BRIEF, **settings})
    train, valid, _ = build_loaders(config, build_dataset(config))
    print(machine())
    kept_epochs, kept_answers = timed(epochs), timed(answers)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        start_stage(config, "target", train)
        model = config.model_class(config, train._dataset)
        for cls in (TargetTrainer, GROTrainer, DecoyGROTrainer):
            place = Path(folder) / cls.stage
            config["output_dir"], config["resume_dir"] = str(place), str(place / "resume")
            trainer = cls(config, model)
            fit = trainer.fit if cls is TargetTrainer else trainer.fine_tune
            told(f"epoch of {cls.stage}", kept_epochs, lambda fit=fit: fit(train, valid), place / "resume")
        defense = create_defense("none", config)
        service = Service(model, config["served_k"], defense.answer)
        box = answers.CachedBlackBox(service, Path(folder) / "queries", defense)
        generator = torch.Generator().manual_seed(start_stage(config, "queries"))
        attacker = create_attacker(config["attacker"], config)
        told("query", kept_answers, lambda: attacker.query(box, generator), box.folder)
