"""Lists of 100 out of a million items for 1000 sequences: time and memory above the model's own.

    python benchmarks/serving.py [--items=1000000] [--sequences=1000] [--rounds=9]

Then the ranking alone, by groups of items against ranking all of them, at several sizes up to `--items`; and what a
list-level defense takes beside the scoring, for as many sequences and the 1682 items of ml-100k.
"""

import torch
from common import command, machine, paired, peak_mib, positive, ratio_line, seconds, width_of
from recbole.data.transform import construct_transform

from recbole_gro import Config, Service, create_defense
from recbole_gro.attack.surrogate_model import SurrogateDataset
from recbole_gro.utils.command_line import Parser
from recbole_gro.utils.ranking import top_k

SIZES = [(800, 1682), (400, 18_344), (16, 1_000_000)]  # lists, items
OUTPUT_SIDES = ["none", "random", "tail_shuffle", "tail_random", "tail_decoy", "truncate"]


def ranking(n_lists, n_items, rounds, k=100):
    scores = torch.randn(n_lists, n_items + 1, generator=torch.Generator().manual_seed(1))
    everything, grouped = paired(lambda: scores[:, 1:].topk(k).indices + 1, lambda: top_k(scores, k), rounds)
    same = torch.equal(scores[:, 1:].topk(k).values, scores.gather(1, top_k(scores, k)))
    print(
        "  " + ratio_line(f"{n_lists} lists of {n_items} items, all / by groups", everything, grouped),
        f"same: {same}",
    )


def model_of(config, n_items):
    construct_transform(config)
    return config.model_class(config, SurrogateDataset(config, n_items + 1))


def defended(model_name, n_sequences, rounds, n_items=1682):
    """Print the seconds of a query without a defense, and of the output step of each defense on the same query."""
    config = Config(model_name, config_dict={**width_of(model_name), "random_keyed": True})
    model = model_of(config, n_items)
    sequences = torch.randint(1, n_items + 1, (n_sequences, config["MAX_ITEM_LIST_LENGTH"]))
    handed = []
    scoring = min(seconds(lambda: Service(model, 100).recommend(sequences)) for _ in range(rounds))
    print(f"  {model_name}, {n_sequences} sequences, {n_items} items: {1e3 * scoring:.1f} ms without a defense")
    Service(model, 100, lambda ranked, query: handed.append((ranked, query)) or ranked).recommend(sequences)
    for name in OUTPUT_SIDES:
        answer = create_defense(name, config).answer
        took = min(seconds(lambda answer=answer: [answer(*part) for part in handed]) for _ in range(rounds))
        print(f"    {name}: {1e3 * took:.1f} ms more, {took / scoring:.1%}")


def main(words):
    parser = Parser(prog="serving")
    parser.add_argument("--items", type=positive, default=1_000_000)
    parser.add_argument("--sequences", type=positive, default=1000)
    parser.add_argument("--rounds", type=positive, default=9)
    parser.add_argument("--model", default="BERT4Rec")
    given = parser.parse_args(words)
    config = Config(given.model, config_dict=width_of(given.model))
    model = model_of(config, given.items)
    service = Service(model, 100)
    sequences = torch.randint(1, given.items + 1, (given.sequences, config["MAX_ITEM_LIST_LENGTH"]))
    before = peak_mib()
    took = seconds(lambda: service.recommend(sequences))
    weights = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
    print(machine())
    print(f"{given.model}, {given.items} items (weights {weights:.0f} MiB), {given.sequences} sequences: {took:.1f} s")
    print(f"peak memory {peak_mib() - before:.0f} MiB above the {before:.0f} MiB before the first query")
    for n_lists, n_items in SIZES:
        if n_items <= given.items:
            ranking(n_lists, n_items, given.rounds)
    defended(given.model, given.sequences, given.rounds)


if __name__ == "__main__":
    command(__file__, main)
