"""A tiny experiment, with cells of a few seconds."""

from conftest import SMALL, WIDTHS

from recbole_gro.experiment.plan import read_experiment


def tiny(data_path, name="lambda", **settings):
    """Return a packaged experiment on the dataset `tiny`: two seeds, small budgets."""
    small = {key: value for key, value in SMALL.items() if key != "seed"}
    budget = {"query_sequences": 8, "surrogate_epochs": 1, "epochs": 1} | ({} if name == "paper" else {"gro_epochs": 1})
    budget |= {"references": ["untrained"], "attacker_head_k": None}
    given = {**small, **WIDTHS["BERT4Rec"], **budget, "dataset": "tiny", "data_path": str(data_path), "seeds": [1, 2]}
    return read_experiment(name, {**given, **settings})
