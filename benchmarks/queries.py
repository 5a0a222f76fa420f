"""Autoregressive queries: as the service answers them, against every step padded to full length.

    python benchmarks/queries.py [--model=BERT4Rec] [--sequences=1000] [--rounds=3] [--KEY=VALUE ...]

For models around a GRU also: every history read anew, without the state that is carried from query to query.
"""

import torch
from common import command, machine, paired, positive, ratio_line
from recbole.data.transform import construct_transform

from recbole_gro import BlackBox, Config, Service, create_query_strategy
from recbole_gro.data import build_dataset
from recbole_gro.scoring import RecurrentScorer
from recbole_gro.utils.command_line import Parser, options_and_settings
from recbole_gro.utils.ranking import top_k


class Anew(Service):
    """Keep no state between queries: read every history anew."""

    padded = False

    def __init__(self, model, k):
        super().__init__(model, k)
        self.scorer.any_length = self.scorer.any_length and not self.padded

    @torch.no_grad()
    def recommend(self, sequences):
        self.model.eval()
        parts = zip(*(column.split(1024) for column in self.histories(sequences)), strict=True)
        return torch.cat([top_k(self.scorer.next_item_scores(*part), self.k) for part in parts])


class Padded(Anew):
    """Keep no state, and pad every history to full length."""

    padded = True


def main(words):
    parser = Parser(prog="queries")
    parser.add_argument("--sequences", type=positive, default=1000)
    parser.add_argument("--model", default="BERT4Rec")
    parser.add_argument("--rounds", type=positive, default=3)
    given, settings = options_and_settings(parser, words)
    config = Config(given.model, command_line=settings)
    data = build_dataset(config)
    construct_transform(config)
    length, strategy, logs = config["MAX_ITEM_LIST_LENGTH"], create_query_strategy("autoregressive"), {}

    def run(service_class):
        torch.manual_seed(1)
        box = BlackBox(service_class(config.model_class(config, data), config["served_k"]))
        draw = torch.Generator().manual_seed(2)
        logs[service_class] = strategy.query(box, given.sequences, length, draw, False)

    print(machine())
    print(f"{given.model}, {given.sequences} sequences of {length} items, lists of {config['served_k']}", flush=True)
    recurrent = isinstance(Service(config.model_class(config, data), config["served_k"]).scorer, RecurrentScorer)
    for other in (Padded, Anew)[: 1 + recurrent]:
        slow, fast = paired(lambda other=other: run(other), lambda: run(Service), given.rounds)
        print("  " + ratio_line(f"time, {other.__name__.lower()} / ours", slow, fast))
        same = (logs[other].lists == logs[Service].lists).float().mean()
        queried = (logs[other].sequences == logs[Service].sequences).all(1).float().mean()
        print(f"  {queried:.2%} of the sequences the same, {same:.2%} of the list entries", flush=True)
    print(f"  {given.sequences / min(fast):.0f} sequences per second")


if __name__ == "__main__":
    command(__file__, main)
