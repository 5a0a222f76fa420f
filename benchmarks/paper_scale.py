"""How long the paper's datasets take: items of sequences that each stage reads, times a cost per item.

    python benchmarks/paper_scale.py [--gpu 0] [--datasets ml-1m ml-20m steam] [--epochs 200] [--surrogate_epochs 60]
        [--steps 6]

Sizes are those of Table 1 (nothing is loaded), settings those of properties/dataset. The cost of an item in a GRO step
is measured here, on data of the dataset's catalogue and sequence length, and so is that of a surrogate's step; a plain
target's step is taken as half a GRO step (benchmarks/gro_epoch.py). A surrogate stops by itself, after 36 to 125 epochs
on ml-100k (results/tradeoff.md); a target may stop early. With --gpu all is measured on that GPU. Without one the last
column is what to expect of a TITAN RTX: the hours here divided by how much longer an epoch of RecBole's own BERT4Rec
takes here than RecBole's authors report for that card.
"""

import tempfile
from pathlib import Path

import torch
from common import command, epoch, machine, positive, write_below
from recbole.config import Config as RecBoleConfig
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import BERT4Rec
from recbole.trainer import Trainer

from recbole_gro import Config, ExtractionTrainer, GROTrainer, QueryLog, create_surrogate
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.data.statistics import PAPER
from recbole_gro.utils.command_line import Parser
from recbole_gro.utils.compat import no_tensorboard

# Seconds an epoch of RecBole's BERT4Rec on ml-1m and a TITAN RTX, rows of 20 items, batches of 2048, as RecBole reports
# them (its repository, asset/time_test_result/Sequential_recommendation.md of 2021)
TITAN_RTX, ROW, BATCH, ML_1M_ITEMS = 36.09, 20, 2048, 3706
ML_1M_ROWS = 1_000_209 - 3 * 6040  # each user's first item and the two of validation and test are no row's last
WARM_UP = 2  # steps that are not timed, since a GPU's first ones choose and load its kernels


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


def costs(dataset, device, steps):
    """Return the seconds per item of a GRO step and of a surrogate's, at the dataset's catalogue, lengths and batch."""
    shaped = Config("BERT4Rec", dataset)
    length, batch = shaped["MAX_ITEM_LIST_LENGTH"], shaped["train_batch_size"]
    users = max((WARM_UP + steps) * batch, -(-PAPER[dataset].items // (length + 2)))
    with tempfile.TemporaryDirectory() as folder:
        sample(Path(folder), "sample", PAPER[dataset].items, length, users)
        keys = ("MAX_ITEM_LIST_LENGTH", "train_batch_size", "mask_ratio", "hidden_dropout_prob", "attn_dropout_prob")
        given = {
            **{key: shaped[key] for key in keys},
            **device,
            "gro_epochs": 1,
            "surrogate_epochs": 1,
            "surrogate_min_steps": 1,
            "window_shift": 0,
        }
        config = Config("BERT4Rec", "sample", config_dict={**given, "data_path": folder})
        write_below(config, folder)
        train, *_ = build_loaders(config, build_dataset(config))
        model = config.model_class(config, train._dataset).to(config["device"])
        gro = epoch(GROTrainer(config, model).fit_gro, train, steps, WARM_UP) / len(train)
        spent, prefixes = surrogate_step(config, model.n_items, length, steps)
    return gro / (batch * length), spent / (prefixes * (length + 1) / 2)


def surrogate_step(config, n_items, length, steps):
    """Return the seconds of a surrogate's training step on random lists of 100, and the lists that it reads."""
    surrogate, its_config = create_surrogate(config, n_items)
    attack = ExtractionTrainer(its_config, surrogate)
    n = 2 + 2 * (WARM_UP + steps) * attack.batch_size // length
    queried = torch.randint(1, n_items, (n, length))
    lists = torch.rand(n * length, 1000).topk(100).indices.view(n, length, 100) + 1
    queries, _ = attack.loaders(QueryLog(queried, lists))
    return epoch(attack.fit, queries, steps, WARM_UP) / len(queries), queries.prefixes * queries.sequences_at_once


def times_a_titan_rtx(steps):
    """Return how many times as long as on that card an epoch of RecBole's own BERT4Rec takes, from a few batches."""
    with tempfile.TemporaryDirectory() as folder:
        sample(Path(folder), "sample", ML_1M_ITEMS, ROW, (WARM_UP + steps) * BATCH // ROW)
        settings = {
            "data_path": folder, "checkpoint_dir": folder, "MAX_ITEM_LIST_LENGTH": ROW, "train_batch_size": BATCH,
            "train_neg_sample_args": None, "use_gpu": False, "show_progress": False, "epochs": 1,
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        }  # fmt: skip
        config = RecBoleConfig("BERT4Rec", "sample", config_dict=settings)
        train, *_ = data_preparation(config, create_dataset(config))
        with no_tensorboard():
            trainer = Trainer(config, BERT4Rec(config, train.dataset))
        return epoch(trainer.fit, train, steps, WARM_UP) / len(train) * ML_1M_ROWS / BATCH / TITAN_RTX


def main(words):
    parser = Parser(prog="paper_scale")
    parser.add_argument("--datasets", nargs="+", default=["ml-1m", "ml-20m", "steam"], choices=list(PAPER))
    parser.add_argument("--epochs", type=positive, default=200)
    parser.add_argument("--surrogate_epochs", type=positive, default=60)
    parser.add_argument("--query_sequences", type=positive, default=3000)
    parser.add_argument("--steps", type=positive, default=6, help="that are timed")
    parser.add_argument("--gpu", help="its number; without it the CPU")
    given = parser.parse_args(words)
    device = {"use_gpu": given.gpu is not None, "gpu_id": given.gpu or ""}
    runs_on = Config("BERT4Rec", config_dict=device)["device"]
    print(machine() if given.gpu is None else torch.cuda.get_device_name(runs_on))
    head = "| dataset | microseconds per item: GRO, surrogate | target, h | GRO, h | one surrogate, h |"
    slower = None if given.gpu else times_a_titan_rtx(given.steps)
    if slower:
        print(f"an epoch of RecBole's BERT4Rec takes {slower:.1f} times as long as on a TITAN RTX")
        head += " expected on a TITAN RTX, h |"
    print(head)
    print("|---|---|---:|---:|---:|" + ("---:|" if slower else ""))
    for dataset in given.datasets:
        config = Config("BERT4Rec", dataset)
        size, length = PAPER[dataset], config["MAX_ITEM_LIST_LENGTH"]
        items = size.users * size.mean_length
        read = given.query_sequences * length * (length + 1) / 2
        gro, attack = costs(dataset, device, given.steps)
        hours = [
            given.epochs * items * gro / 2,
            config["gro_epochs"] * items * gro,
            given.surrogate_epochs * read * attack,
        ]
        print(
            f"| {dataset} | {1e6 * gro:.2g}, {1e6 * attack:.2g} | {hours[0] / 3600:.2g} | {hours[1] / 3600:.2g} "
            f"({config['gro_epochs']} epochs) | {hours[2] / 3600:.2g} |"
            + (f" {', '.join(f'{spent / slower / 3600:.1f}' for spent in hours)} |" if slower else ""),
            flush=True,
        )


if __name__ == "__main__":
    command(__file__, main)
