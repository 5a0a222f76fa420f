"""Requests per second and latencies of `recbole-gro serve`, from an asyncio client on the same machine.

    python benchmarks/http_service.py [--models GRU4Rec BERT4Rec] [--workers 1 2] [--detectors none transitions]
        [--histories 1 64] [--seconds=5] [--rounds=3] [--KEY=VALUE ...]

First as fast as --clients connections send, then at half of that rate with arrivals at even distances, where a latency
counts from the moment at which the request was due. The services of a model (by number of workers and detector) take
turns, --rounds times; the ratio is that of the requests per second to those of the first service, median over rounds.
Each target is trained on ml-100k for a few epochs.
"""

import asyncio
import itertools
import json
import operator
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import torch
from common import command, machine, positive

from recbole_gro import Config, load_target
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.http_service.ledger import Ledger
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.command_line import Parser, options_and_settings
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.units import counted

MOST_OPEN = 256  # connections of the client at half load


def trained(model, folder, settings):
    """Train a target; return its checkpoint."""
    fixed = {"epochs": 3, "show_progress": False, "seed": 1}
    config = Config(model, config_dict=fixed, command_line=settings)
    config["checkpoint_dir"] = config["output_dir"] = folder
    train, valid, _ = build_loaders(config, build_dataset(config))
    torch.manual_seed(1)
    trainer = TargetTrainer(config, config.model_class(config, train._dataset))
    trainer.fit(train, valid, verbose=False)
    return str(trainer.saved_model_file)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def started(checkpoint, ledger, workers, defense, detector):
    """Start a service; return its process and port when it answers."""
    port = free_port()
    words = [sys.executable, "-m", "recbole_gro", "serve", checkpoint, f"--ledger={ledger}", f"--port={port}"]
    words += [f"--workers={workers}", f"--defense={defense}"] + ([f"--detector={detector}"] if detector else [])
    with open(f"{ledger}.log", "w") as log:  # a line per alarm of a detector
        process = subprocess.Popen([*words, "--quiet"], start_new_session=True, stderr=log)
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz")
            time.sleep(3 * (workers - 1))  # the others start a little later
            return process, port
        except OSError:
            time.sleep(0.2)
    raise UserError(f"the service ended before it answered: {Path(log.name).read_text().strip()[-200:]}")


def requests_of(tokens, key, histories):
    """Return 500 requests of random histories of 1 to 50 items, as bytes."""
    draw = random.Random(7)
    made = []
    for _ in range(500):
        rows = [[draw.choice(tokens) for _ in range(draw.randint(1, 50))] for _ in range(histories)]
        body = json.dumps({"history": rows[0]} if histories == 1 else {"histories": rows}).encode()
        head = f"POST /v1/recommend HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}"
        made.append(head.encode() + b"\r\n\r\n" + body)
    return itertools.cycle(made)


async def exchange(connection, request):
    """Send a request on a connection and read its response."""
    reader, writer = connection
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200"):
        raise UserError(f"the service refused a request: {head.decode().splitlines()[0]}")
    await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))


async def closed_loop(port, requests, clients, seconds):
    """Return seconds of each request where every client sends the next one after a response, and of all."""
    latencies, end = [], time.perf_counter() + seconds

    async def client():
        connection = await asyncio.open_connection("127.0.0.1", port)
        while (start := time.perf_counter()) < end:
            await exchange(connection, next(requests))
            latencies.append(time.perf_counter() - start)
        connection[1].close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return latencies, time.perf_counter() - start


async def open_loop(port, requests, rate, seconds):
    """Return seconds of each request, from when it was due, at a rate per second."""
    latencies, idle, start = [], [], time.perf_counter()
    few = asyncio.Semaphore(MOST_OPEN)

    async def one(due):
        async with few:
            connection = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
            await exchange(connection, next(requests))
            latencies.append(time.perf_counter() - due)
            idle.append(connection)

    tasks = []
    for number in range(max(1, int(rate * seconds))):
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(due)))
    await asyncio.gather(*tasks)
    for connection in idle:
        connection[1].close()
    return latencies, time.perf_counter() - start


def shown(latencies, seconds):
    """Return requests per second, and the median and 99th percentile of the latency in ms."""
    ordered = sorted(latencies)
    p50, p99 = (1e3 * ordered[min(int(part * len(ordered)), len(ordered) - 1)] for part in (0.5, 0.99))
    return f"{len(ordered) / seconds:7.0f} requests/s, p50 {p50:6.1f} ms, p99 {p99:6.1f} ms"


def measured(given, model, checkpoint):
    """Print the lines of a model's services."""
    tokens, services = load_target(checkpoint).item_tokens[1:], {}
    try:
        for workers, detector in itertools.product(given.workers, given.detectors):
            name = f"{model}, {counted(workers, 'worker')}" + (f", {detector}" if detector else "")
            ledger = Path(checkpoint).parent / f"{len(services)}.db"
            key = Ledger(ledger).create_key("benchmark")
            services[name] = key, *started(checkpoint, ledger, workers, given.defense, detector)
        for histories in given.histories:
            rates = {name: [] for name in services}
            figures = {name: [] for name in services}
            for number, (name, (key, _, port)) in itertools.product(range(given.rounds), services.items()):
                requests = requests_of(tokens, key, histories)
                if not number:
                    asyncio.run(closed_loop(port, requests, given.clients, 1))
                full = asyncio.run(closed_loop(port, requests, given.clients, given.seconds))
                rate = len(full[0]) / full[1]
                half = asyncio.run(open_loop(port, requests, rate / 2, given.seconds))
                rates[name].append(rate)
                figures[name].append((rate, f"full load {shown(*full)}; half load {shown(*half)}"))
            first = next(iter(rates.values()))
            for name, found in figures.items():
                ratio = statistics.median(map(operator.truediv, rates[name], first))
                median = sorted(found)[len(found) // 2][1]
                print(f"{name}, {counted(histories, 'history', 'histories')}: {median}; ratio {ratio:.2f}", flush=True)
    finally:
        for _, process, _ in services.values():
            process.send_signal(signal.SIGINT)
            process.wait()


def main(words):
    parser = Parser(prog="http_service")
    parser.add_argument("--models", nargs="+", default=["GRU4Rec", "BERT4Rec"])
    parser.add_argument("--workers", nargs="+", type=positive, default=[1, 2])
    parser.add_argument("--detectors", nargs="+", default=["none"], help="of extraction (none)")
    parser.add_argument("--rounds", type=positive, default=1)
    parser.add_argument("--histories", nargs="+", type=positive, default=[1, 64], help="of a request")
    parser.add_argument("--seconds", type=positive, default=5)
    parser.add_argument("--clients", type=positive, default=16)
    parser.add_argument("--defense", default="tail_decoy")
    given, settings = options_and_settings(parser, words)
    given.detectors = [None if name == "none" else name for name in given.detectors]
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        for model in given.models:
            checkpoint = trained(model, f"{folder}/{model}", settings)
            measured(given, model, checkpoint)


if __name__ == "__main__":
    command(__file__, main)
