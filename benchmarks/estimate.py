"""Seconds that `recbole-gro experiment --dry_run` predicts for each stage of a cell against those that it takes.

    python benchmarks/estimate.py [--items 1700 54000] [--models BERT4Rec GRU4Rec] [--users=300] [--train_rows=prefixes]

Synthetic data: users with 40 items each, one cell with defense gro per model and number of items, few epochs.
"""

import contextlib
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from common import command, machine, positive
from tabulate import tabulate

from recbole_gro.defense import create_defense
from recbole_gro.experiment.cells import run_cell
from recbole_gro.experiment.estimate import stage_seconds, unit_seconds
from recbole_gro.experiment.plan import Experiment
from recbole_gro.quick_start.stage_fingerprints import Fingerprints
from recbole_gro.utils.command_line import Parser

LENGTH = 40  # of a user's history
SETTINGS = {
    "dataset": "synthetic", "MAX_ITEM_LIST_LENGTH": 50, "epochs": 2, "eval_step": 2, "gro_epochs": 1, "gro_steps": 7,
    "query_sequences": 40, "surrogate_epochs": 2, "surrogate_patience": 9, "show_progress": False,
    "references": ["untrained", "popularity"],  # `independent` is a target more, which no stage of the cell counts
    "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]},
    "user_inter_num_interval": "[0,inf)", "item_inter_num_interval": "[0,inf)",
}  # fmt: skip


def write(folder: Path, users: int, items: int) -> None:
    """Write FOLDER/synthetic/synthetic.inter, and synthetic.item for items without interactions."""
    item = np.random.default_rng(1).integers(1, items, users * LENGTH)
    rows = {"user_id:token": np.repeat(np.arange(users), LENGTH), "item_id:token": item}
    (folder / "synthetic").mkdir()
    frame = pd.DataFrame({**rows, "timestamp:float": np.arange(users * LENGTH)})
    frame.to_csv(folder / "synthetic" / "synthetic.inter", sep="\t", index=False)
    names = pd.DataFrame({"item_id:token": np.arange(1, items)})
    names.to_csv(folder / "synthetic" / "synthetic.item", sep="\t", index=False)


def compare(model: str, users: int, items: int, train_rows: str) -> list[list]:
    """Return one row per stage: model, items, stage, predicted and real seconds, their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), users, items)
        fixed = {**SETTINGS, "model": model, "train_rows": train_rows, "data_path": folder}
        experiment = Experiment("estimate", "Estimates", "k", {"defense": ["gro"]}, [1], fixed)
        values = {"defense": "gro"}
        config = experiment.config(values, 1)
        defense = create_defense("gro", config)
        start = time.perf_counter()
        predicted = stage_seconds(
            Fingerprints(config, config["defense"][0]), unit_seconds(experiment.config(values, 1), defense)
        )
        timing = time.perf_counter() - start
        start = time.perf_counter()
        with contextlib.redirect_stdout(None):
            real = run_cell(experiment, values, 1, Path(folder) / "out").facts["seconds"]
        whole = time.perf_counter() - start
    real = {stage: real[stage] for stage in predicted if stage != "evaluation"}
    real["evaluation"] = whole - sum(real.values())  # and set-up
    pairs = [(stage, predicted[stage], seconds) for stage, seconds in real.items()]
    pairs += [("all", sum(predicted.values()), whole), ("the estimate itself", timing, timing)]
    return [[model, items, stage, expected, seconds, expected / seconds] for stage, expected, seconds in pairs]


def main(words):
    parser = Parser(prog="estimate")
    parser.add_argument("--items", type=positive, nargs="+", default=[1700, 54000])
    parser.add_argument("--models", nargs="+", default=["BERT4Rec", "GRU4Rec"])
    parser.add_argument("--users", type=positive, default=300)
    parser.add_argument("--train_rows", default="auto")
    given = parser.parse_args(words)
    print(machine(), flush=True)
    sizes = [(model, given.users, items) for model in given.models for items in given.items]
    rows = [row for size in sizes for row in compare(*size, given.train_rows)]
    print(tabulate(rows, ["model", "items", "stage", "predicted s", "real s", "ratio"], "pipe", floatfmt=".2f"))


if __name__ == "__main__":
    command(__file__, main)
