"""Evaluation of services by their lists against RecBole's evaluation of a score table made from the same lists.

    python benchmarks/evaluation.py [--users=20000] [--items=43000] [--history=10] [--rounds=3] [--model=GRU4Rec]
                                    [--validation] [--alone]

Synthetic test rows of `--history` items on average, half to one and a half times as many, untrained weights of width
64. First what the evaluation takes beside the service that it measures; then whole evaluations of services, and the
validation of a trainer against that of RecBole's trainer, which alone --validation measures. Metrics must be equal to
the last digit. RecBole's side scores `eval_batch_size` rows at once, ours as many as `rows_at_once` allows. --alone
runs ours alone.
"""

import copy
import tempfile
from pathlib import Path

import numpy as np
import torch
from common import command, machine, paired, peak_mib, positive, ratio_line, seconds, width_of, write_below
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.evaluator.collector import Collector
from recbole.trainer import Trainer

from recbole_gro import Config
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.evaluator import OwnHistoryService, PopularityService, ServedEvaluator
from recbole_gro.serving.service import Service
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.command_line import Parser
from recbole_gro.utils.compat import no_tensorboard

AFTER = 2  # interactions of each user besides: the items of validation and test row
LEAST_LENGTH = 50  # of MAX_ITEM_LIST_LENGTH


class TableCollector(Collector):
    """Collect from served lists as RecBole does from a table of scores whose highest are the list.

    Args:
        config: RecBole's or ours.
        n_items: number of items, padding included.
    """

    def __init__(self, config, n_items):
        super().__init__(config)
        self.n_items = n_items

    def eval_batch_collect(self, scores_tensor, interaction, positive_u, positive_i):
        served, k = scores_tensor, scores_tensor.shape[1]
        # 0 pads a list: columns after the items
        columns = torch.where(served == 0, self.n_items + torch.arange(k), served)
        scores = torch.full((len(served), self.n_items + k), -torch.inf)
        scores.scatter_(1, columns, torch.arange(k, 0.0, -1.0).expand_as(served))
        super().eval_batch_collect(scores, interaction, positive_u, positive_i)


class Replayed(Service):
    """Serve lists that are known: what is left is the evaluation itself."""

    def __init__(self, model, lists):
        super().__init__(model, lists.shape[1])
        self.known, self.served = lists, 0

    def recommend(self, sequences):
        start = self.served % len(self.known)
        self.served += len(sequences)
        return self.known[start : start + len(sequences)]


def write(folder: Path, users: int, items: int, history: int) -> None:
    """Write FOLDER/synthetic/synthetic.inter; every item occurs if that many interactions do."""
    draw = np.random.default_rng(1)
    per_user = AFTER + draw.integers(history - history // 2, history + history // 2, users, endpoint=True)
    n = per_user.sum()
    item = (items * draw.random(n) ** 2).astype(int)
    item[:items] = draw.permutation(items)[:n]
    (folder / "synthetic").mkdir()
    rows = np.stack([np.repeat(np.arange(users), per_user), item, np.arange(n)], 1)
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


def main(words):
    parser = Parser(prog="evaluation")
    parser.add_argument("--users", type=positive, default=20_000)
    parser.add_argument("--items", type=positive, default=43_000)
    parser.add_argument("--history", type=positive, default=10)
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--model", default="GRU4Rec")
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--alone", action="store_true")
    given = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), given.users, given.items, given.history)
        settings = {"data_path": folder, "show_progress": False, **width_of(given.model)}
        settings["MAX_ITEM_LIST_LENGTH"] = max(LEAST_LENGTH, given.history + given.history // 2)
        config = Config(given.model, "synthetic", config_dict=settings)
        write_below(config, folder)
        rows = config["eval_batch_size"]
        train, _, test = build_loaders(config, build_dataset(config))
        print(machine())
        if given.alone:
            return alone(config, train, test)
        larger = larger_batches(test, rows)
        if not given.validation:
            evaluations(config, train, test, larger, given.rounds)
        validation(config, train, test, larger, given.rounds)


def larger_batches(loader, rows):
    """Return a loader of the same test rows in batches of `rows`."""
    larger = copy.copy(loader.config)
    larger["eval_batch_size"] = rows
    # RecBole samples nothing for a sequential model's full ranking
    batches = FullSortEvalDataLoader(larger, loader._dataset, sampler=None)
    batches.transform = loader.transform
    return batches


def services_of(model, k, train):
    """Return the services that a run evaluates, by name."""
    return {
        "popularity": PopularityService(model, k, train._dataset.interaction_counter),
        "own history": OwnHistoryService(model, k),
        "model": Service(model, k),
    }


def alone(config, train, test):
    """Print the seconds of ours for each service and for a trainer's validation, and the peak of memory."""
    model = config.model_class(config, train._dataset).eval()
    print(f"{len(test._dataset)} rows, {model.n_items - 1} items, lists of {config['served_k']}, {config['model']}")
    for label, service in services_of(model, config["served_k"], train).items():
        evaluator = ServedEvaluator(config, service)
        print(f"{label}: {seconds(lambda e=evaluator: e.evaluate(test)):.1f} s", flush=True)
    trainer = TargetTrainer(config, model)
    print(f"validation of a trainer: {seconds(lambda: trainer.evaluate(test, load_best_model=False)):.1f} s")
    print(f"peak memory {peak_mib():.0f} MiB")


def evaluations(config, train, test, larger, rounds):
    """Compare the evaluations of a run, service by service."""
    model, k = config.model_class(config, train._dataset).eval(), config["served_k"]
    print(f"{len(test._dataset)} rows, {model.n_items - 1} items, lists of {k}, {config['model']}", flush=True)
    sought = ServedEvaluator(config, Service(model, k))
    sought.evaluate(test)
    times = {}
    for label, service in {"known lists": Replayed(model, sought.lists), **services_of(model, k, train)}.items():
        table, lists = ServedEvaluator(config, service), ServedEvaluator(config, service)
        table.eval_collector = TableCollector(config, model.n_items)
        compared = (lambda e=e, rows=rows: e.evaluate(rows) for e, rows in ((table, larger), (lists, test)))
        times[label] = compare(f"{label}, table / lists", *compared, rounds)
    # as in a run: both references without a model, then target, untrained and trained surrogate
    of_run = [times["popularity"], times["own history"], *[times["model"]] * 3]
    sums = ([sum(round_) for round_ in zip(*side, strict=True)] for side in zip(*of_run, strict=True))
    print(ratio_line("a run's five, table / lists", *sums))


def validation(config, train, test, larger, rounds):
    """Compare the validation of a trainer with that of RecBole's."""
    model = config.model_class(config, train._dataset).eval()
    with no_tensorboard():
        sides = (TargetTrainer(config, model), test), (Trainer(config, model), larger)
    ours, recboles = (lambda t=t, rows=rows: t.evaluate(rows, load_best_model=False) for t, rows in sides)
    compare(f"validation of {config['model']}, RecBole's / ours", recboles, ours, rounds)


if __name__ == "__main__":
    command(__file__, main)
