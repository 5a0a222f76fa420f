"""Next-item models on whole sequences against one row per prefix: cost of an epoch, and validation NDCG@10.

    python benchmarks/sequences.py [--models GRU4Rec NARM SASRec] [--parts epochs curves] [--rounds=3]
        [--seconds=600] [--patience=10] [--KEY=VALUE ...]

Both sides have the same model, optimizer, number of targets per step and validation. For the curves each side trains
until it has no better score for `--patience` epochs or has spent `--seconds`, validation left out.
"""

import tempfile

from common import command, curve, epoch, machine, paired, positive, ratio_line, write_below
from recbole.utils import init_seed

from recbole_gro import Config
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.command_line import Parser, options_and_settings

ROWS = ("prefixes", "sequences")
BATCHES = 6  # of an epoch on prefixes that are timed; the epoch is scaled up from them


def prepared(model, rows, settings, folder):
    """Return a trainer of a new model, and its loaders of training and validation."""
    fixed = {"show_progress": False, "train_rows": rows, "eval_step": 1}
    config = Config(model, config_dict=fixed, command_line=settings)
    write_below(config, folder)
    init_seed(config["seed"], True)
    data = build_dataset(config)
    train, valid, _ = build_loaders(config, data)
    return TargetTrainer(config, config.model_class(config, data)), train, valid


def epochs(model, settings, rounds, folder):
    """Print the ratio of an epoch on both kinds of rows."""
    sides = [prepared(model, rows, {**settings, "epochs": 1}, folder) for rows in ROWS]
    print("  " + ", ".join(f"{len(train._dataset)} {rows}" for (_, train, _), rows in zip(sides, ROWS, strict=True)))
    calls = [
        lambda side=side, batches=batches: epoch(side[0].fit, side[1], batches)
        for side, batches in zip(sides, (BATCHES, None), strict=True)
    ]
    print("  " + ratio_line("epoch, prefixes / sequences", *paired(*calls, rounds, lambda call: call())), flush=True)


def scores(model, rows, settings, seconds, patience, folder):
    """Return [(seconds, validation score) of each epoch], and what ended the training."""
    trainer, train, valid = prepared(model, rows, {**settings, "epochs": 10**6, "stopping_step": patience}, folder)
    points = curve(trainer.fit, train, valid, lambda spent, _: spent >= seconds)
    return points, "time was up" if points[-1][0] >= seconds else f"{patience} epochs without a better one"


def curves(model, settings, seconds, patience, folder):
    """Print how soon training on sequences reaches the best score of training on prefixes."""
    best = {}
    for rows in ROWS:
        points, why = scores(model, rows, settings, seconds, patience, folder)
        at, score = best[rows] = max(points, key=lambda point: point[1])
        print(f"  {rows}: best validation score {score:.4f} at {at:.0f} s; {len(points)} epochs, {why}")
    at, reached = best["prefixes"]
    soon = next((spent for spent, score in points if score >= reached), None)
    print("  not reached by sequences" if soon is None else f"  reached by sequences {at / soon:.1f} times as soon")


def main(words):
    parser = Parser(prog="sequences")
    parser.add_argument("--models", nargs="+", default=["GRU4Rec", "NARM", "SASRec"])
    parser.add_argument("--parts", nargs="+", default=["epochs", "curves"], choices=("epochs", "curves"))
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--patience", type=positive, default=10)
    given, settings = options_and_settings(parser, words)
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        for model in given.models:
            print(model)
            if "epochs" in given.parts:
                epochs(model, settings, given.rounds, folder)
            if "curves" in given.parts:
                curves(model, settings, given.seconds, given.patience, folder)


if __name__ == "__main__":
    command(__file__, main)
