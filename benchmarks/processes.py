"""Two processes of one thread against one process of two threads: an epoch of target, GRO and surrogate on ml-100k.

    python benchmarks/processes.py [--rounds=5] [--models "BERT4Rec NARM"] [--KEY=VALUE ...]

Both stay alive and work in turn, so that a noisy machine hits both alike. The global batch is the same.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile

import torch
from common import machine, paired, ratio_line

from recbole_gro import Config, ExtractionTrainer, GROTrainer
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.defense import create_student
from recbole_gro.scoring import create_scorer
from recbole_gro.trainer import processes
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.command_line import settings_of

SEQUENCES = 60  # of the query log


def epochs(model, settings):
    """{stage: function that trains an epoch}, of this process's part."""
    config = Config(model, config_file_list=["gro.yaml"], command_line={**settings, "use_gpu": "False"})
    processes.join(config["device"])
    config["checkpoint_dir"] = config["output_dir"] = tempfile.mkdtemp()
    data = build_dataset(config)
    train, _, _ = build_loaders(config, data)
    torch.manual_seed(1)
    target, gro, surrogate = (
        trainer(config, config.model_class(config, data)) for trainer in (TargetTrainer, GROTrainer, ExtractionTrainer)
    )
    gro.student_scorer = create_scorer(create_student(config, config.model_class, data))
    gro._start_gro_phase(len(train))
    length, k = config["MAX_ITEM_LIST_LENGTH"], config["served_k"]
    items = torch.randint(1, data.item_num, (SEQUENCES, length))
    lists = torch.rand(SEQUENCES * length, data.item_num - 1).topk(k).indices.view(SEQUENCES, length, k) + 1
    queries, _ = surrogate.loaders(QueryLog(items, lists))
    rows = {"target": (target, train), "GRO": (gro, train), "surrogate": (surrogate, queries)}
    return {stage: lambda both=both: both[0]._train_epoch(both[1], 0) for stage, both in rows.items()}


def work(model, settings):
    """Train an epoch of the stage on each line of the input; a line of output ends it."""
    stages = epochs(model, settings)
    print("ready", flush=True)
    for line in sys.stdin:
        stages[line.strip()]()
        print("done", flush=True)


class Workers:
    """Processes of this script, each of one thread, or one of `threads`."""

    def __init__(self, n, threads, words):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        self.started = []
        for rank in map(str, range(n)):
            own = {**environment, "WORLD_SIZE": str(n), "RANK": rank, "LOCAL_RANK": rank}
            command = [sys.executable, __file__, "--work", *words]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self.started.append(subprocess.Popen(command, env=own, **pipes))
        self._wait_for("ready")

    def _wait_for(self, word):
        for process in self.started:
            line = process.stdout.readline()
            if line.strip() != word:
                raise SystemExit(f"a process ended: {line}")

    def epoch(self, stage):
        for process in self.started:
            print(stage, file=process.stdin, flush=True)
        self._wait_for("done")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.started:
            process.kill()
            process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", default="BERT4Rec NARM")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    given, rest = parser.parse_known_args()
    if given.work:
        work(given.models, settings_of(rest))
        sys.exit()
    print(machine())
    for model in given.models.split():
        words = [f"--models={model}", *rest]
        with Workers(1, 2, words) as one, Workers(2, 1, words) as two:
            for stage in ("target", "GRO", "surrogate"):
                alone, shared = paired(lambda: one.epoch(stage), lambda: two.epoch(stage), given.rounds)  # noqa: B023
                print(ratio_line(f"{model} {stage}, one process / two", alone, shared), flush=True)
