"""Steps per second of the three stages, target, GRO and surrogate, at a dataset's catalogue, lengths and batch.

    python benchmarks/steps.py [--gpu 0] [--dataset ml-1m] [--models BERT4Rec NARM] [--steps 50]
        [--train_batch_size 1024]

Nothing is loaded: sequences are drawn at random, as long as the dataset's settings allow. A step of a target and of GRO
is a batch of `train_batch_size` windows (BERT4Rec) or positions (models that read all prefixes in one pass), a
surrogate's one of `surrogate_batch_size` lists of 100 items. With --gpu the steps run on that GPU.
"""

import tempfile
from pathlib import Path

import torch
from common import command, epoch, machine, positive, write_below
from paper_scale import WARM_UP, sample, surrogate_step

from recbole_gro import Config, GROTrainer
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.data.statistics import PAPER
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.command_line import Parser


def steps_per_second(model_name, dataset, device, steps):
    """Yield (stage, steps per second, what a step is) of a model as target, in GRO and as surrogate."""
    shaped = Config(model_name, dataset, config_dict=device)
    keys = ("MAX_ITEM_LIST_LENGTH", "train_batch_size")
    keys += ("mask_ratio", "hidden_dropout_prob", "attn_dropout_prob") if model_name == "BERT4Rec" else ()
    length, items = shaped["MAX_ITEM_LIST_LENGTH"], PAPER[dataset].items
    rows = (WARM_UP + steps) * shaped["train_batch_size"] // (1 if model_name == "BERT4Rec" else length)
    with tempfile.TemporaryDirectory() as folder:
        sample(Path(folder), "sample", items, length, max(rows, -(-items // (length + 2))) + 2)
        given = {key: shaped[key] for key in keys} | device
        given |= {"gro_epochs": 1, "surrogate_epochs": 1, "epochs": 1, "window_shift": 0, "data_path": folder}
        config = Config(model_name, "sample", config_dict=given)
        write_below(config, folder)
        train, *_ = build_loaders(config, build_dataset(config))
        batch = f"{config['train_batch_size']} {'windows' if model_name == 'BERT4Rec' else 'positions'}"
        for stage, trainer_class in {"target": TargetTrainer, "GRO": GROTrainer}.items():
            model = config.model_class(config, train._dataset).to(config["device"])
            trainer = trainer_class(config, model)
            fit = trainer.fit_gro if stage == "GRO" else trainer.fit
            yield stage, len(train) / epoch(fit, train, steps, WARM_UP), batch
        seconds, lists = surrogate_step(config, model.n_items, length, steps)
        yield "surrogate", 1 / seconds, f"{lists} lists"


def main(words):
    parser = Parser(prog="steps")
    parser.add_argument("--dataset", default="ml-1m", choices=list(PAPER))
    parser.add_argument("--models", nargs="+", default=["BERT4Rec", "NARM"])
    parser.add_argument("--steps", type=positive, default=50, help="that are timed")
    parser.add_argument("--train_batch_size", type=positive, help="of target and GRO; default: the dataset's")
    parser.add_argument("--gpu", help="its number; without it the CPU")
    given = parser.parse_args(words)
    device = {"use_gpu": given.gpu is not None, "gpu_id": given.gpu or ""}
    if given.train_batch_size:
        device["train_batch_size"] = given.train_batch_size
    runs_on = Config("BERT4Rec", config_dict=device)["device"]
    print(machine() if given.gpu is None else torch.cuda.get_device_name(runs_on))
    print("| model | stage | a step | steps per second |\n|---|---|---|---:|")
    for model in given.models:
        for stage, rate, step in steps_per_second(model, given.dataset, device, given.steps):
            print(f"| {model} | {stage} | {step} | {rate:.1f} |", flush=True)


if __name__ == "__main__":
    command(__file__, main)
