"""BERT4Rec on ml-100k without GRO: RecBole's stock pipeline against ours, an epoch and the time to quality.

    python benchmarks/plain_epoch.py [--minutes=10] [--picture=benchmarks/plain_epoch.png]

Stock: prefix rows, MaskItemSequence, RecBole's batch of 2048 and its Trainer, with torch's anomaly detection, which
importing RecBole's models switches on. Ours: windows, whole-batch masks, only masked positions scored. Both have
RecBole's architecture, are validated after the same number of seconds or epochs by RecBole's own evaluation, and run in
turn on the same machine. The stock side runs `--minutes`; ours runs until it has reached the same score.
"""

import argparse
import tempfile
import time

import torch
from common import machine, ratio_line, seconds
from recbole.config import Config as RecBoleConfig
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import BERT4Rec
from recbole.trainer import Trainer
from recbole.utils import init_seed

from recbole_gro import Config
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.compat import no_tensorboard

BATCHES = 4  # of the stock epoch that are timed; an epoch is scaled up from them
PATIENCE = 600  # seconds after which ours gives up


def stock(folder):
    settings = {
        "train_neg_sample_args": None, "checkpoint_dir": folder, "metrics": ["Hit", "NDCG"], "topk": [10],
        "valid_metric": "NDCG@10", "metric_decimal_place": 6, "show_progress": False,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    }  # fmt: skip
    config = RecBoleConfig("BERT4Rec", "ml-100k", config_dict=settings)
    init_seed(config["seed"], True)
    train, valid, _ = data_preparation(config, create_dataset(config))
    with no_tensorboard():
        return Trainer(config, BERT4Rec(config, train.dataset)), train, valid


def ours(folder):
    config = Config("BERT4Rec", config_file_list=["gro.yaml"], config_dict={"show_progress": False})
    config["checkpoint_dir"] = config["output_dir"] = folder
    init_seed(config["seed"], True)
    data = build_dataset(config)
    train, valid, _ = build_loaders(config, data)
    return TargetTrainer(config, config.model_class(config, data)), train, valid


def some(train, n):
    return [batch for _, batch in zip(range(n), train, strict=False)]


def stock_epoch(trainer, train):
    """Seconds of a whole stock epoch, masks included, from its first batches."""
    with torch.autograd.set_detect_anomaly(True):
        return seconds(lambda: trainer._train_epoch(some(train, BATCHES), 0)) * len(train) / BATCHES


def curve(trainer, train, valid, every, until):
    """[(seconds, validation NDCG@10)] until `until(seconds, score)` says so; validation's own time is left out."""
    points, spent, epoch = [], 0.0, 0
    while not points or not until(*points[-1]):
        start = time.perf_counter()
        for _ in range(every):
            trainer._train_epoch(train, epoch)
            epoch += 1
        spent += time.perf_counter() - start
        points.append((spent, float(trainer._valid_epoch(valid)[0])))
    return points


def draw_picture(slow, fast, file):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for points, label, colour in ((slow, "RecBole's stock pipeline", "#777777"), (fast, "ours", "#3b6ea5")):
        axes.plot([t for t, _ in points], [100 * score for _, score in points], "o-", ms=3, label=label, color=colour)
    axes.set(xlabel="seconds of training", ylabel="validation NDCG@10, %", title="BERT4Rec on ml-100k", xscale="log")
    axes.legend(frameon=False)
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--picture")
    given = parser.parse_args()
    slow, fast = stock(tempfile.mkdtemp()), ours(tempfile.mkdtemp())
    print(machine())
    print(f"rows an epoch: stock {len(slow[1]._dataset)}, ours {len(fast[1]._dataset)}")
    times = [(stock_epoch(*slow[:2]), seconds(lambda: fast[0]._train_epoch(fast[1], 0))) for _ in range(given.rounds)]
    print(ratio_line("epoch, stock / ours", [a for a, _ in times], [b for _, b in times]), flush=True)
    slow, fast = stock(tempfile.mkdtemp()), ours(tempfile.mkdtemp())
    with torch.autograd.set_detect_anomaly(True):
        slow_points = curve(*slow, 1, lambda t, _: t > 60 * given.minutes)
    reached = max(score for _, score in slow_points)
    at = next(t for t, score in slow_points if score == reached)
    fast_points = curve(*fast, 5, lambda t, score: score >= reached or t > PATIENCE)
    length = f"of {slow_points[-1][0]:.0f} s in {len(slow_points)} epochs"
    print(f"stock: validation NDCG@10 {reached:.4f} at {at:.0f} s, {length}")
    print(f"ours: {max(score for _, score in fast_points):.4f} at {fast_points[-1][0]:.0f} s")
    print(f"time to that quality, stock / ours: {at / fast_points[-1][0]:.1f}")
    if given.picture:
        draw_picture(slow_points, fast_points, given.picture)
