"""What the method contrast says of copies, and of models that are none: one row of contrast.csv per owner and suspect.

    python benchmarks/contrast.py [--grid FILE] [--probes 2000] [--file FILE] [--folder FOLDER] [--KEY=VALUE ...]

The grid is an experiment on ownership, whose owners, copies and references are the suspects of each owner: its own
copies, other models, and their copies. Suspects that are in the file are not judged again; models that `--folder` holds
are not trained again.
"""

import itertools
from pathlib import Path

import pandas as pd
import torch
from common import append, command, machine, missing, output_file, positive

from recbole_gro import Service
from recbole_gro.data import build_dataset
from recbole_gro.experiment.plan import read_experiment
from recbole_gro.experiment.suspects import TOP, attack_name, attacks, trained_seeds
from recbole_gro.experiment.workshop import Workshop
from recbole_gro.ownership.contrast import Contrast
from recbole_gro.ownership.method import NoVerdict
from recbole_gro.serving.saved_target import SavedTarget
from recbole_gro.utils.command_line import Parser, options_and_settings

RESULTS = Path(__file__).parents[1] / "results" / "ownership"
OWN, ANOTHERS, SAME, OTHER = "copy", "copy of another model", "same architecture", "another architecture"
COLUMNS = ["model", "seed", "kind", "suspect", "p_value", "contrast", "low", "high", "generated", "users", "refused"]


def suspects(experiment, model, seed):
    """Return {(kind, name): (model, seed, attack)} of the suspects of an owner; the attack of a target is None."""
    found = {}
    for name in experiment.vary["model"]:
        for number in trained_seeds(experiment):
            if (name, number) != (model, seed):
                found[SAME if name == model else OTHER, f"{name} {number}"] = (name, number, None)
        for number in experiment.seeds:
            kind = OWN if (name, number) == (model, seed) else ANOTHERS
            for attack in attacks(experiment, "copies", name, number):
                found[kind, f"{name} {number} {attack_name(attack)}"] = (name, number, attack)
    return found


def owner_of(workshop, model, seed):
    """Return the owner's model with its users' histories, as `load_target` does."""
    config = workshop.stages(model, seed).config
    dataset = build_dataset(config)
    return SavedTarget(
        model=workshop.target(model, seed),
        dataset=dataset,
        config=config,
        item_tokens=dataset.field2id_token[dataset.iid_field].tolist(),
        data_digests=dict(dataset.data_digests),
    )


def judged(method, probes, model):
    """Return the columns of a verdict on a suspect."""
    histories = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in probes.histories], batch_first=True)
    try:
        verdict = method.verdict(probes, Service(model, TOP).recommend(histories).cpu())
    except NoVerdict as reason:
        return {"refused": str(reason)}
    effect = dict(zip(("contrast", "low", "high"), verdict.effect, strict=True))
    shares = {name: verdict.facts[f"agreement@10 {name}"] for name in ("generated", "users")}
    return {"p_value": verdict.p_value, **effect, **shares}


def summary(file, level):
    """Return the number of claims of each kind and attack."""
    table = pd.read_csv(file)
    table["attack"] = table["suspect"].str.split(n=2).str[2].fillna("")
    table["claimed"] = table["p_value"] <= level
    table["no verdict"] = table["p_value"].isna()
    columns = {"verdicts": ("claimed", "size"), "claims": ("claimed", "sum"), "without": ("no verdict", "sum")}
    columns |= {"contrast": ("contrast", "median"), "generated": ("generated", "mean"), "users": ("users", "mean")}
    found = table.groupby(["model", "kind", "attack"]).agg(**columns)
    return found.round(3).to_string()


def main(words):
    parser = Parser(prog="contrast")
    parser.add_argument("--grid", default=str(RESULTS / "contrast.yaml"))
    parser.add_argument("--probes", type=positive, default=2000)
    parser.add_argument("--file", type=output_file, default=RESULTS / "contrast.csv")
    parser.add_argument("--folder", type=Path, default=Path("contrast-work"), help="of the stages")
    given, settings = options_and_settings(parser, words)
    experiment = read_experiment(given.grid, settings)
    workshop, method = Workshop(experiment, given.folder), Contrast({})
    print(machine(), flush=True)
    for model, seed in itertools.product(experiment.vary["model"], experiment.seeds):
        found, probes = suspects(experiment, model, seed), None
        wanted = [{"model": model, "seed": seed, "kind": kind, "suspect": name} for kind, name in found]
        for cell in missing(given.file, wanted):
            if probes is None:
                key = f"{experiment.name} {model} {seed}".encode()
                probes = method.probes(owner_of(workshop, model, seed), {}, key, given.probes)
            name, number, attack = found[cell["kind"], cell["suspect"]]
            suspect = workshop.surrogate(name, number, attack)[0] if attack else workshop.target(name, number)
            row = cell | judged(method, probes, suspect)
            append(given.file, row, COLUMNS)
            print(row, flush=True)
    print(summary(given.file, method.settings["level"]))


if __name__ == "__main__":
    command(__file__, main)
