"""Parts of a step of surrogate training, and how much faster it could be.

    python benchmarks/surrogate_parts.py [--model=BERT4Rec] [--steps=20]

A profile of training steps on random lists of ml-100k's catalogue; the time of a step does not depend on their
contents. The rate of the matrix products is compared with that of a product of the same width alone.
"""

import itertools
import tempfile

import torch
from common import command, machine, positive, seconds, write_below

from recbole_gro import Config, ExtractionTrainer, QueryLog, create_surrogate
from recbole_gro.utils.command_line import Parser
from recbole_gro.utils.errors import UserError

WARM_UP = 3  # steps before the clock starts
N_ITEMS = 1683  # ml-100k, padding included
PRODUCTS = ("mm", "addmm", "bmm")
PARTS = {
    "matrix products": PRODUCTS,
    "random numbers of dropout": ("bernoulli_",),
    "activations, layer norms": (
        *("gelu", "gelu_backward", "tanh", "tanh_", "sigmoid", "sigmoid_"),
        *("native_layer_norm", "native_layer_norm_backward"),
    ),
    "optimizer": ("lerp_", "addcmul_", "addcdiv_", "sqrt", "Optimizer.step#Adam.step"),
}


def trainer_and_batches(model, sequences, folder):
    """Return a surrogate's trainer and its batches of random lists of 100 for every prefix of random sequences."""
    config = Config(model, "ml-100k", config_dict={"show_progress": False})
    write_below(config, folder)
    length, draw = config["MAX_ITEM_LIST_LENGTH"], torch.Generator().manual_seed(1)
    lists = torch.rand(sequences, length, N_ITEMS - 1, generator=draw).topk(100).indices + 1
    items = torch.randint(1, N_ITEMS, (sequences, length), generator=draw)
    surrogate, surrogate_config = create_surrogate(config, N_ITEMS)
    trainer = ExtractionTrainer(surrogate_config, surrogate)
    trainer.model.train()
    return trainer, trainer.loaders(QueryLog(items, lists))[0]


def steps(trainer, batches):
    for batch in batches:
        trainer.optimizer.zero_grad()
        trainer.stage_loss(batch).backward()
        trainer.optimizer.step()


def product_rate(rows=6656, width=64, inner=256, rounds=50):
    """Return GFLOP/s of one product of BERT4Rec's feed-forward layer."""
    one, other = torch.rand(rows, width), torch.rand(width, inner)
    spent = seconds(lambda: [one @ other for _ in range(rounds)])
    return 2 * rows * width * inner * rounds / spent / 1e9


def main(words):
    parser = Parser(prog="surrogate_parts")
    parser.add_argument("--model", default="BERT4Rec")
    parser.add_argument("--steps", type=positive, default=20)
    parser.add_argument("--sequences", type=positive, default=150)
    given = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        trainer, loader = trainer_and_batches(given.model, given.sequences, folder)
        batches = list(itertools.islice(iter(loader), given.steps + WARM_UP))
        if len(batches) <= WARM_UP:
            raise UserError(f"sequences: {given.sequences} make {len(batches)} batches; more than {WARM_UP} are needed")
        print(machine())
        parts(given.model, trainer, batches)


def parts(model, trainer, batches):
    """Print the CPU time of a step, and the share of each part of it."""
    measured = batches[WARM_UP:]
    steps(trainer, batches[:WARM_UP])
    spent = seconds(lambda: steps(trainer, measured)) / len(measured)
    lists = sum(len(batch["served_list"]) for batch in measured) / len(measured)
    print(f"{model}: {1e3 * spent:.1f} ms a step of {lists:.0f} lists, {lists / spent:.0f} lists a second")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], with_flops=True) as profiler:
        steps(trainer, measured)
    events = {event.key.removeprefix("aten::"): event for event in profiler.key_averages()}
    total = sum(event.self_cpu_time_total for event in events.values())
    times = {part: sum(events[op].self_cpu_time_total for op in ops if op in events) for part, ops in PARTS.items()}
    for part, took in {**times, "all else": total - sum(times.values())}.items():
        print(f"  {part}: {100 * took / total:.0f} %")
    work = sum(events[op].flops for op in PRODUCTS if op in events) / len(measured)
    products = times["matrix products"] / total
    print(
        f"  matrix products: {work / 1e9:.2f} GFLOP a step, {work / (products * spent) / 1e9:.0f} GFLOP/s; a product "
        f"of [6656, 64] and [64, 256] alone: {product_rate():.0f} GFLOP/s; were all else free: {1 / products:.2f} times"
    )


if __name__ == "__main__":
    command(__file__, main)
