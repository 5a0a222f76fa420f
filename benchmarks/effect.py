"""What a setting does, end to end: target, GRO, queries, surrogate; a row of benchmarks/effect.csv each.

    python benchmarks/effect.py --list
    python benchmarks/effect.py --settings none base lambda-0.5 --seeds 1 [--threads 1] [--folder effect-work]

Settings are named in benchmarks/effect.yaml: keys of the package over those of `common`, `from: another setting` to
build on one. A row that is there is not run again and the undefended target of a seed is trained once, so an
interrupted run goes on where it stopped; several runs may work on one file at a time. Chosen on validation, shown on
test: both are in the file, the test is read at the end.
"""

import argparse
import contextlib
import copy
import csv
import fcntl
import json
import math
import os
import time
import zlib
from pathlib import Path
from unittest import mock

import torch
import yaml
from common import machine
from gro_knobs import KnobbedGRO
from recbole_gro.quick_start.extraction import ask, steal

from recbole_gro import BlackBox, Config, Service
from recbole_gro.attack import ExtractionTrainer, create_attacker
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.defense import create_defense
from recbole_gro.evaluator import evaluate_service
from recbole_gro.evaluator.agreement import common_share
from recbole_gro.quick_start.seeding import start_stage
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.files import write_atomically

HERE = Path(__file__).parent
CUTS = (5, 10, 20, 50, 100)
QUALITY = [f"{part} {metric}@{k}" for part in ("valid", "test") for metric in ("hit", "ndcg") for k in CUTS]
AGREEMENT = [f"{part} agreement@{k}" for part in ("valid", "test") for k in (1, 10, 100)]
COLUMNS = [
    "setting", "seed", "defense", "overrides",
    *(f"target {name}" for name in QUALITY),
    *(f"surrogate {name}" for name in QUALITY), *AGREEMENT,
    "items in top 10s", "entropy of top 10s, bits", "users with the most listed item", "changed top 10",
    "target loss", "student loss", "swap loss", "gro steps",
    "surrogate epochs", "surrogate converged", "held-out loss", "held-out agreement@10", "lists asked",
    "target s", "defense s", "queries s", "surrogate s", "threads",
]  # fmt: skip
ATTACK = ("query_", "surrogate_", "attacker", "learns first", "last pass")
AFTER_THE_TARGET = ("gro_", "student_", "margin_", "paper_code_ties", "defense", *ATTACK)


def read_settings(file):
    """{name: keys}, `from` resolved."""
    named = yaml.safe_load(Path(file).read_text())
    common = named.pop("common")

    def keys(name):
        own = dict(named[name] or {})
        return {**(keys(own.pop("from")) if "from" in own else common), **own}

    return {name: keys(name) for name in named}


def make_config(settings, seed, folder):
    settings = {**settings, "seed": seed, "topk": list(CUTS), "show_progress": False}
    model = settings.pop("model", "BERT4Rec")
    config = Config(model, config_file_list=["gro.yaml"], config_dict=settings)
    config["output_dir"] = config["checkpoint_dir"] = str(folder)
    return config


def undefended(config, settings, train, valid, folder):
    """The converged target of a seed, trained once for all settings that do not change it; and its seconds."""
    file = folder / f"target-{config['seed']}-{digest(settings, AFTER_THE_TARGET)}.pth"
    start_stage(config, "target", train)
    model = config.model_class(config, train._dataset).to(config["device"])
    with claimed(Path(f"{file}.claim"), wait=True):
        if not file.exists():
            trainer, start = TargetTrainer(config, model), time.perf_counter()
            trainer.saved_model_file = f"{file}.best"
            trainer.fit(train, valid, verbose=False)
            trainer.load_saved()
            os.remove(trainer.saved_model_file)
            write_atomically({"weights": model.state_dict(), "seconds": time.perf_counter() - start}, file)
    stored = torch.load(file, weights_only=True)
    model.load_state_dict(stored["weights"])
    return model, stored["seconds"]


def digest(settings, left_out):
    """Of the keys that do not start with any of `left_out`."""
    own = {key: value for key, value in sorted(settings.items()) if not key.startswith(left_out)}
    return f"{zlib.crc32(json.dumps(own).encode()):08x}"


@contextlib.contextmanager
def claimed(file, wait=False):
    """Whether this process alone works on something; the lock ends with the process, however that ends."""
    with open(file, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def defend(config, settings, target, train, valid, folder):
    """Model to serve, defense, and what there is to say about the training; made once for all who attack it."""
    file = folder / f"defended-{config['seed']}-{digest(settings, ATTACK)}.pth"
    defense = create_defense(config["defense"], config)
    with claimed(Path(f"{file}.claim"), wait=True):
        if not file.exists():
            start = time.perf_counter()
            model, found = protect(config, defense, target, train, valid, settings.get("knobs", {}))
            found["defense s"] = time.perf_counter() - start
            write_atomically({"weights": model.state_dict(), "found": found}, file)
    stored, model = torch.load(file, weights_only=True), copy.deepcopy(target)
    model.load_state_dict(stored["weights"])
    return model, defense, stored["found"]


def protect(config, defense, target, train, valid, knobs):
    name = config["defense"]
    start_stage(config, f"defense {name}", train)
    if name != "gro":
        return defense.protect(target, train, valid), {}
    trainer = KnobbedGRO(config, copy.deepcopy(target), **knobs)
    trainer.fine_tune(train, valid, verbose=False, saved=False)
    own, student, swap = (float(term) / len(train) for term in trainer.terms)
    swap /= trainer.lambda_used or 1
    steps = config["gro_epochs"] * len(train)
    return trainer.model, {"target loss": own, "student loss": student, "swap loss": swap, "gro steps": steps}


def concentration(served, before):
    """How few items fill the top 10 of the test users, and the share of it that `before` did not hold."""
    top, n_users = served[:, :10], len(served)
    counts = torch.bincount(top.flatten()).float()
    share = counts[counts > 0] / counts.sum()
    kept = common_share(top, before[:, :10]).mean()
    return {
        "items in top 10s": len(share),
        "entropy of top 10s, bits": -float((share * share.log2()).sum()),
        "users with the most listed item": float(counts.max() / n_users),
        "changed top 10": 1 - float(kept),
    }


def attack(config, service, loaders, served, name, learns_first=None, last_pass=False):
    """The attack of a run, with held-out losses and agreement at 1, 10 and 100.

    Args:
        name: of files on the way.
        learns_first: positions of a list that the attacker learns from; None for all.
        last_pass: he keeps the surrogate as it ends, not the one that was best on lists held back.
    """
    found, box, start = {}, BlackBox(service), time.perf_counter()
    attacker, data = create_attacker(config["attacker"], config), loaders[0]._dataset
    log = ask(config, attacker, box, data)
    found |= {"queries s": time.perf_counter() - start, "lists asked": box.lists_asked}
    start = time.perf_counter()
    with mock.patch.object(ExtractionTrainer, "load_saved") if last_pass else contextlib.nullcontext():
        trainer = steal(config, attacker, log.first(learns_first or box.k), box.n_items, data, f"surrogate-{name}")
    os.remove(trainer.saved_model_file)
    held_out = trainer.last_valid[1] if last_pass else trainer.best_valid_result
    found |= {
        "surrogate s": time.perf_counter() - start,
        "surrogate epochs": len(trainer.train_loss_dict),
        "surrogate converged": len(trainer.train_loss_dict) < config["surrogate_epochs"],
        "held-out loss": held_out["loss"],
        "held-out agreement@10": held_out["agreement@10"],
    }
    metrics, lists = evaluate_service(config, Service(trainer.model, config["served_k"]), *loaders)
    for part, values in metrics.items():
        found |= {f"surrogate {part} {name}": value for name, value in values.items()}
        for k in (1, 10, 100):
            found[f"{part} agreement@{k}"] = float(common_share(lists[part][:, :k], served[part][:, :k]).mean())
    return found


def run(name, settings, seed, folder):
    """All of one row."""
    whole, settings = settings, dict(settings)
    phase, _ = settings.pop("gro phase", {}), settings.pop("knobs", {})
    learns_first, last_pass = settings.pop("learns first", None), settings.pop("last pass", False)
    config = make_config(settings, seed, folder)
    loaders = train, valid, _ = build_loaders(config, build_dataset(config))
    target, seconds = undefended(config, settings, train, valid, folder)
    _, before = evaluate_service(config, Service(target, config["served_k"]), *loaders)
    phase_config, phase_train = config, train
    if phase:
        phase_config = make_config({**settings, **phase}, seed, folder)
        phase_train, *_ = build_loaders(phase_config, build_dataset(phase_config))
    protected, defense, found = defend(phase_config, whole, target, phase_train, valid, folder)
    found["target s"] = seconds
    service = Service(protected, config["served_k"], defense.answer)
    metrics, served = evaluate_service(config, service, *loaders)
    found |= {f"target {part} {key}": value for part, values in metrics.items() for key, value in values.items()}
    found |= concentration(served["test"], before["test"])
    found |= attack(config, service, loaders, served, f"{name}-{seed}", learns_first, last_pass)
    found |= {"setting": name, "seed": seed, "defense": config["defense"], "threads": torch.get_num_threads()}
    return found


def rows_of(file):
    if not file.exists():
        return []
    with open(file, newline="") as table:
        return list(csv.DictReader(table))


def append(file, row, columns=COLUMNS):
    new = not file.exists()
    shown = {
        key: f"{value:.6g}" if isinstance(value, float) and math.isfinite(value) else value
        for key, value in row.items()
    }
    with open(file, "a", newline="") as table:
        writer = csv.DictWriter(table, columns)
        if new:
            writer.writeheader()
        writer.writerow(shown)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--settings", nargs="+", default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--file", type=Path, default=HERE / "effect.csv")
    parser.add_argument("--folder", type=Path, default=Path("effect-work"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--list", action="store_true")
    given = parser.parse_args()
    named = read_settings(HERE / "effect.yaml")
    unknown = set(given.settings) - set(named)
    if given.list or unknown:
        raise SystemExit("\n".join([*(f"no setting {name}" for name in unknown), *map(str, named.items())]))
    if given.threads:
        torch.set_num_threads(given.threads)
    given.folder.mkdir(parents=True, exist_ok=True)
    print(machine(), flush=True)
    for seed in given.seeds:
        for name in given.settings:
            if any(row["setting"] == name and row["seed"] == str(seed) for row in rows_of(given.file)):
                continue
            with claimed(given.folder / f"claim-{name}-{seed}") as mine:
                if not mine:
                    continue
                row = run(name, named[name], seed, given.folder)
                append(given.file, {**row, "overrides": json.dumps(named[name])})
            keys = ("target valid ndcg@10", "surrogate valid ndcg@10", "valid agreement@10", "swap loss", "defense s")
            print(name, seed, {key: round(row[key], 4) for key in keys if key in row}, flush=True)


if __name__ == "__main__":
    main()
