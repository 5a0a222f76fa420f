"""Targets trained to convergence on ml-100k: validation and test quality beside published figures.

    python benchmarks/targets.py [--models BERT4Rec SASRec GRU4Rec NARM] [--seeds 1 2] [--search] [--KEY=VALUE ...]

Each row of benchmarks/targets.csv is one training with early stopping on validation NDCG@10, of one model, seed and
setting: by default the packaged one, with --KEY=VALUE another, with --search all of SEARCH. Only rows that are missing
are trained. Settings are compared on validation; the test is shown.
"""

import itertools
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from common import append, command, missing, output_file, rows_of
from tabulate import tabulate

from recbole_gro import Config, run_recbole_gro
from recbole_gro.utils.command_line import Parser, options_and_settings

# HR@10 and NDCG@10 in percent: ml-100k, RecBole's pipeline, length 50; an unpublished table on 1,349 items, so roughly
PUBLISHED = {"SASRec": "12.0 / 5.9", "GRU4Rec": "13.0 / 6.5"}
SEARCHED = {  # what a row's setting says besides the keys of all models
    "BERT4Rec": ("hidden_dropout_prob", "attn_dropout_prob", "hidden_size", "mask_ratio", "mask_last"),
    "SASRec": ("hidden_dropout_prob", "attn_dropout_prob", "hidden_size"),
    "GRU4Rec": ("dropout_prob", "embedding_size", "hidden_size"),
    "NARM": ("dropout_probs", "embedding_size", "hidden_size"),
}
OF_ALL = ("learning_rate", "train_batch_size", "weight_decay", "MAX_ITEM_LIST_LENGTH", "epochs")
SEARCH: dict[str, list[dict[str, Any]]] = {
    "GRU4Rec": [
        {"learning_rate": 0.003},
        {"dropout_prob": 0.5},
        {"embedding_size": 128, "hidden_size": 256, "dropout_prob": 0.5},
        {"weight_decay": 1e-5},
    ],
    "SASRec": [
        {"hidden_dropout_prob": 0.3, "attn_dropout_prob": 0.3},
        {"hidden_size": 128},
        {"learning_rate": 0.0005},
        {"train_batch_size": 1024},
    ],
    "NARM": [
        {"learning_rate": 0.003},
        {"train_batch_size": 512},
        {"dropout_probs": [0.5, 0.5]},
        {"embedding_size": 128, "hidden_size": 256, "dropout_probs": [0.5, 0.5]},
    ],
    "BERT4Rec": [
        {"mask_ratio": 0.4},
        {"learning_rate": 0.002},
        {"hidden_dropout_prob": 0.1, "attn_dropout_prob": 0.1},
        {"hidden_size": 128},
    ],
}
QUALITY = [f"{part} {metric}@10" for part in ("valid", "test") for metric in ("hit", "ndcg")]
COLUMNS = ["model", "seed", "setting", *QUALITY, "converged", "seconds", "threads"]


def setting_of(model: str, given: dict[str, Any]) -> str:
    """Return the searched settings of a model, packaged and given ones alike, as --KEY=VALUE words."""
    config = Config(model, command_line=given)
    values = {key: config[key] for key in [*OF_ALL, *SEARCHED.get(model, ())]} | given
    return " ".join(f"--{key}={str(value).replace(' ', '')}" for key, value in values.items())


def train(model: str, seed: int, setting: str) -> dict[str, Any]:
    """Return the row of one training."""
    given = dict(word[2:].split("=", 1) for word in setting.split())
    alone = {"defense": "none", "attack": False, "references": [], "show_progress": False, "seed": seed}
    start = time.process_time()
    [row] = run_recbole_gro(model, config_dict=alone, command_line=given, saved=False)["defenses"]
    quality = {
        f"{part} {name}": row["target"][part][name] for part in ("valid", "test") for name in ("hit@10", "ndcg@10")
    }
    spent = {"seconds": time.process_time() - start, "threads": torch.get_num_threads()}
    return {**quality, "converged": not row["target_still_improving"], **spent}


def table(rows: list[dict[str, str]]) -> str:
    """Return a table of means over the seeds of each model and setting, in percent, best on validation first."""
    groups = itertools.groupby(sorted(rows, key=key_of), key=key_of)
    lines = []
    for (model, setting), group in groups:
        own = list(group)
        mean = {name: 100 * statistics.mean(float(row[name]) for row in own) for name in QUALITY}
        quality = [f"{mean[f'{part} hit@10']:.2f} / {mean[f'{part} ndcg@10']:.2f}" for part in ("valid", "test")]
        converged = f"{sum(row['converged'] == 'True' for row in own)} of {len(own)}"
        packaged = setting_of(model, {}).split()
        setting = " ".join(word for word in setting.split() if word not in packaged) or "packaged"
        order = model, -mean["valid ndcg@10"]
        lines.append((order, [model, *quality, PUBLISHED.get(model, ""), converged, setting]))
    head = ["model", "validation HR@10 / NDCG@10", "test HR@10 / NDCG@10", "published", "converged seeds", "setting"]
    return tabulate([line for _, line in sorted(lines)], head, "pipe", disable_numparse=True)


def key_of(row: dict[str, str]) -> tuple[str, str]:
    """Return model and setting of a row."""
    return row["model"], row["setting"]


def main(words: list[str]) -> None:
    """Train what is missing and print the table of the settings named."""
    parser = Parser(prog="targets", description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(SEARCHED))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--search", action="store_true")
    parser.add_argument("--file", type=output_file, default=Path(__file__).with_suffix(".csv"))
    options, given = options_and_settings(parser, words)
    cells = [
        {"model": model, "seed": seed, "setting": setting_of(model, {**chosen, **given})}
        for model in options.models
        for chosen in [{}, *(SEARCH.get(model, []) if options.search else [])]
        for seed in options.seeds
    ]
    for cell in missing(options.file, cells):
        row = cell | train(**cell)
        append(options.file, row, COLUMNS)
        print(*cell.values(), *(f"{name} {100 * row[name]:.2f}" for name in QUALITY), flush=True)
    named = {key_of(cell) for cell in cells}
    print(table([row for row in rows_of(options.file) if key_of(row) in named]))


if __name__ == "__main__":
    command(__file__, main)
