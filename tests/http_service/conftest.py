"""A saved target, and services of it on 127.0.0.1."""

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL, WIDTHS
from pipeline import untrained

import recbole_gro
from recbole_gro import Config
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.detection import detectors
from recbole_gro.detection.base import Detector
from recbole_gro.http_service.ledger import Ledger
from recbole_gro.trainer.base import TargetTrainer


@dataclass
class Answer:
    """A response: its status, headers and parsed body."""

    status: int
    headers: dict
    body: object


class Client:
    """Send requests to a service, one connection each."""

    def __init__(self, port, ledger):
        self.port, self.ledger = port, ledger

    def send(self, method, path, body=None, headers=None, chunked=False):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {}, encode_chunked=chunked)
            response = connection.getresponse()
            text = response.read().decode()
        is_json = response.headers["content-type"] == "application/json"
        return Answer(response.status, dict(response.headers), json.loads(text) if is_json else text)

    def get(self, path, key=None):
        return self.send("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})

    def post(self, key, **body):
        return self.send("POST", "/v1/recommend", json.dumps(body), {"Authorization": f"Bearer {key}"})

    def key(self, name="ann", **limits):
        return Ledger(self.ledger).create_key(name, **limits)

    def spent(self, name="ann"):
        return next(key["spent"] for key in Ledger(self.ledger).all_keys() if key["name"] == name)


@pytest.fixture(scope="session")
def checkpoint_of(tiny_data_path, tmp_path_factory):
    """Train a tiny model for one epoch, once: `file = checkpoint_of("GRU4Rec")`. Its scores lie close together."""
    files = {}

    def make(model):
        if model not in files:
            folder = str(tmp_path_factory.mktemp("saved"))
            settings = {"data_path": str(tiny_data_path), "checkpoint_dir": folder, "output_dir": folder}
            config = Config(model, "tiny", config_dict={**SMALL, **WIDTHS[model], **settings, "served_k": 12})
            train, valid, _ = build_loaders(config, build_dataset(config))
            trainer = TargetTrainer(config, untrained(config, train))
            trainer.fit(train, valid, verbose=False)
            files[model] = str(trainer.saved_model_file)
        return files[model]

    return make


@pytest.fixture
def start(tmp_path):
    """Run a service in a thread of this process: `client = start(checkpoint, defense="tail_decoy")`."""
    uvicorn = pytest.importorskip("uvicorn")
    from recbole_gro.http_service.app import create_app
    from recbole_gro.http_service.options import Options

    running = []

    def make(checkpoint, **options):
        ledger = str(tmp_path / f"{len(running)}.db")
        app = create_app(Options(checkpoint, ledger=ledger, **options))
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        return Client(server.servers[0].sockets[0].getsockname()[1], ledger)

    yield make
    for server, thread in running:
        server.should_exit = True
        thread.join()


class Guess(Detector):
    """A detector of one's own that draws its scores, with each of the process's generators."""

    standardized = False

    def fit(self, benign):
        self.weight = 1 + torch.rand(()) / 9

    def scores(self, traces):
        shape = traces.items.shape
        of_python = torch.tensor([random.random() for _ in range(shape.numel())]).view(shape)
        return torch.rand(shape) * self.weight + torch.from_numpy(np.random.random(shape)).float() + of_python

    def window_scores(self, traces, size):
        return torch.rand(len(traces) // size) * self.weight


@pytest.fixture
def guess(monkeypatch):
    """The name of a detector whose scores are draws."""
    monkeypatch.setitem(detectors._entries, "guess", Guess)
    return "guess"


class Process:
    """A service started by the command, in a process group of its own."""

    def __init__(self, checkpoint, ledger, *words):
        pytest.importorskip("uvicorn")
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        self.client = Client(port, ledger)
        command = [sys.executable, "-m", "recbole_gro", "serve", checkpoint, f"--ledger={ledger}", f"--port={port}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join([str(Path(recbole_gro.__file__).parents[1]), *sys.path[1:]])
        self.output = open(f"{ledger}.out", "w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [*command, *words], env=environment, stdout=self.output, stderr=self.output, start_new_session=True
        )
        deadline = time.monotonic() + 120
        while not self.answers():
            assert self.process.poll() is None, Path(self.output.name).read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def answers(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.client.get("/healthz").status == 200
        return False

    def kill(self):
        """Kill all its processes with -9."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.output.close()


@pytest.fixture
def start_process(tmp_path):
    """Run a service by the command: `process = start_process(checkpoint, "--workers=2")`; on the same ledger."""
    running = []

    def make(checkpoint, *words):
        running.append(Process(checkpoint, str(tmp_path / "service.db"), *words))
        return running[-1]

    yield make
    for process in running:
        if process.process.poll() is None:
            process.kill()
