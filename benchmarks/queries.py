"""Autoregressive queries: each step as wide as the histories are against every step padded to full length.

python benchmarks/queries.py [--sequences=1000] [--model=BERT4Rec]
"""

import argparse

import torch
from common import machine, paired, ratio_line
from recbole.data.transform import construct_transform

from recbole_gro import BlackBox, Config, create_query_strategy
from recbole_gro.data import build_dataset
from recbole_gro.service import Service


def black_box(config, data, trimmed):
    torch.manual_seed(1)
    service = Service(config.model_class(config, data), config["served_k"])
    service.scorer.any_length = trimmed
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
    ask = create_query_strategy("autoregressive")
    logs = {}

    def run(trimmed):
        logs[trimmed] = ask(
            black_box(config, data, trimmed), given.sequences, length, torch.Generator().manual_seed(2), False
        )

    print(machine())
    padded, trimmed = paired(lambda: run(False), lambda: run(True), given.rounds)
    print(f"{given.model}, {given.sequences} sequences of {length} items, lists of {config['served_k']}")
    print(f"  same sequences asked: {torch.equal(logs[True].sequences, logs[False].sequences)}")
    print("  " + ratio_line("time, padded / trimmed", padded, trimmed))
    print(f"  {given.sequences / min(trimmed):.0f} sequences a second")
