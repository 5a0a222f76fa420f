"""How long the paper's datasets take: items of sequences that each stage reads, times a cost per item.

    python benchmarks/paper_scale.py [--epochs 200] [--surrogate_epochs 20]

Sizes are those of Table 1 (nothing is loaded), settings those of properties/dataset. The cost of an item in a GRO step
is measured here, on data of the dataset's catalogue and sequence length, and so is that of a surrogate's step; a plain
target's step is taken as half a GRO step (benchmarks/gro_epoch.py). Early stopping may spare much.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from common import machine

from recbole_gro import Config, ExtractionTrainer, GROTrainer, QueryLog, create_surrogate
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.data.statistics import PAPER
from recbole_gro.scoring import create_scorer

STEPS = 6  # timed, after one that is not


def sample(folder, name, n_items, length, users):
    """A dataset of that many users, each with `length` + 2 random items, and every item somewhere."""
    generator = torch.Generator().manual_seed(1)
    items = torch.randint(n_items, (users, length + 2), generator=generator)
    spread = torch.randperm(n_items, generator=generator)[: items.numel()]
    items.view(-1)[: len(spread)] = spread
    (folder / name).mkdir()
    with open(folder / name / f"{name}.inter", "w") as file:
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for user, row in enumerate(items.tolist()):
            file.writelines(f"u{user}\ti{item}\t{t}\n" for t, item in enumerate(row))


def costs(dataset):
    """Seconds an item of a GRO step and of a surrogate's step, at the dataset's catalogue, lengths and batch."""
    shaped = Config("BERT4Rec", dataset)
    length, batch = shaped["MAX_ITEM_LIST_LENGTH"], shaped["train_batch_size"]
    users = max(2 * batch, -(-PAPER[dataset].items // (length + 2)))
    with tempfile.TemporaryDirectory() as folder:
        sample(Path(folder), "sample", PAPER[dataset].items, length, users)
        keys = ("MAX_ITEM_LIST_LENGTH", "train_batch_size", "mask_ratio", "hidden_dropout_prob", "attn_dropout_prob")
        given = {key: shaped[key] for key in keys}
        config = Config("BERT4Rec", "sample", config_dict={**given, "data_path": folder, "checkpoint_dir": folder})
        train, *_ = build_loaders(config, build_dataset(config))
        model = config.model_class(config, train._dataset)
        trainer = GROTrainer(config, model)
        trainer.student_scorer = create_scorer(trainer._new_student(train._dataset))
        trainer._start_gro_phase(1)
        rows = next(iter(train))
        gro = timed(lambda: step(trainer, sum(trainer.gro_losses(rows))))
        surrogate, its_config = create_surrogate(config, model.n_items)
        thief = ExtractionTrainer(its_config, surrogate)
        asked = torch.randint(1, model.n_items, (20, length))
        log = QueryLog(asked, torch.rand(20 * length, model.n_items - 1).topk(100).indices.view(20, length, 100) + 1)
        queries = next(iter(thief.loaders(log)[0]))
        steal = timed(lambda: step(thief, thief.stage_loss(queries)))
    read = rows[model.ITEM_SEQ].count_nonzero() if model.ITEM_SEQ in rows else batch * length
    return gro / float(read), steal / float(queries[model.ITEM_SEQ_LEN].sum())


def step(trainer, loss):
    trainer.optimizer.zero_grad()
    loss.backward()
    trainer.optimizer.step()


def timed(call):
    call()
    start = time.perf_counter()
    for _ in range(STEPS):
        call()
    return (time.perf_counter() - start) / STEPS


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--surrogate_epochs", type=int, default=20)
    parser.add_argument("--query_sequences", type=int, default=3000)
    given = parser.parse_args()
    print(machine())
    print("| dataset | microseconds an item: GRO, surrogate | target, h | GRO, h | one surrogate, h |")
    print("|---|---|---:|---:|---:|")
    for dataset in ("ml-1m", "ml-20m", "steam"):
        config = Config("BERT4Rec", dataset)
        size, length = PAPER[dataset], config["MAX_ITEM_LIST_LENGTH"]
        items = size.users * size.mean_length
        prefixes = given.query_sequences * length * (length + 1) / 2
        gro, steal = costs(dataset)
        hours = [
            given.epochs * items * gro / 2,
            config["gro_epochs"] * items * gro,
            given.surrogate_epochs * prefixes * steal,
        ]
        print(
            f"| {dataset} | {1e6 * gro:.0f}, {1e6 * steal:.0f} | {hours[0] / 3600:.0f} | {hours[1] / 3600:.0f} "
            f"({config['gro_epochs']} epochs) | {hours[2] / 3600:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
