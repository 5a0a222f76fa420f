"""A step of GRO and of a surrogate whose losses read the scores of listed items and negatives, or those of all items.

    python benchmarks/picked_scores.py [--models BERT4Rec GRU4Rec NARM SASRec] [--items 1682 3416 20000] [--steps 10]
        [--rounds=3] [--length=50] [--stages GRO surrogate] [--KEY=VALUE ...]

Nothing is loaded: sequences and lists of 100 items are drawn at random. The last column shows how much the losses of
the first pass differ, which both sides compute from equal weights and draws.
"""

import contextlib
import functools
import statistics
import sys
import tempfile
from pathlib import Path

import torch
from common import Timed, command, machine, paired, positive, write_below
from paper_scale import sample

from recbole_gro import BlackBox, Config, ExtractionTrainer, GROTrainer, create_query_strategy, create_surrogate
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.scoring import picked_scores, score_blocks
from recbole_gro.utils.command_line import Parser, options_and_settings
from recbole_gro.utils.patching import replaced

LISTS = 100
MOST = 4096  # training positions of a batch


def surrogate_stage(config, n_items, length, steps):
    """Return a function that makes a surrogate's fit and the loader of its lists, the same every time."""
    target, _ = create_surrogate(config, n_items)
    n = 3 + 3 * steps * config["surrogate_batch_size"] // length
    generator = torch.Generator().manual_seed(1)
    log = create_query_strategy("random", {}).query(BlackBox(target, LISTS), n, length, generator)

    def new():
        surrogate, own = create_surrogate(config, n_items)
        trainer = ExtractionTrainer(own, surrogate)
        return trainer, trainer.fit, trainer.loaders(log)[0]

    return new


def training_stage(trainer_class, fit):
    """Return the stage of a trainer's method `fit`: a function that makes it and the loader of its rows."""

    def stage(config, *_):
        def new():
            train, *_ = build_loaders(config, build_dataset(config))
            trainer = trainer_class(config, config.model_class(config, train._dataset))
            return trainer, getattr(trainer, fit), train

        return new

    return stage


gro_stage = training_stage(GROTrainer, "fit_gro")


STAGES = {"GRO": gro_stage, "surrogate": surrogate_stage}


def first_pass(new, steps, change):
    """Return the seconds of the first `steps` batches of a new trainer, and the loss that it reports for them."""
    torch.manual_seed(1)
    trainer, fit, loader = new()
    timed = Timed(loader, steps, warm_up=1)
    with change:
        fit(timed, verbose=False, saved=False)
    loss = next(iter(trainer.train_loss_dict.values()))
    return timed.seconds[0], sum(loss) if isinstance(loss, tuple) else loss


@contextlib.contextmanager
def few_is(few):
    """Let items be few where a catalogue has `few` times as many, and take no blocks of positions, inside the block."""
    with replaced(picked_scores, "FEW", few), replaced(score_blocks, "LARGE", sys.maxsize):
        yield


def compare(words, name, stages, items, **sides):
    """Print a table of the ratios of two sides for each stage, model and size of the catalogue.

    Args:
        words: of the command line.
        name: of the command.
        stages: functions from a config, the number of items, the length and the steps to one that starts the stage.
        items: sizes of the catalogue.
        sides: two functions from the number of items to a block, by name.
    """
    parser = Parser(prog=name)
    parser.add_argument("--models", nargs="+", default=["BERT4Rec", "GRU4Rec", "NARM", "SASRec"])
    parser.add_argument("--items", nargs="+", type=positive, default=items)
    parser.add_argument("--stages", nargs="+", default=list(stages), choices=list(stages))
    parser.add_argument("--steps", type=positive, default=10, help="that are timed, after one")
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--length", type=positive, default=50, help="items of a sequence")
    given, settings = options_and_settings(parser, words)
    print(machine())
    print(f"| model | stage | items | {' / '.join(sides)} | difference of the losses |\n|---|---|---:|---:|---:|")
    for n in given.items:
        for model in given.models:
            for stage in given.stages:
                print(line((model, stage, n), stages[stage], sides, given, settings), flush=True)


def line(cells, stage, sides, given, settings):
    """Return the row of a table for one stage of one model at one size of the catalogue."""
    model, stage_name, items = cells
    with tempfile.TemporaryDirectory() as folder:
        users = max((given.steps + 2) * MOST // given.length, -(-items // given.length))
        sample(Path(folder), "sample", items, given.length, users)
        fixed = {"data_path": folder, "MAX_ITEM_LIST_LENGTH": given.length, "gro_epochs": 1, "gro_steps": 1}
        fixed |= {"surrogate_epochs": 1, "surrogate_min_steps": 1, "epochs": 1}
        fixed |= {"surrogate_model": model, "gro_start": "untrained"}
        config = Config(model, "sample", config_dict=fixed, command_line=settings)
        write_below(config, folder)
        new = stage(config, items + 1, given.length, given.steps)
        losses = []

        def side(change):
            spent, loss = first_pass(new, given.steps, change(items))
            losses.append(loss)
            return spent

        runs = [functools.partial(side, change) for change in sides.values()]
        ratios = [a / b for a, b in zip(*paired(*runs, given.rounds, lambda run: run()), strict=True)]
    span = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return f"| {model} | {stage_name} | {items:,} | {span} | {max(losses) / min(losses) - 1:.0e} |"


def main(words):
    sides = {"all scores": few_is, "picked": lambda _: few_is(picked_scores.FEW)}
    compare(words, "picked_scores", STAGES, [1682, 3416, 20000], **sides)


if __name__ == "__main__":
    command(__file__, main)
