"""What a setting does, end to end: target, GRO, queries, surrogate; one row of benchmarks/effect.csv each.

    python benchmarks/effect.py --list
    python benchmarks/effect.py --settings none base lambda-0.3 --seeds 1 [--threads 1] [--folder effect-work]
        [--KEY=VALUE ...]

Settings are named in benchmarks/effect.yaml: keys of the package over those of `common`, `from: another setting` to
build on one. A row that is there is not run again, and the stages of a row lie in --folder, each made once for all rows
that share it; several runs may work on one file at a time. Chosen on validation, shown on test: both are in the file,
the test is read at the end.
"""

import itertools
import json
from pathlib import Path

import effect_attackers  # noqa: F401  (registers)
import gro_knobs  # noqa: F401
import torch
import yaml
from common import append, command, machine, missing, output_file, positive

from recbole_gro import Config, Service
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.evaluator.agreement import agreement
from recbole_gro.quick_start.comparison import compare
from recbole_gro.quick_start.fingerprint import Fingerprints
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.quick_start.stages import Stages
from recbole_gro.utils.command_line import Parser, options_and_settings

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
    "surrogate epochs", "surrogate converged", "held-out loss", "held-out agreement@10", "lists returned",
    "target s", "defense s", "queries s", "surrogate s", "threads",
]  # fmt: skip
STAGES = {"target": "target", "defended": "defense", "queries": "queries", "surrogate": "surrogate"}
PARTS = {"gro": "gro_knobs"}  # with its knobs at rest it is gro, and reports the terms of the loss


def read_settings(file):
    """{name: keys}, `from` resolved."""
    named = yaml.safe_load(Path(file).read_text())
    common = named.pop("common")

    def keys(name):
        own = dict(named[name] or {})
        return {**(keys(own.pop("from")) if "from" in own else common), **own}

    return {name: keys(name) for name in named}


def make_config(settings, seed, folder):
    """Return the config of a named setting, whose stages lie in a folder."""
    settings = {**settings, "seed": seed, "topk": list(CUTS), "show_progress": False}
    model = settings.pop("model", "BERT4Rec")
    config = Config(model, config_dict={"query_sequences": 300, "epochs": 150, **settings})
    config["output_dir"] = config["checkpoint_dir"] = str(folder)
    return config


def undefended(config, loaders, cache):
    """Return the converged target, the lists that it serves by part of the data, and the seconds of its training."""
    stages = Stages(config, loaders, cache, Fingerprints(config, "none"), None)
    target = stages.target()
    _, lists = stages.evaluation(Service(target, config["served_k"]))
    return target, lists, stages.seconds["target"]


def concentration(served, before):
    """Return how few items fill the top 10 of the users, and the share of it that `before` did not hold."""
    top, n_users = served[:, :10], len(served)
    counts = torch.bincount(top.flatten()).float()
    share = counts[counts > 0] / counts.sum()
    kept = agreement(top, before, [10])[10]
    return {
        "items in top 10s": len(share),
        "entropy of top 10s, bits": -float((share * share.log2()).sum()),
        "users with the most listed item": float(counts.max() / n_users),
        "changed top 10": 1 - kept,
    }


def measured(config, loaders, cache):
    """Return the columns of a comparison, and the lists before and after the defense."""
    _, before, seconds = undefended(config, loaders, cache)
    [compared] = compare(config, PARTS.get(config["defense"], config["defense"]), loaders, cache)
    row, served = compared.row, compared.served
    found = {"defense s": 0.0}
    found |= {f"{STAGES[name]} s": value for name, value in row["seconds"].items() if name in STAGES}
    for side in ("target", "surrogate"):
        for part, values in row[side].items():
            found |= {f"{side} {part} {name}": value for name, value in values.items()}
    for part, copied in compared.surrogate_lists.items():
        for k, share in agreement(copied, served[part], (1, 10, 100)).items():
            found[f"{part} agreement@{k}"] = share
    found |= {f"held-out {name}": value for name, value in row["held_out"].items()}
    terms = row["effective_settings"] if config["defense"] in PARTS else {}
    return terms | found | {
        "seed": config["seed"], "defense": config["defense"], "target s": seconds,
        "lists returned": row["lists_returned"],
        "surrogate epochs": row["surrogate_epochs"],
        "surrogate converged": row["surrogate_epochs"] < config["surrogate_epochs"],
        "threads": torch.get_num_threads(), "machine": machine(),
    }, before, served  # fmt: skip


def run(settings, seed, folder):
    """Return all of one row but its name."""
    config = make_config(settings, seed, folder)
    found, before, served = measured(config, build_loaders(config, build_dataset(config)), StageCache(folder))
    return found | concentration(served["test"], before["test"]) | {"overrides": json.dumps(settings)}


def main(words):
    named = read_settings(HERE / "effect.yaml")
    parser = Parser(prog="effect")
    parser.add_argument("--settings", nargs="+", default=[], choices=named, metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--file", type=output_file, default=HERE / "effect.csv")
    parser.add_argument("--folder", type=Path, default=Path("effect-work"))
    parser.add_argument("--threads", type=positive)
    parser.add_argument("--list", action="store_true")
    given, own = options_and_settings(parser, words)
    if given.list:
        print("\n".join(map(str, named.items())))
        return
    if given.threads:
        torch.set_num_threads(given.threads)
    print(machine(), flush=True)
    wanted = [{"setting": name, "seed": seed} for seed, name in itertools.product(given.seeds, given.settings)]
    for cell in missing(given.file, wanted):
        row = run({**named[cell["setting"]], **own}, cell["seed"], given.folder) | cell
        append(given.file, row, COLUMNS)
        keys = ("target valid ndcg@10", "surrogate valid ndcg@10", "valid agreement@10", "swap loss", "defense s")
        print(*cell.values(), {key: round(row[key], 4) for key in keys if key in row}, flush=True)


if __name__ == "__main__":
    command(__file__, main)
