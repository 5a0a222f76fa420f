"""Trainings that several processes share; as a script, one of these processes: process_cases.py DATA_PATH FOLDER.

It is started with the variables of torchrun's environment, and writes what it measured to FOLDER/RANK.pt.
"""

import sys
from pathlib import Path

import torch
from conftest import SMALL, WIDTHS
from pipeline import untrained
from recbole.utils import init_seed

from recbole_gro import Config, ExtractionTrainer, get_trainer
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.scoring import create_scorer
from recbole_gro.trainer import processes
from recbole_gro.trainer.base import TargetTrainer

CLIPPED = {"clip_grad_norm": {"max_norm": 0.5}}
ATTENTION = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
NO_DROPOUT = {"BERT4Rec": ATTENTION, "SASRec": ATTENTION, "GRU4Rec": {"dropout_prob": 0.0}}
# the gradient of gro_decoys is at first rounding noise, which Adam would scale to whole steps
DECOYS = {"gro_steps": 1, "gro_min_quality": 0.9, "learner": "sgd", "gro_learning_rate": 0.1}
TARGETS = {
    "windows": ("BERT4Rec", {**CLIPPED, "train_batch_size": 31}),
    "masked prefixes": ("BERT4Rec", {"train_rows": "prefixes"}),
    "sequences": ("GRU4Rec", {"train_rows": "sequences", "train_batch_size": 64}),
    "prefixes": ("GRU4Rec", {"train_rows": "prefixes", **CLIPPED}),
    "pairs": ("SASRec", {"loss_type": "BPR"}),
}
GRO = {
    "gro": ("BERT4Rec", CLIPPED),
    "gro on sequences": ("GRU4Rec", {"train_rows": "sequences", "student_model": "SASRec", **ATTENTION}),
    "gro_decoys": ("GRU4Rec", {"train_rows": "prefixes", **DECOYS}),
}
SURROGATES = {"surrogate of prefixes": "GRU4Rec", "surrogate": "BERT4Rec"}


def config_of(model, data_path, folder, **settings):
    small = {**SMALL, "train_batch_size": 113, "epochs": 2, "eval_step": 1, "gro_epochs": 2, "gro_head_k": 2}
    given = {**small, **WIDTHS[model], **NO_DROPOUT[model], **settings}
    return Config(model, "tiny", config_dict={**given, "data_path": str(data_path), "checkpoint_dir": str(folder)})


def measured(trainer, result):
    """Losses, validation, and scores that are the weights' but for what cancels out."""
    scorer = create_scorer(trainer.model.eval())
    with torch.no_grad():
        scores = scorer.next_item_scores(torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.tensor([3, 1]))
    valid = {name: float(value) for name, value in result.items()}
    return {"losses": list(trainer.train_loss_dict.values()), "valid": valid, "scores": scores}


def target(data_path, folder, model, settings, trainer_class=TargetTrainer):
    config = config_of(model, data_path, folder, **settings)
    train, valid, _ = build_loaders(config, build_dataset(config))
    init_seed(3, True)  # RecBole's masks and negatives draw from generators of the process
    trainer = trainer_class(config, untrained(config, train))
    _, result = trainer.fit(train, valid, verbose=False)
    rows = [len(batch) for batch in torch.arange(len(train._dataset)).split(train.step)]
    return {**measured(trainer, result), "rows": rows}


def surrogate(data_path, folder, model):
    config = config_of(model, data_path, folder, surrogate_epochs=2, surrogate_batch_size=12)
    draw = torch.Generator().manual_seed(1)
    lists = torch.rand(12, 4, 30, generator=draw).argsort(2)[:, :, :5] + 1
    lists[:6, :, 3:] = 0  # some have fewer items
    log = QueryLog(torch.randint(1, 30, (12, 4), generator=draw), lists)
    train, *_ = build_loaders(config, build_dataset(config))
    trainer = ExtractionTrainer(config, untrained(config, train))
    _, result = trainer.fit(*trainer.loaders(log), verbose=False)
    return measured(trainer, {**result, "untrained": trainer.untrained_loss})


def dropout(data_path, folder):
    """The first draws of an epoch with dropout, which differ between processes, and what is common after it."""
    draws = []
    for epoch in range(2):
        with processes.own_draws(torch.device("cpu"), epoch):
            draws.append(torch.rand(3))
    return {"own": torch.cat(draws), "common": torch.rand(3)}


def everything(data_path, folder):
    cases = {name: target(data_path, folder, *case) for name, case in TARGETS.items()}
    for name, case in GRO.items():
        cases[name] = target(data_path, folder, *case, get_trainer(name.split()[0]))
    return cases | {name: surrogate(data_path, folder, model) for name, model in SURROGATES.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    data_path, folder = map(Path, sys.argv[1:])
    processes.join(torch.device("cpu"))
    rank = torch.distributed.get_rank()
    (folder / f"saved-{rank}").mkdir()
    result = everything(data_path, folder / f"saved-{rank}") | {"draws": dropout(data_path, folder)}
    torch.save(result, folder / f"{rank}.pt")
    torch.distributed.barrier()  # neither ends while the other still communicates
    torch.distributed.destroy_process_group()
