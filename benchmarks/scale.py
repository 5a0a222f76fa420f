"""Memory and seconds at the size of ML-20M, and how they grow up to it.

    python benchmarks/scale.py [--parts 16 4 1] [--steps=20] [--picture=benchmarks/scale.png]

Writes synthetic atomic files with the numbers of users, items and interactions of ML-20M as published (lengths and
popularity long-tailed, a user's lines in no order of time), as a whole and for every n-th user, in a temporary folder.
For each, in a process of its own: build the dataset with rows of 200 items, evaluate 5 batches of the test, train
steps of GRO with the batch of the authors' ML-20M run.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from common import command, epoch, in_child, machine, now, output_file, peak_mib, positive, seconds, write_below
from recbole.data.dataloader import FullSortEvalDataLoader

from recbole_gro import Config, GROTrainer, Service
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.evaluator import ServedEvaluator
from recbole_gro.utils.command_line import Parser
from recbole_gro.utils.errors import UserError

USERS, ITEMS, INTERACTIONS, SHORTEST = 138_493, 26_744, 20_000_263, 20
MOST_PARTS = 700  # with more of them, the users of one part do not see all items
SETTINGS = {
    "MAX_ITEM_LIST_LENGTH": 200,
    "train_batch_size": 24,
    "mask_ratio": 0.2,
    "hidden_dropout_prob": 0.1,
    "attn_dropout_prob": 0.1,
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "show_progress": False,
}


def write(folder: Path, part: int) -> int:
    """Write FOLDER/like-ml-20m/like-ml-20m.inter with every `part`-th user; the number of interactions."""
    draw = np.random.default_rng(1)
    users, n = USERS // part, INTERACTIONS // part
    beyond = draw.lognormal(0, 1.1, users)
    lengths = SHORTEST + (beyond / beyond.sum() * (n - SHORTEST * users)).astype(int)
    lengths[: n - lengths.sum()] += 1
    chance = 1 / (np.arange(ITEMS) + 50.0) ** 1.1
    items = draw.choice(ITEMS, n, p=chance / chance.sum())
    items[:ITEMS] = draw.permutation(ITEMS)  # every item occurs
    clock = 1_000_000_000 + draw.integers(0, 400_000_000, n)
    file = folder / "like-ml-20m" / "like-ml-20m.inter"
    file.parent.mkdir(parents=True, exist_ok=True)
    names = ["user_id:token", "item_id:token", "timestamp:float"]
    columns = np.repeat(np.arange(users), lengths), items, clock
    pd.DataFrame(dict(zip(names, columns, strict=True))).to_csv(file, sep="\t", index=False)
    return n


def measure(folder: str, steps: int) -> None:
    """Print the figures of one size, measured in this process, as JSON."""
    config = Config("BERT4Rec", "like-ml-20m", config_dict={**SETTINGS, "data_path": folder, "gro_epochs": 1})
    write_below(config, folder)
    start, cpu = now(), time.process_time()
    data = build_dataset(config)
    train, _, test = build_loaders(config, data)
    found = {"set_up_s": now() - start, "set_up_cpu_s": time.process_time() - cpu, "set_up_mib": peak_mib()}
    trainer = GROTrainer(config, config.model_class(config, data))
    five = first(test, 5)
    evaluator = ServedEvaluator(config, Service(trainer.model, config["served_k"]))
    found["evaluation_batch_s"] = seconds(lambda: evaluator.evaluate(five)) / len(five)
    found["gro_step_s"] = epoch(trainer.fit_gro, train, steps) / len(train)
    print(json.dumps(found | {"peak_mib": peak_mib()}))


def first(loader, batches):
    """Return a loader of the first batches of a loader of test rows."""
    rows = loader._dataset
    # RecBole samples nothing for a sequential model's full ranking
    part = FullSortEvalDataLoader(loader.config, rows.copy(rows.inter_feat[: batches * loader.step]), sampler=None)
    part.transform = loader.transform
    return part


def draw_picture(rows, file) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    memory, seconds = figure.subplots(1, 2)
    size = [row["interactions"] / 1e6 for row in rows]
    memory.plot(size, [row["peak_mib"] / 1024 for row in rows], "o-", color="#3b6ea5")
    memory.set(title="peak resident memory, GiB", xlabel="million interactions", ylim=0)
    seconds.plot(size, [row["set_up_s"] for row in rows], "o-", color="#d1603d")
    seconds.set(title="set-up of the dataset, seconds", xlabel="million interactions", ylim=0)
    figure.savefig(file, dpi=120)


def main(words):
    parser = Parser(prog="scale")
    parser.add_argument("--parts", type=positive, nargs="+", default=[16, 4, 1])
    parser.add_argument("--steps", type=positive, default=20)
    parser.add_argument("--picture", type=output_file)
    parser.add_argument("--folder", help="measure the data in this folder alone")
    given = parser.parse_args(words)
    if given.folder:
        return measure(given.folder, given.steps)
    if max(given.parts) > MOST_PARTS:
        raise UserError(f"parts: {max(given.parts)} leaves too few users for {ITEMS} items; at most {MOST_PARTS}")
    print(machine())
    print("| users | interactions | set-up s | CPU s | after set-up MiB | evaluation batch s | GRO step s | peak MiB |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    rows = []
    for part in given.parts:
        with tempfile.TemporaryDirectory() as folder:
            interactions = write(Path(folder), part)
            row = in_child(__file__, f"--folder={folder}", f"--steps={given.steps}")
        rows.append({"interactions": interactions, **row})
        print(
            f"| {USERS // part} | {interactions} | {row['set_up_s']:.0f} | {row['set_up_cpu_s']:.0f} "
            f"| {row['set_up_mib']:.0f} | {row['evaluation_batch_s']:.2f} | {row['gro_step_s']:.2f} "
            f"| {row['peak_mib']:.0f} |",
            flush=True,
        )
    if given.picture:
        draw_picture(rows, given.picture)


if __name__ == "__main__":
    command(__file__, main)
