"""Two processes of one thread against one process of two threads: an epoch of target, GRO and surrogate on ml-100k.

    python benchmarks/processes.py [--rounds=5] [--models BERT4Rec NARM] [--KEY=VALUE ...]

Both stay alive and work in turn, so that a noisy machine hits both alike. The global batch is the same. An epoch
includes the start of its training, in wall-clock seconds.
"""

import os
import socket
import subprocess
import sys
import tempfile

import torch
from common import command, machine, paired, positive, ratio_line, write_below

from recbole_gro import Config, ExtractionTrainer, GROTrainer, QueryLog
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.trainer import processes
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.command_line import Parser, options_and_settings

SEQUENCES = 60  # of the query log
ONE_EPOCH = {"epochs": 1, "gro_epochs": 1, "gro_steps": 1, "surrogate_epochs": 1}


def make_config(model, settings):
    return Config(model, config_file_list=["gro.yaml"], command_line={**settings, **ONE_EPOCH, "use_gpu": "False"})


def epochs(config):
    """Return {stage: function that trains an epoch}, of this process's part."""
    processes.join(config["device"])
    data = build_dataset(config)
    train, _, _ = build_loaders(config, data)
    torch.manual_seed(1)
    target, gro, surrogate = (
        trainer(config, config.model_class(config, data)) for trainer in (TargetTrainer, GROTrainer, ExtractionTrainer)
    )
    length, k = config["MAX_ITEM_LIST_LENGTH"], config["served_k"]
    items = torch.randint(1, data.item_num, (SEQUENCES, length))
    lists = torch.rand(SEQUENCES * length, data.item_num - 1).topk(k).indices.view(SEQUENCES, length, k) + 1
    queries, _ = surrogate.loaders(QueryLog(items, lists))
    return {
        "target": lambda: target.fit(train, verbose=False, saved=False),
        "GRO": lambda: gro.fit_gro(train, verbose=False, saved=False),
        "surrogate": lambda: surrogate.fit(queries, verbose=False, saved=False),
    }


def work(config, folder):
    """Train an epoch of the stage on each line of the input; a line of output ends it."""
    write_below(config, folder)
    stages = epochs(config)
    print("ready", flush=True)
    for line in sys.stdin:
        stages[line.strip()]()
        print("done", flush=True)


class Workers:
    """Processes of this script, which train together; what they leave when they are killed lies below a folder."""

    def __init__(self, folder):
        self.folder, self.started = folder, []

    def start(self, n, threads, words):
        """Start n processes of as many threads, and wait until they are ready."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        environment = {**os.environ, "TMPDIR": self.folder, "OMP_NUM_THREADS": str(threads)}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        for rank in map(str, range(n)):
            own = {**environment, "WORLD_SIZE": str(n), "RANK": rank, "LOCAL_RANK": rank}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self.started.append(subprocess.Popen([sys.executable, __file__, *words], env=own, **pipes))
        self.wait_for("ready")

    def wait_for(self, word):
        """Wait for a line of output of each process."""
        for process in self.started:
            line = process.stdout.readline()
            if line.strip() != word:
                raise SystemExit(f"a process ended: {line}")

    def epoch(self, stage):
        """Train an epoch of a stage in all processes."""
        for process in self.started:
            print(stage, file=process.stdin, flush=True)
        self.wait_for("done")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.started:
            process.kill()
            process.wait()


def compare(model, words, rounds):
    """Print the ratio of both sides for each stage."""
    with tempfile.TemporaryDirectory() as folder, Workers(folder) as one, Workers(folder) as two:
        words = [f"--models={model}", f"--folder={folder}", *words]
        one.start(1, 2, words)
        two.start(2, 1, words)
        for stage in ("target", "GRO", "surrogate"):
            sides = [lambda side=side, stage=stage: side.epoch(stage) for side in (one, two)]
            print(ratio_line(f"{model} {stage}, one process / two", *paired(*sides, rounds)), flush=True)


def main(words):
    parser = Parser(prog="processes")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--models", nargs="+", default=["BERT4Rec", "NARM"])
    parser.add_argument("--folder", help="work as one of the processes, and write to this folder")
    given, settings = options_and_settings(parser, words)
    configs = [make_config(model, settings) for model in given.models]
    if given.folder:
        return work(configs[0], given.folder)
    torch.set_num_threads(2)  # wall-clock seconds, of both sides
    print(machine())
    for model in given.models:
        compare(model, [f"--{key}={value}" for key, value in settings.items()], given.rounds)


if __name__ == "__main__":
    command(__file__, main)
