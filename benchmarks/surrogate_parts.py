"""Parts of a step of surrogate training, and how much faster it could be.

    python benchmarks/surrogate_parts.py [--model=BERT4Rec] [--steps=20]

A profile of training steps on random lists of ml-100k's catalogue; the time of a step does not depend on their
contents. The rate of the matrix products is compared with that of a product of the same width alone.
"""

import contextlib
import itertools
import tempfile
from collections import Counter

import torch
from common import command, machine, positive, seconds, write_below

from recbole_gro import Config, ExtractionTrainer, QueryLog, create_surrogate
from recbole_gro.attack import surrogate_trainer
from recbole_gro.scoring import MaskedScorer
from recbole_gro.utils.command_line import Parser
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.patching import replaced

WARM_UP = 3  # steps before the clock starts
N_ITEMS = 1683  # ml-100k, padding included
PRODUCTS = ("mm", "addmm", "bmm")
SCORES, LAYERS = "matrix products: scores of the catalogue", "matrix products: linear layers"
PARTS = {
    LAYERS: ("mm", "addmm"),
    "matrix products: attention": ("bmm",),
    "random numbers of dropout": ("bernoulli_",),
    "activations, layer norms, softmax": (
        *("gelu", "gelu_backward", "tanh", "tanh_", "sigmoid", "sigmoid_"),
        *("native_layer_norm", "native_layer_norm_backward", "_softmax", "_softmax_backward_data"),
    ),
    "sums, products by element, copies": ("add", "add_", "mul", "mul_", "div", "div_", "sum", "copy_"),
}
BETWEEN = "Python between operations"
# functions all of whose operations make one part, but for those of the encoder that packed rows are made for
ENCODER = "encoder"
FUNCTIONS = {
    "packing": (MaskedScorer, "hidden_at"),
    ENCODER: (MaskedScorer, "_encoded"),
    "negatives": (surrogate_trainer, "sample_negatives"),
    "Eq. 4, forward": (surrogate_trainer, "extraction_loss"),
    "optimizer": (torch.optim.Adam, "step"),
}


def trainer_and_batches(model, sequences, folder):
    """Return a surrogate's trainer and its batches of random lists of 100 for every prefix of random sequences."""
    config = Config(model, "ml-100k", config_dict={"show_progress": False, "surrogate_min_steps": 1})
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
    """Return GFLOP/s of one product of BERT4Rec's feed-forward layer, into the same memory each time."""
    one, other, product = torch.rand(rows, width), torch.rand(width, inner), torch.empty(rows, inner)
    spent = min(seconds(lambda: torch.mm(one, other, out=product)) for _ in range(rounds))
    return 2 * rows * width * inner / spent / 1e9


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
    with contextlib.ExitStack() as stack:
        for part, (owner, name) in FUNCTIONS.items():
            stack.enter_context(replaced(owner, name, recorded(getattr(owner, name), part)))
        profiler = stack.enter_context(torch.profiler.profile(record_shapes=True, with_flops=True))
        recorded(steps, BETWEEN)(trainer, measured)
    times, work = Counter(), 0
    for event in profiler.events():
        times[part_of(event)] += event.self_cpu_time_total
        work += event.flops or 0 if operation(event) in PRODUCTS else 0
    shares = {part: took / times.total() for part, took in times.most_common()}
    for part, share in shares.items():
        print(f"  {part}: {100 * share:.1f} %")
    products = sum(share for part, share in shares.items() if part.startswith("matrix products"))
    print(
        f"  matrix products: {100 * products:.0f} %, {work / len(measured) / 1e9:.2f} GFLOP a step, "
        f"{work / len(measured) / (products * spent) / 1e9:.0f} GFLOP/s; a product of [6656, 64] and [64, 256] alone: "
        f"{product_rate():.0f} GFLOP/s; were all else free: {1 / products:.2f} times"
    )


def recorded(call, name):
    """Return a function whose operations the profiler finds below an event of a name."""

    def named(*arguments, **options):
        with torch.profiler.record_function(name):
            return call(*arguments, **options)

    return named


def operation(event):
    return event.name.removeprefix("aten::")


def part_of(event):
    """Return the part of a step that an event of the profiler belongs to."""
    above = event
    while above is not None and above.name != ENCODER:
        if above.name in FUNCTIONS:
            return above.name
        above = above.cpu_parent
    if event.name in (ENCODER, BETWEEN):
        return BETWEEN
    if operation(event) in PRODUCTS and any(N_ITEMS in shape for shape in event.input_shapes if shape):
        return SCORES
    return next((part for part, operations in PARTS.items() if operation(event) in operations), "all else")


if __name__ == "__main__":
    command(__file__, main)
