"""Surrogate training: our batches against shuffled prefixes padded to full length, and against one length per batch.

    python benchmarks/surrogate.py [--model=BERT4Rec] [--sequences=300] [--target_epochs=60] [--epochs=6] [--rounds=3]
        [--seeds 1 2 3] [--KEY=VALUE ...]

A target trained on ml-100k is queried once. One epoch of each kind of batch in turn on the same log gives the
throughput; then surrogates of each kind train on the same number of lists, one per seed, and their agreement@10 on
held-out queries is compared. Padded prefixes are read by RecBole's own forward pass, or by this package's scorer.
"""

import contextlib
import functools
import math
import statistics
import tempfile

import torch
from common import command, epoch, machine, paired, positive, ratio_line, write_below
from recbole.data.interaction import Interaction

from recbole_gro import BlackBox, Config, ExtractionTrainer, create_query_strategy, create_surrogate
from recbole_gro.attack.query_log import LISTED, QueryLoader
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.scoring import MaskedScorer, NextItemScorer
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.command_line import Parser, options_and_settings


class OneLengthLoader(QueryLoader):
    """Batch examples of the same prefix length."""

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
    """Read every prefix by itself, padded to full length."""

    def __init__(self, config, model):
        super().__init__(config, model)
        self.scorer.any_length = False
        self.scorer.all_prefixes_at_once = False
        self.scorer.prefix_scores = functools.partial(NextItemScorer.prefix_scores, self.scorer)


class RecBoleTrainer(PlainTrainer):
    """Read every prefix, padded to full length, by RecBole's forward pass, unchanged.

    BERT4Rec's runs on masks at the places that ours has; its full_sort_predict has a loop over rows.
    """

    def __init__(self, config, model):
        super().__init__(config, model)
        self.scorer.fused = contextlib.nullcontext
        if isinstance(self.scorer, MaskedScorer):
            self.scorer.hidden_at = lambda masked, _, place: model.gather_indexes(model(masked), place).unsqueeze(1)


def trained_target(config):
    """Return the target at its best validation epoch."""
    data = build_dataset(config)
    train, valid, _ = build_loaders(config, data)
    torch.manual_seed(1)
    trainer = TargetTrainer(config, config.model_class(config, data))
    trainer.fit(train, valid, verbose=False)
    trainer.load_saved()
    return trainer.model


PADDED = "RecBole's forward pass, padded", "this package's, padded"
KINDS = {
    "ours": (ExtractionTrainer, None),
    PADDED[0]: (RecBoleTrainer, None),
    PADDED[1]: (PlainTrainer, None),
    "one length per batch": (ExtractionTrainer, OneLengthLoader),
}


def side(kind, seed, config, log, n_items):
    """Return a trainer of a new surrogate, and its loaders of training and of held-out queries."""
    torch.manual_seed(seed)
    surrogate, its_config = create_surrogate(config, n_items)
    its_config["seed"] = seed
    cls, loader = KINDS[kind]
    trainer = cls(its_config, surrogate)
    train, held = trainer.loaders(log)
    if loader is not None:
        train = loader(train.log, config, trainer.batch_size, train.generator)
    return trainer, train, held


def main(words):
    parser = Parser(prog="surrogate")
    parser.add_argument("--model", default="BERT4Rec")
    parser.add_argument("--sequences", type=positive, default=300)
    parser.add_argument("--target_epochs", type=positive, default=60)
    parser.add_argument("--epochs", type=positive, default=6)
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    given, settings = options_and_settings(parser, words)
    with tempfile.TemporaryDirectory() as folder:
        compare(given, settings, folder)


def compare(given, settings, folder):
    """Print throughput and held-out agreement of each kind of batch."""
    fixed = {"epochs": given.target_epochs, "query_sequences": given.sequences, "show_progress": False}
    training = {"surrogate_epochs": given.epochs, "surrogate_patience": given.epochs}
    config = Config(given.model, config_dict=fixed | training, command_line=settings)
    write_below(config, folder)
    box = BlackBox(trained_target(config), config["served_k"])
    draw, length = torch.Generator().manual_seed(2), config["MAX_ITEM_LIST_LENGTH"]
    log = create_query_strategy("autoregressive").query(box, given.sequences, length, draw, False)
    print(machine())
    plain, lean, ours = (side(kind, 0, config, log, box.n_items)[:2] for kind in (*PADDED, "ours"))
    for trainer, _ in (plain, lean, ours):
        trainer.epochs = 1
    print(f"{given.model}, {log.n_lists} lists of a target after {given.target_epochs} epochs, {len(ours[1])} steps")
    for kind, padded in zip(PADDED, (plain, lean), strict=True):
        calls = [functools.partial(epoch, trainer.fit, loader) for trainer, loader in (padded, ours)]
        times = paired(*calls, given.rounds, lambda call: call())
        print("  " + ratio_line(f"epoch, {kind} / ours", *times), flush=True)
    for kind in ("ours", PADDED[0], "one length per batch") if given.seeds else ():
        agreement = []
        for seed in given.seeds:
            trainer, loader, held = side(kind, seed, config, log, box.n_items)
            trainer.fit(loader, held, verbose=False)
            agreement.append(trainer.held_out_figures(held)["agreement@10"])
        each = " ".join(f"{value:.3f}" for value in agreement)
        mean = statistics.mean(agreement)
        print(f"  {kind}: held-out agreement@10 {mean:.3f} ({each}), {given.epochs} epochs", flush=True)


if __name__ == "__main__":
    command(__file__, main)
