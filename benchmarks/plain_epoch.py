"""BERT4Rec on ml-100k without GRO: RecBole's stock pipeline against ours, an epoch and the time to quality.

    python benchmarks/plain_epoch.py [--minutes=10] [--rounds=3] [--picture=benchmarks/plain_epoch.png]
        [--KEY=VALUE ...]

Stock: prefix rows, MaskItemSequence, RecBole's batch of 2048 and its Trainer, with torch's anomaly detection, which
importing RecBole's models switches on. Ours: windows, whole-batch masks, only masked positions scored. Both have
RecBole's architecture and are validated by RecBole's own evaluation, the stock side after every epoch, ours after every
fifth; the time of validation is left out. The stock side trains for `--minutes`, ours until it has reached the same
score. Settings are of both sides, such as --dataset.
"""

import tempfile

import torch
from common import command, curve, epoch, machine, output_file, positive, ratio_line, write_below
from recbole.config import Config as RecBoleConfig
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import BERT4Rec
from recbole.trainer import Trainer
from recbole.utils import init_seed

from recbole_gro import Config
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.command_line import Parser, options_and_settings
from recbole_gro.utils.compat import no_tensorboard

BATCHES = 4  # of the stock epoch that are timed; an epoch is scaled up from them
PATIENCE = 600  # seconds after which ours gives up
ENDLESS = {"epochs": 10**6, "stopping_step": 10**6, "topk": [10], "show_progress": False}


def stock(settings, folder):
    """Return RecBole's trainer and its loaders of training and validation."""
    own = {
        **ENDLESS, "eval_step": 1, "train_neg_sample_args": None, "checkpoint_dir": folder, "metrics": ["Hit", "NDCG"],
        "valid_metric": "NDCG@10", "metric_decimal_place": 6,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    }  # fmt: skip
    config = RecBoleConfig("BERT4Rec", settings.get("dataset", "ml-100k"), config_dict={**own, **settings})
    init_seed(config["seed"], True)
    train, valid, _ = data_preparation(config, create_dataset(config))
    with no_tensorboard():
        return Trainer(config, BERT4Rec(config, train.dataset)), train, valid


def ours(settings, folder):
    """Return our trainer and its loaders of training and validation."""
    config = Config("BERT4Rec", config_dict={**ENDLESS, "eval_step": 5, **settings})
    write_below(config, folder)
    init_seed(config["seed"], True)
    data = build_dataset(config)
    train, valid, _ = build_loaders(config, data)
    return TargetTrainer(config, config.model_class(config, data)), train, valid


def one_epoch(make, settings, batches):
    """Return the seconds of an epoch of a new trainer, and its number of rows."""
    with tempfile.TemporaryDirectory() as folder, torch.autograd.set_detect_anomaly(make is stock):
        trainer, train, _ = make(settings, folder)
        trainer.epochs = 1
        return epoch(trainer.fit, train, batches), len(train._dataset)


def scores(make, settings, until):
    """Return [(seconds, validation NDCG@10)] until `until(seconds, score)` is true; validation's time is left out."""
    with tempfile.TemporaryDirectory() as folder, torch.autograd.set_detect_anomaly(make is stock):
        trainer, train, valid = make(settings, folder)
        return curve(trainer.fit, train, valid, until)


def draw_picture(slow, fast, file):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for points, label, colour in ((slow, "RecBole's stock pipeline", "#777777"), (fast, "ours", "#3b6ea5")):
        axes.plot([t for t, _ in points], [100 * score for _, score in points], "o-", ms=3, label=label, color=colour)
    axes.set(xlabel="seconds of training", ylabel="validation NDCG@10, %", title="BERT4Rec on ml-100k", xscale="log")
    axes.legend(frameon=False)
    figure.savefig(file, dpi=120)


def main(words):
    parser = Parser(prog="plain_epoch")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--picture", type=output_file)
    given, settings = options_and_settings(parser, words)
    print(machine())
    times = [(one_epoch(stock, settings, BATCHES), one_epoch(ours, settings, None)) for _ in range(given.rounds)]
    print(f"rows per epoch: stock {times[0][0][1]}, ours {times[0][1][1]}")
    sides = ([spent for spent, _ in side] for side in zip(*times, strict=True))
    print(ratio_line("epoch, stock / ours", *sides), flush=True)
    slow = scores(stock, settings, lambda spent, _: spent > 60 * given.minutes)
    reached = max(score for _, score in slow)
    at = next(spent for spent, score in slow if score == reached)
    fast = scores(ours, settings, lambda spent, score: score >= reached or spent > PATIENCE)
    print(f"stock: validation NDCG@10 {reached:.4f} at {at:.0f} s, of {slow[-1][0]:.0f} s in {len(slow)} epochs")
    print(f"ours: {max(score for _, score in fast):.4f} at {fast[-1][0]:.0f} s")
    print(f"time to that quality, stock / ours: {at / fast[-1][0]:.1f}")
    if given.picture:
        draw_picture(slow, fast, given.picture)


if __name__ == "__main__":
    command(__file__, main)
