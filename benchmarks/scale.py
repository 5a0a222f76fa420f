"""Memory and seconds at the size of ML-20M, and how they grow up to it.

    python benchmarks/scale.py [--parts 16 4 1] [--steps=20] [--picture=benchmarks/scale.png]

Writes synthetic atomic files with ML-20M's statistics (Table 1 of the paper: 138 493 users, 18 345 items, 144.3
interactions per user; lengths and popularity long-tailed), as a whole and for every n-th user, in a temporary folder.
For each, in a process of its own: build the dataset with rows of 200 items, then train steps of GRO with the batch of
the authors' ML-20M run.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from common import command, epoch, in_child, machine, now, output_file, peak_mib, positive, write_below

from recbole_gro import Config, GROTrainer
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.utils.command_line import Parser
from recbole_gro.utils.errors import UserError

USERS, ITEMS, MEAN_LENGTH, SHORTEST = 138_493, 18_345, 144.3, 20
MOST_PARTS = 768  # with more of them, the users of one part do not see all items
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
    users = USERS // part
    sigma = 1.1
    lengths = SHORTEST + draw.lognormal(np.log(MEAN_LENGTH - SHORTEST) - sigma**2 / 2, sigma, users).astype(int)
    chance = 1 / (np.arange(ITEMS) + 50.0) ** 1.1
    items = draw.choice(ITEMS, int(lengths.sum()), p=chance / chance.sum())
    items[:ITEMS] = draw.permutation(ITEMS)  # every item occurs
    user = np.repeat(np.arange(users), lengths)
    clock = 1_000_000_000 + np.arange(len(user)) * 7 % 200_000_000
    file = folder / "like-ml-20m" / "like-ml-20m.inter"
    file.parent.mkdir(parents=True, exist_ok=True)
    names = ["user_id:token", "item_id:token", "timestamp:float"]
    pd.DataFrame(dict(zip(names, (user, items, clock), strict=True))).to_csv(file, sep="\t", index=False)
    return len(user)


def measure(folder: str, steps: int) -> None:
    """Print the figures of one size, measured in this process, as JSON."""
    config = Config("BERT4Rec", "like-ml-20m", config_dict={**SETTINGS, "data_path": folder, "gro_epochs": 1})
    write_below(config, folder)
    start = now()
    data = build_dataset(config)
    train, *_ = build_loaders(config, data)
    found = {"set_up_s": now() - start, "set_up_mib": peak_mib()}
    trainer = GROTrainer(config, config.model_class(config, data))
    found["gro_step_s"] = epoch(trainer.fine_tune, train, steps) / len(train)
    print(json.dumps(found | {"peak_mib": peak_mib()}))


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
    print("| users | interactions | set-up s | after set-up MiB | GRO step s | peak MiB |")
    print("|---:|---:|---:|---:|---:|---:|")
    rows = []
    for part in given.parts:
        with tempfile.TemporaryDirectory() as folder:
            interactions = write(Path(folder), part)
            row = in_child(__file__, f"--folder={folder}", f"--steps={given.steps}")
        rows.append({"interactions": interactions, **row})
        print(
            f"| {USERS // part} | {interactions} | {row['set_up_s']:.0f} | {row['set_up_mib']:.0f} "
            f"| {row['gro_step_s']:.2f} | {row['peak_mib']:.0f} |",
            flush=True,
        )
    if given.picture:
        draw_picture(rows, given.picture)


if __name__ == "__main__":
    command(__file__, main)
