"""Next-item models on whole sequences against one row per prefix: cost of an epoch, validation NDCG@10, cost of GRO.

    python benchmarks/sequences.py [--models GRU4Rec NARM SASRec] [--parts epochs curves gro]
        [--rounds=3] [--seconds=600] [--patience=10] [--KEY=VALUE ...]

Both sides have the same model, optimizer, number of targets per step and validation. For the curves the side that has
spent less trains the next epoch, until it has no better score for `--patience` epochs or has spent `--seconds`. All
times are CPU seconds of this process, validation left out, so that other processes on the machine hardly count.
"""

import argparse
import itertools
import tempfile
import time

from common import machine, ratio_line
from recbole.utils import init_seed

from recbole_gro import Config, GROTrainer
from recbole_gro.cli.run import parse
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.trainer.base import TargetTrainer

ROWS = ("prefixes", "sequences")
BATCHES = 6  # of an epoch on prefixes that are timed; the epoch is scaled up from them


class Side:
    """A model on one kind of training rows, its validation scores and the CPU seconds of its epochs."""

    def __init__(self, model, rows, settings, cls=TargetTrainer):
        fixed = {"show_progress": False, "train_rows": rows}
        config = Config(model, config_dict=fixed, command_line=settings)
        config["checkpoint_dir"] = config["output_dir"] = tempfile.mkdtemp()
        init_seed(config["seed"], True)
        data = build_dataset(config)
        self.train, self.valid, _ = build_loaders(config, data)
        self.trainer = cls(config, config.model_class(config, data))
        self.spent, self.points = 0.0, []

    def epoch(self, batches=None):
        """CPU seconds of an epoch, or of one scaled up from its first batches."""
        start = time.process_time()
        some = self.train if batches is None else list(itertools.islice(self.train, batches))
        self.trainer._train_epoch(some, len(self.points))
        return (time.process_time() - start) * len(self.train) / len(some)

    def step(self):
        """Train an epoch and validate it."""
        self.spent += self.epoch()
        self.points.append((self.spent, float(self.trainer._valid_epoch(self.valid)[0])))

    def best(self):
        """(CPU seconds, score) of the best epoch."""
        return max(self.points, key=lambda point: point[1])

    def finished(self, seconds, patience):
        if not self.points:
            return False
        epochs_since = len(self.points) - 1 - self.points.index(self.best())
        return self.spent >= seconds or epochs_since >= patience


def epochs(model, settings, rounds):
    sides = [Side(model, rows, settings) for rows in ROWS]
    timed = [[side.epoch(batches) for side, batches in zip(sides, (BATCHES, None), strict=True)] for _ in range(rounds)]
    slow, fast = zip(*timed, strict=True)
    print("  " + ", ".join(f"{len(side.train._dataset)} {rows}" for side, rows in zip(sides, ROWS, strict=True)))
    print("  " + ratio_line("epoch, prefixes / sequences", slow, fast), flush=True)


def curves(model, settings, seconds, patience):
    sides = {rows: Side(model, rows, settings) for rows in ROWS}
    while waiting := [side for side in sides.values() if not side.finished(seconds, patience)]:
        min(waiting, key=lambda side: side.spent).step()
    for rows, side in sides.items():
        at, score = side.best()
        why = "time was up" if side.spent >= seconds else f"{patience} epochs without a better one"
        print(f"  {rows}: best {side.trainer.valid_metric} {score:.4f} at {at:.0f} s; {len(side.points)} epochs, {why}")
    slow, fast = sides.values()
    at, reached = slow.best()
    soon = next((spent for spent, score in fast.points if score >= reached), None)
    print("  not reached by sequences" if soon is None else f"  reached by sequences {at / soon:.1f} times as soon")


def gro(model, settings, rounds):
    """Print the ratio of training with GRO and without, two epochs each."""
    timed = []
    for _ in range(rounds):
        timed.append([])
        for cls, train in ((GROTrainer, GROTrainer.fine_tune), (TargetTrainer, TargetTrainer.fit)):
            side = Side(model, "sequences", settings | {"epochs": 2, "gro_epochs": 2}, cls)
            start = time.process_time()
            train(side.trainer, side.train, verbose=False, saved=False)
            timed[-1].append((time.process_time() - start) / 2)
    print("  " + ratio_line("epoch on sequences, GRO / plain", *zip(*timed, strict=True)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="*", default=["GRU4Rec", "NARM", "SASRec"])
    parser.add_argument("--parts", nargs="*", default=["epochs", "curves", "gro"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--patience", type=int, default=10)
    given, words = parser.parse_known_args()
    named, settings = parse(words)
    settings |= {"dataset": named["dataset"]} if named["dataset"] else {}
    print(f"{machine()}, CPU seconds")
    for model in given.models:
        print(model)
        if "epochs" in given.parts:
            epochs(model, settings, given.rounds)
        if "curves" in given.parts:
            curves(model, settings, given.seconds, given.patience)
        if "gro" in given.parts:
            gro(model, settings, given.rounds)
