"""A user's script: its processes make trainers in two different seconds, by which RecBole names files."""

import os
import sys

import torch
from recbole.trainer import trainer
from trainer.process_cases import config_of

from recbole_gro import get_trainer
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.trainer.processes import join


def main(data_path, folder):
    trainer.get_local_time = lambda: f"second-{os.environ['RANK']}"
    config = config_of("GRU4Rec", data_path, folder)
    join(torch.device("cpu"))
    train, valid, test = build_loaders(config, build_dataset(config))
    torch.manual_seed(1)
    trained = get_trainer("gro")(config, config.model_class(config, train._dataset))
    trained.fit(train, valid)
    print(dict(trained.evaluate(test)))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
