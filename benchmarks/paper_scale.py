"""How long the paper's datasets take: items of sequences that each stage reads, times a cost per item.

    python benchmarks/paper_scale.py [--gpu 0] [--epochs 200] [--passes 60]

Sizes are those of Table 1 (nothing is loaded), settings those of properties/dataset. The cost of an item in a GRO step
is measured here, on data of the dataset's catalogue and sequence length, and so is that of a surrogate's step; a plain
target's step is taken as half a GRO step (benchmarks/gro_epoch.py). A surrogate stops by itself, after 36 to 125 passes
on ml-100k (results/tradeoff.md); a target may stop early. With --gpu all is measured on that GPU. Without one the last
column is what to expect of a TITAN RTX: the hours here divided by how much longer an epoch of RecBole's own BERT4Rec
takes here than RecBole's authors report for that card.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from common import machine
from recbole.config import Config as RecBoleConfig
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import BERT4Rec
from recbole.trainer import Trainer

from recbole_gro import Config, ExtractionTrainer, GROTrainer, QueryLog, create_surrogate
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.data.statistics import PAPER
from recbole_gro.scoring import create_scorer
from recbole_gro.utils.compat import no_tensorboard
from recbole_gro.utils.errors import UserError

# Seconds an epoch of RecBole's BERT4Rec on ml-1m and a TITAN RTX, rows of 20 items, batches of 2048, as RecBole reports
# them (its repository, asset/time_test_result/Sequential_recommendation.md of 2021)
TITAN_RTX, ROW, BATCH, ML_1M_ITEMS = 36.09, 20, 2048, 3706
ML_1M_ROWS = 1_000_209 - 3 * 6040  # each user's first item and the two of validation and test are no row's last
STEPS, BEFORE = 6, 2  # timed, and not, since a GPU's first steps choose and load its kernels


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


def costs(dataset, device):
    """Seconds an item of a GRO step and of a surrogate's step, at the dataset's catalogue, lengths and batch."""
    shaped = Config("BERT4Rec", dataset)
    length, batch = shaped["MAX_ITEM_LIST_LENGTH"], shaped["train_batch_size"]
    users = max(2 * batch, -(-PAPER[dataset].items // (length + 2)))
    with tempfile.TemporaryDirectory() as folder:
        sample(Path(folder), "sample", PAPER[dataset].items, length, users)
        keys = ("MAX_ITEM_LIST_LENGTH", "train_batch_size", "mask_ratio", "hidden_dropout_prob", "attn_dropout_prob")
        given = {key: shaped[key] for key in keys}
        config = Config(
            "BERT4Rec", "sample", config_dict={**given, **device, "data_path": folder, "checkpoint_dir": folder}
        )
        train, *_ = build_loaders(config, build_dataset(config))
        model = config.model_class(config, train._dataset).to(config["device"])
        trainer = GROTrainer(config, model)
        trainer.student_scorer = create_scorer(trainer._new_student(train._dataset))
        trainer._start_gro_phase(1)
        rows = next(iter(train)).to(config["device"])
        gro = timed(lambda: step(trainer, sum(trainer.gro_losses(rows))))
        surrogate, its_config = create_surrogate(config, model.n_items)
        thief = ExtractionTrainer(its_config, surrogate)
        asked = torch.randint(1, model.n_items, (20, length))
        log = QueryLog(asked, torch.rand(20 * length, model.n_items - 1).topk(100).indices.view(20, length, 100) + 1)
        queries = next(iter(thief.loaders(log)[0])).to(config["device"])
        steal = timed(lambda: step(thief, thief.stage_loss(queries)))
    read = rows[model.ITEM_SEQ].count_nonzero() if model.ITEM_SEQ in rows else batch * length
    return gro / float(read), steal / float(queries[model.ITEM_SEQ_LEN].sum())


def step(trainer, loss):
    trainer.optimizer.zero_grad()
    loss.backward()
    trainer.optimizer.step()


def times_a_titan_rtx():
    """How many times as long as on that card an epoch of RecBole's own BERT4Rec takes here, from a few batches."""
    with tempfile.TemporaryDirectory() as folder:
        sample(Path(folder), "sample", ML_1M_ITEMS, ROW, (STEPS + BEFORE) * BATCH // ROW)
        settings = {
            "data_path": folder, "checkpoint_dir": folder, "MAX_ITEM_LIST_LENGTH": ROW, "train_batch_size": BATCH,
            "train_neg_sample_args": None, "use_gpu": False, "show_progress": False,
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        }  # fmt: skip
        config = RecBoleConfig("BERT4Rec", "sample", config_dict=settings)
        train, *_ = data_preparation(config, create_dataset(config))
        with no_tensorboard():
            trainer = Trainer(config, BERT4Rec(config, train.dataset))
        batches = iter(train)  # the masks of a batch are drawn as it is taken

        def once():
            trainer._train_epoch([next(batches)], 0)

        return timed(once) * ML_1M_ROWS / BATCH / TITAN_RTX


def timed(call):
    for _ in range(BEFORE):
        call()
    finish()
    start = time.perf_counter()
    for _ in range(STEPS):
        call()
    finish()
    return (time.perf_counter() - start) / STEPS


def finish():
    """Wait for what a GPU was given to do."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--passes", type=int, default=60, help="of a surrogate over its query log")
    parser.add_argument("--query_sequences", type=int, default=3000)
    parser.add_argument("--gpu", help="its number; without it the CPU")
    given = parser.parse_args()
    device = {"use_gpu": given.gpu is not None, "gpu_id": given.gpu or ""}
    try:
        runs_on = Config("BERT4Rec", config_dict=device)["device"]
    except UserError as error:
        raise SystemExit(f"paper_scale: {error}") from None
    print(machine() if given.gpu is None else torch.cuda.get_device_name(runs_on))
    head = "| dataset | microseconds an item: GRO, surrogate | target, h | GRO, h | one surrogate, h |"
    slower = None if given.gpu else times_a_titan_rtx()
    if slower:
        print(f"an epoch of RecBole's BERT4Rec takes {slower:.1f} times as long as on a TITAN RTX")
        head += " expected on a TITAN RTX, h |"
    print(head)
    print("|---|---|---:|---:|---:|" + ("---:|" if slower else ""))
    for dataset in ("ml-1m", "ml-20m", "steam"):
        config = Config("BERT4Rec", dataset)
        size, length = PAPER[dataset], config["MAX_ITEM_LIST_LENGTH"]
        items = size.users * size.mean_length
        prefixes = given.query_sequences * length * (length + 1) / 2
        gro, steal = costs(dataset, device)
        hours = [
            given.epochs * items * gro / 2,
            config["gro_epochs"] * items * gro,
            given.passes * prefixes * steal,
        ]
        print(
            f"| {dataset} | {1e6 * gro:.0f}, {1e6 * steal:.0f} | {hours[0] / 3600:.0f} | {hours[1] / 3600:.0f} "
            f"({config['gro_epochs']} epochs) | {hours[2] / 3600:.0f} |"
            + (f" {', '.join(f'{spent / slower / 3600:.1f}' for spent in hours)} |" if slower else ""),
            flush=True,
        )


if __name__ == "__main__":
    main()
