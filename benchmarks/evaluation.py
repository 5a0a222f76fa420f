"""Evaluation of services by their lists against RecBole's evaluation of a score table made from the same lists.

    python benchmarks/evaluation.py [--users=20000] [--items=43000] [--rounds=3] [--model=GRU4Rec]

Synthetic test rows of 10 items, untrained weights of width 64. First what the evaluation takes beside the service that
it measures; then whole evaluations of services, and of a trainer's validation; metrics must be equal to the last digit.
"""

import argparse
import contextlib
import tempfile
from pathlib import Path

import numpy as np
import torch
from common import machine, paired, ratio_line
from recbole.evaluator.collector import Collector

from recbole_gro import Config
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.evaluator import OwnHistoryService, PopularityService, ServedEvaluator
from recbole_gro.serving.service import Service
from recbole_gro.trainer.base import TargetTrainer


class TableEvaluator(ServedEvaluator):
    """RecBole's evaluation of a table of scores whose highest are the served list."""

    def __init__(self, config, service):
        super().__init__(config, service)
        self.eval_collector = Collector(config)

    def _full_sort_batch_eval(self, batched_data):
        interaction, served, *relevant = super()._full_sort_batch_eval(batched_data)
        # 0 pads a list: columns after the items
        columns = torch.where(served == 0, self.tot_item_num + torch.arange(self.service.k), served)
        scores = torch.full((len(served), self.tot_item_num + self.service.k), -torch.inf)
        scores.scatter_(1, columns, torch.arange(self.service.k, 0.0, -1.0).expand_as(served))
        return interaction, scores, *relevant


class Replayed(Service):
    """Serve lists that are known: what is left is the evaluation itself."""

    def __init__(self, model, lists):
        super().__init__(model, lists.shape[1])
        self.known, self.served = lists, 0

    def recommend(self, sequences):
        start = self.served % len(self.known)
        self.served += len(sequences)
        return self.known[start : start + len(sequences)]


def write(folder: Path, users: int, items: int) -> None:
    """Write FOLDER/synthetic/synthetic.inter: 12 interactions per user; every item occurs."""
    draw = np.random.default_rng(1)
    item = (items * draw.random(12 * users) ** 2).astype(int)
    item[:items] = draw.permutation(items)[: len(item)]
    (folder / "synthetic").mkdir()
    rows = np.stack([np.arange(12 * users) // 12, item, np.arange(12 * users)], 1)
    names = "user_id:token\titem_id:token\ttimestamp:float"
    np.savetxt(folder / "synthetic" / "synthetic.inter", rows, "%d", "\t", header=names, comments="")


def compare(label, first, second, rounds) -> tuple[list[float], list[float]]:
    """Print the ratio of two evaluations and return their seconds; stop where their results differ."""
    results: tuple[list, list] = [], []
    times = paired(lambda: results[0].append(first()), lambda: results[1].append(second()), rounds)
    if any(result != results[0][0] for result in [*results[0], *results[1]]):
        raise SystemExit(f"{label}: the metrics differ: {results}")
    print(ratio_line(label, *times), "metrics equal", flush=True)
    return times


def main(users: int, items: int, rounds: int, model_name: str) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        write(Path(folder), users, items)
        settings = {"data_path": folder, "show_progress": False, "embedding_size": 64, "hidden_size": 64}
        config = Config(model_name, "synthetic", config_dict=settings)
        config["checkpoint_dir"] = config["output_dir"] = folder
        dataset = build_dataset(config)
        train, _, test = build_loaders(config, dataset)
        model, k = config.model_class(config, train._dataset).eval(), config["served_k"]
        print(f"{len(test._dataset)} rows, {dataset.item_num - 1} items, lists of {k}, {model_name}", flush=True)
        counts = train._dataset.interaction_counter
        model_service = Service(model, k)
        sought = ServedEvaluator(config, model_service)
        sought.evaluate(test)
        services = {
            "known lists": Replayed(model, sought.lists),
            "popularity": PopularityService(model, k, counts),
            "own history": OwnHistoryService(model, k),
            "model": model_service,
        }
        times = {}
        for label, service in services.items():
            table, lists = TableEvaluator(config, service), ServedEvaluator(config, service)
            compared = (lambda e=evaluator: e.evaluate(test) for evaluator in (table, lists))
            times[label] = compare(f"{label}, table / lists", *compared, rounds)
        # as in a run: both references without a model, then target, untrained and trained surrogate
        of_run = [times["popularity"], times["own history"], *[times["model"]] * 3]
        print(
            ratio_line(
                "a run's five, table / lists",
                *([sum(s) for s in zip(*side, strict=True)] for side in zip(*of_run, strict=True)),
            )
        )
        fast, slow = TargetTrainer(config, model), TargetTrainer(config, model)
        slow.eval_collector = Collector(config)
        ours, recboles = (lambda t=t: t.evaluate(test, load_best_model=False) for t in (fast, slow))
        compare("validation of a trainer, RecBole's collector / ours", recboles, ours, rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=43_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="GRU4Rec")
    given = parser.parse_args()
    print(machine())
    main(given.users, given.items, given.rounds, given.model)
