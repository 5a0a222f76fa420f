"""Lists of 100 out of a million items for 1000 sequences: time and memory above the model's own.

python benchmarks/serving.py [--items=1000000] [--sequences=1000]
"""

import argparse

import torch
from common import machine, peak_mib, seconds
from recbole.data.transform import construct_transform

from recbole_gro import Config, Service
from recbole_gro.attack.extraction import Catalogue

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
