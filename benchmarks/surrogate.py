"""Surrogate training: our batches against shuffled prefixes padded to full length, and against one length a batch.

    python benchmarks/surrogate.py [--model=BERT4Rec] [--sequences=300] [--target_epochs=60] [--seeds 1 2 3]

A target trained on ml-100k is asked once. One epoch of each kind of batch in turn on the same log gives the
throughput; then surrogates of each kind train on the same number of lists, a surrogate a seed, and their agreement@10
on held-out queries is compared.
"""

import argparse
import functools
import math
import statistics
import tempfile

import torch
from common import machine, paired, ratio_line
from recbole.data.interaction import Interaction

from recbole_gro import BlackBox, Config, ExtractionTrainer, create_query_strategy, create_surrogate
from recbole_gro.attack.query_log import LISTED, QueryLoader
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.scoring import NextItemScorer
from recbole_gro.trainer.base import TargetTrainer


class OneLengthLoader(QueryLoader):
    """Every example of a batch has the same prefix length."""

    def __len__(self):
        n, longest = self.log.sequences.shape
        return longest * math.ceil(n / self.sequences_at_once)

    def __iter__(self):
        n, longest = self.log.sequences.shape
        batches = [
            (t, rows)
            for t in range(1, longest + 1)
            for rows in torch.randperm(n, generator=self.generator).split(self.sequences_at_once)
        ]
        for place in torch.randperm(len(batches), generator=self.generator).tolist():
            t, rows = batches[place]
            yield Interaction(
                {
                    self.sequence_field: self.log.sequences[rows, :t],
                    self.length_field: torch.full((len(rows), 1), t),
                    LISTED: self.log.lists[rows, t - 1].long(),
                }
            )


class PlainTrainer(ExtractionTrainer):
    """Rows of any length, each read by itself and padded to full length."""

    def __init__(self, config, model):
        super().__init__(config, model)
        self.scorer.any_length = False
        self.scorer.all_prefixes_at_once = False
        self.scorer.prefix_scores = functools.partial(NextItemScorer.prefix_scores, self.scorer)


def trained_target(config):
    data = build_dataset(config)
    train, valid, _ = build_loaders(config, data)
    torch.manual_seed(1)
    trainer = TargetTrainer(config, config.model_class(config, data))
    trainer.fit(train, valid, verbose=False)
    trainer.load_saved()
    return trainer.model


def thief(config, n_items, seed, cls=ExtractionTrainer):
    torch.manual_seed(seed)
    surrogate, surrogate_config = create_surrogate(config, n_items)
    surrogate_config["seed"] = seed
    return cls(surrogate_config, surrogate)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="BERT4Rec")
    parser.add_argument("--sequences", type=int, default=300)
    parser.add_argument("--target_epochs", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    given = parser.parse_args()
    settings = {
        "epochs": given.target_epochs,
        "surrogate_epochs": given.epochs,
        "surrogate_patience": given.epochs,
        "show_progress": False,
    }
    config = Config(given.model, "ml-100k", config_dict={"epochs": 150, "query_sequences": 300, **settings})
    config["checkpoint_dir"] = config["output_dir"] = tempfile.mkdtemp()
    box = BlackBox(trained_target(config), config["served_k"])
    log = create_query_strategy("autoregressive").query(
        box, given.sequences, config["MAX_ITEM_LIST_LENGTH"], torch.Generator().manual_seed(2), False
    )
    print(machine())
    kinds = {
        "ours": (ExtractionTrainer, None),
        "shuffled and padded": (PlainTrainer, None),
        "one length a batch": (ExtractionTrainer, OneLengthLoader),
    }

    def sides(name, seed):
        cls, loader = kinds[name]
        trainer = thief(config, box.n_items, seed, cls)
        train, held = trainer.loaders(log)
        if loader is not None:
            train = loader(train.log, config, trainer.batch_size, train.generator)
        return trainer, train, held

    (ours, batches, _), (plain, rows, _) = sides("ours", 0), sides("shuffled and padded", 0)
    print(
        f"{given.model}, {rows.log.n_lists} lists of a target after {given.target_epochs} epochs, {len(batches)} steps"
    )
    slow, fast = paired(lambda: plain._train_epoch(rows, 0), lambda: ours._train_epoch(batches, 0), given.rounds)
    print("  " + ratio_line("epoch, shuffled and padded / ours", slow, fast), flush=True)
    for name in kinds:
        learned = []
        for seed in given.seeds:
            trainer, loader, held = sides(name, seed)
            trainer.fit(loader, held, verbose=False)
            learned.append(trainer._valid_epoch(held)[1]["agreement@10"])
        if learned:
            each = " ".join(f"{value:.3f}" for value in learned)
            print(
                f"  {name}: held-out agreement@10 {statistics.mean(learned):.3f} ({each}), {given.epochs} epochs",
                flush=True,
            )
