"""Surrogate training: batches of one prefix length against shuffled prefixes padded to full length.

    python benchmarks/surrogate.py [--sequences=300] [--model=BERT4Rec]

One epoch of each in turn on the same log; then both train from the same weights on the same number of lists and
agreement@10 on held-out queries is compared.
"""

import argparse
import math
import tempfile

import torch
from common import machine, paired, ratio_line
from recbole.data.interaction import Interaction
from recbole.data.transform import construct_transform

from recbole_gro import BlackBox, Config, ExtractionTrainer, create_query_strategy, create_surrogate
from recbole_gro.data import build_dataset
from recbole_gro.data.query_log import LISTED, QueryLoader


class ShuffledLoader(QueryLoader):
    """The plain way: any prefixes together, padded to the length of the sequences."""

    def __len__(self):
        return math.ceil(self.log.n_lists / self.batch_size)

    def __iter__(self):
        longest = self.log.sequences.shape[1]
        for part in torch.randperm(self.log.n_lists, generator=self.generator).split(self.batch_size):
            row, t = part // longest, part % longest
            filled = torch.arange(longest) <= t.unsqueeze(1)
            yield Interaction(
                {
                    self.sequence_field: self.log.sequences[row] * filled,
                    self.length_field: t + 1,
                    LISTED: self.log.lists[row, t].long(),
                }
            )


def thief(config, n_items):
    torch.manual_seed(3)
    surrogate, surrogate_config = create_surrogate(config, n_items)
    return ExtractionTrainer(surrogate_config, surrogate)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--sequences", type=int, default=300)
    parser.add_argument("--model", default="BERT4Rec")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    given = parser.parse_args()
    config = Config(given.model, config_dict={"surrogate_epochs": given.epochs, "show_progress": False})
    config["checkpoint_dir"] = config["output_dir"] = tempfile.mkdtemp()
    data = build_dataset(config)
    construct_transform(config)
    torch.manual_seed(1)
    box = BlackBox(config.model_class(config, data), config["served_k"])
    log = create_query_strategy("autoregressive")(
        box, given.sequences, config["MAX_ITEM_LIST_LENGTH"], torch.Generator().manual_seed(2), False
    )
    ours, plain = thief(config, box.n_items), thief(config, box.n_items)
    by_length, held = ours.loaders(log)
    shuffled = ShuffledLoader(by_length.log, config, by_length.batch_size, torch.Generator().manual_seed(4))
    plain.scorer.any_length = False
    print(machine())
    print(f"{given.model}, {log.n_lists} lists, batches of {by_length.batch_size}")
    slow, fast = paired(lambda: plain._train_epoch(shuffled, 0), lambda: ours._train_epoch(by_length, 0), given.rounds)
    print("  " + ratio_line("epoch, shuffled and padded / one length a batch", slow, fast))
    for name, loader in (("shuffled and padded", shuffled), ("one length a batch", by_length)):
        trainer = thief(config, box.n_items)
        trainer.fit(loader, held, verbose=False)
        _, result = trainer._valid_epoch(held)
        learned = f"held-out agreement@10 {result['agreement@10']:.3f}, loss {result['loss']:.4f}"
        print(f"  {name}: {learned} after {given.epochs} epochs")
