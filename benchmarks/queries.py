"""Autoregressive queries: as the service answers them, against every step padded to full length.

    python benchmarks/queries.py [--model=BERT4Rec] [--sequences=1000]

For models around a GRU also: every history read anew, without the state that is carried from query to query.
"""

import argparse

import torch
from common import machine, paired, ratio_line
from recbole.data.transform import construct_transform

from recbole_gro import BlackBox, Config, create_query_strategy
from recbole_gro.data import build_dataset
from recbole_gro.scoring import RecurrentScorer
from recbole_gro.serving.service import Service


class AnewEachTime:
    """Stands for a session and remembers nothing."""

    def __init__(self, scorer):
        self.scores = scorer.next_item_scores


def black_box(config, data, way):
    torch.manual_seed(1)
    service = Service(config.model_class(config, data), config["served_k"])
    service.scorer.any_length = way != "padded"
    if way != "ours":
        service._session = lambda part, remembered: AnewEachTime(service.scorer)
    return BlackBox(service)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--sequences", type=int, default=1000)
    parser.add_argument("--model", default="BERT4Rec")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    config = Config(given.model)
    data = build_dataset(config)
    construct_transform(config)
    length = config["MAX_ITEM_LIST_LENGTH"]
    ask = create_query_strategy("autoregressive").query
    logs = {}

    def run(way):
        box = black_box(config, data, way)
        logs[way] = ask(box, given.sequences, length, torch.Generator().manual_seed(2), False)
        return box

    print(machine())
    print(f"{given.model}, {given.sequences} sequences of {length} items, lists of {config['served_k']}", flush=True)
    recurrent = isinstance(run("ours")._service.scorer, RecurrentScorer)
    for way in ["padded", "anew"][: 1 + recurrent]:
        slow, ours = paired(lambda way=way: run(way), lambda: run("ours"), given.rounds)
        print("  " + ratio_line(f"time, {way} / ours", slow, ours))
        same = (logs[way].lists == logs["ours"].lists).float().mean()
        asked = (logs[way].sequences == logs["ours"].sequences).all(1).float().mean()
        print(f"  {asked:.2%} of the sequences the same, {same:.2%} of the list entries", flush=True)
    print(f"  {given.sequences / min(ours):.0f} sequences a second")
