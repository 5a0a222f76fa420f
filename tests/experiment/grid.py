"""Tiny experiments, with cells of a few seconds."""

import yaml
from conftest import SMALL, WIDTHS
from pipeline import TINY_RUN

from recbole_gro.experiment.plan import read_experiment


def tiny(data_path, name="lambda", **settings):
    """Return a packaged experiment on the dataset `tiny`: two seeds, small budgets."""
    small = {key: value for key, value in SMALL.items() if key != "seed"}
    budget = {"query_sequences": 8, "surrogate_epochs": 1, "epochs": 1} | ({} if name == "paper" else {"gro_epochs": 1})
    budget |= {"references": ["untrained"], "attacker_head_k": None}
    given = {**small, **WIDTHS["BERT4Rec"], **budget, "dataset": "tiny", "data_path": str(data_path), "seeds": [1, 2]}
    return read_experiment(name, {**given, **settings})


def detection_file(folder, data_path, attacks, **parts):
    """Write an experiment on detection on the dataset `tiny`, and return its file; `fixed` adds settings."""
    fixed = {
        **{name: value for name, value in TINY_RUN.items() if name != "seed"},
        "model": "BERT4Rec",
        "dataset": "tiny",
        "data_path": str(data_path),
        "query_sequences": 24,
        "attacker_known_share": 0.1,
        "false_positive_rate": 0.1,
        "detection_window": 8,
        **parts.pop("fixed"),
    }
    parts = {"title": "T", "vary": {"attacker": attacks}, "fixed": fixed, **parts}
    (folder / "own.yaml").write_text(yaml.safe_dump(parts))
    return str(folder / "own.yaml")
