"""Checkpoints of tiny models, and a suspect as a Python function."""

from pipeline import untrained

from recbole_gro import create_defense
from recbole_gro.ownership.run import run_verification
from recbole_gro.trainer.base import TargetTrainer


def trained(make_loaders, folder, seed=1, **settings):
    """The checkpoint of a NARM trained for one epoch at a seed."""
    given = {"epochs": 1, "output_dir": str(folder / f"seed-{seed}"), "reproducibility": True, **settings}
    config, train, valid, _ = make_loaders("NARM", seed=seed, **given)
    trainer = TargetTrainer(config, untrained(config, train))
    trainer.fit(train, valid, verbose=False)
    return trainer.saved_model_file


def marked(make_loaders, make_model, folder, **settings):
    """The checkpoint of a SASRec that memorized marks of `aow`, with the key in folder/defense.key."""
    marks = {"aow_sequences": 4, "aow_length": 6, "aow_lowest": 15, "aow_epochs": 20, "aow_learning_rate": 0.01}
    given = {"defense_key": "secret", "output_dir": str(folder), "hidden_dropout_prob": 0.0, **marks, **settings}
    config, train, valid, _ = make_loaders("SASRec", **given)
    create_defense("aow", config).protect(make_model("SASRec"), train, valid)
    return str(folder / "target-aow.pth")


def verified(owner, suspect=None, **given):
    """The results of a verification of 40 probes and 5 trained references in ./out, with other arguments as given."""
    options = {"probes": 40, "references": 5, "output_dir": "out"}
    return run_verification(owner, suspect or owner, **{"key": "verify.key"} | options | given)


def following(histories):
    """The ten items after the last one, of the tiny data or of TOKENS."""
    return [[f"i{(int(row[-1][1:]) + step) % 30}" for step in range(10)] for row in histories]


def longer(histories):
    """Two unknown items, and the ten of `following`: more than k."""
    return [["x", "y", *row] for row in following(histories)]


calls = 0


def changing(histories):
    """Other lists at each call."""
    global calls
    calls += 1
    return [[f"i{(7 * calls + step) % 30}" for step in range(10)] for _ in histories]


def turning(histories):
    """The same items in another order at each call."""
    global calls
    calls += 1
    return [[f"i{(step + calls) % 10}" for step in range(10)] for _ in histories]


def foreign(histories):
    """Items that no owner has."""
    return [["x1", "x2", "i3"] for _ in histories]


def silent(histories):
    """Nothing for most histories."""
    return [["i1"] if row[-1] in ("i1", "i2") else [] for row in histories]
