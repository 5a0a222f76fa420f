"""Lists of 100 out of a million items for 1000 sequences: time and memory above the model's own.

    python benchmarks/serving.py [--items=1000000] [--sequences=1000]

Then the ranking alone, by groups of items against ranking all of them, at several sizes.
"""

import argparse

import torch
from common import machine, paired, peak_mib, ratio_line, seconds
from recbole.data.transform import construct_transform

from recbole_gro import Config, Service
from recbole_gro.attack.extraction import Catalogue
from recbole_gro.top_k import top_k

SIZES = [(800, 1682), (400, 18_344), (16, 1_000_000)]  # lists, items


def ranking(n_lists, n_items, k=100, rounds=9):
    scores = torch.randn(n_lists, n_items + 1, generator=torch.Generator().manual_seed(1))
    everything, grouped = paired(lambda: scores[:, 1:].topk(k).indices + 1, lambda: top_k(scores, k), rounds)
    same = torch.equal(scores[:, 1:].topk(k).values, scores.gather(1, top_k(scores, k)))
    print(
        "  " + ratio_line(f"{n_lists} lists of {n_items} items, all / by groups", everything, grouped),
        f"same: {same}",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--sequences", type=int, default=1000)
    parser.add_argument("--model", default="BERT4Rec")
    given = parser.parse_args()
    config = Config(given.model, config_dict={"hidden_size": 64, "embedding_size": 64})
    construct_transform(config)
    model = config.model_class(config, Catalogue(config, given.items + 1))
    service = Service(model, 100)
    sequences = torch.randint(1, given.items + 1, (given.sequences, config["MAX_ITEM_LIST_LENGTH"]))
    before = peak_mib()
    took = seconds(lambda: service.recommend(sequences))
    weights = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
    print(machine())
    print(f"{given.model}, {given.items} items (weights {weights:.0f} MiB), {given.sequences} sequences: {took:.1f} s")
    print(f"peak memory {peak_mib() - before:.0f} MiB above the {before:.0f} MiB before the first query")
    for size in SIZES:
        ranking(*size)
