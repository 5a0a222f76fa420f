"""Services as processes of the command: several workers, kill -9 under load."""

import contextlib
import http.client
import itertools
import json
import os
import re
import signal
import socket
import sqlite3
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

pytest.importorskip("starlette")

from recbole_gro import UserError, load_target
from recbole_gro.cli.main import main
from recbole_gro.detection import detectors
from recbole_gro.detection.coverage import CoverageDetector
from recbole_gro.http_service.guard import alarm_totals
from recbole_gro.http_service.known_histories import digests_of
from recbole_gro.http_service.ledger import Entry, Ledger
from recbole_gro.http_service.open_file import identity
from recbole_gro.http_service.options import Options
from recbole_gro.http_service.process import bound
from recbole_gro.http_service.refusal import HttpRefusal
from recbole_gro.http_service.service import DefendedService
from recbole_gro.serving.catalogue import Catalogue


def numbered(number):
    """A history that no other number has."""
    return [f"i{number // 30**place % 30}" for place in range(4)]


class Load:
    """Clients that send one numbered history after another, and note what is answered."""

    def __init__(self, client, key, numbers, clients=4):
        self.client, self.key, self.numbers = client, key, numbers
        self.statuses, self.answered = Counter(), []
        self._stopped, self._taken = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._send) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _send(self):
        while not self._stopped.is_set():
            with self._taken:
                number = next(self.numbers)
            with contextlib.suppress(OSError, http.client.HTTPException):
                status = self.client.post(self.key, history=numbered(number)).status
                self.statuses[status] += 1
                if status == 200:
                    self.answered.append(number)

    def stop(self):
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        return self.answered


def check_nothing_lost(ledger, checkpoint, answered):
    """Every answered list is in the log once, and the budget counts what the log has."""
    ids = load_target(checkpoint)._ids
    logged = Counter(
        tuple(history) for line in Ledger(ledger).lines() if not line["refused"] for history in line["sequences"]
    )
    assert max(logged.values()) == 1
    assert {tuple(ids[token] for token in numbered(number)) for number in answered} <= logged.keys()
    (key,) = Ledger(ledger).all_keys()
    assert key["spent"] == sum(logged.values()) <= key["budget"]
    assert Ledger(ledger).totals()["answered"] == (key["spent"], key["spent"])


GUARDED = ("--detector=coverage", "--on_alarm=decoy", "--false_positive_rate=0.05")


@pytest.mark.parametrize("words", [(), GUARDED], ids=["plain", "guarded"])
@pytest.mark.parametrize(
    ("kills", "workers"), [(1, 1), pytest.param(10, 2, marks=pytest.mark.every)], ids=["once", "ten_times"]
)
def test_kill_under_load_loses_no_counted_list_no_log_line_and_no_flag(
    start_process, checkpoint_of, kills, workers, words
):
    checkpoint, answered, numbers, key = checkpoint_of("GRU4Rec"), [], itertools.count(), None
    flags = {"histories": 0, "keys": 0}
    for _ in range(kills):
        service = start_process(checkpoint, f"--workers={workers}", *words)
        key = key or service.client.key(budget=100_000)
        load = Load(service.client, key, numbers)
        before, deadline = len(answered), time.monotonic() + 60
        while len(load.answered) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        service.kill()
        answered += load.stop()
        assert len(answered) >= before + 20
        check_nothing_lost(service.client.ledger, checkpoint, answered)
        if words:
            earlier, flags = flags, alarm_totals(service.client.ledger)
            assert all(flags[what] >= earlier[what] for what in flags)
    if words:
        check_no_flag_lost(service.client.ledger, checkpoint, answered)


def check_no_flag_lost(ledger, checkpoint, answered):
    """Every answered history is noted, each with its flag; the key, most of whose histories are odd, stays flagged."""
    ids = load_target(checkpoint)._ids
    own = DefendedService(
        Options(checkpoint, ledger=ledger, detector="coverage", on_alarm="refuse", false_positive_rate=0.05)
    )
    with contextlib.closing(sqlite3.connect(ledger)) as database:
        noted = dict(
            database.execute(
                "SELECT digest, flagged_at IS NOT NULL FROM beginning JOIN line ON line = number "
                "WHERE beginning.key = 1 AND last"
            )
        )
        histories, flagged, alarm = database.execute("SELECT histories, flagged, alarm FROM suspicion").fetchone()
    sent = [[ids[token] for token in numbered(number)] for number in answered]
    judged = [found.flagged for found in own.guard._judged(sent, [1] * len(sent))]
    assert [noted[digests_of(history)[-1]] for history in sent] == judged
    assert (histories, flagged, alarm) == (len(noted), sum(noted.values()), 1)
    plain = [ids[token] for token in ("i3", "i4", "i5")]
    own.ledger.create_key("bob")
    refused, lists = own.respond([Entry(1, [plain], 5), Entry(2, [plain], 5)])
    assert isinstance(refused, HttpRefusal)
    assert len(lists[0]) == 5


def test_two_workers_give_equal_lists_share_a_budget_and_end_with_their_parent(start_process, checkpoint_of):
    checkpoint = checkpoint_of("GRU4Rec")
    service = start_process(checkpoint, "--workers=2")
    client = service.client
    key, histories = client.key(budget=60), [numbered(number) for number in range(80)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda history: client.post(key, history=history, k=5), histories))
    assert Counter(answer.status for answer in answers) == {200: 60, 402: 20}
    target = load_target(checkpoint)
    for history, answer in zip(histories, answers, strict=True):
        if answer.status == 200:
            assert answer.body["list"] == target.recommend([history], k=5)[0]
    check_nothing_lost(client.ledger, checkpoint, [])
    assert len(two_serving(client)) == 2
    service.process.kill()
    until(lambda: not service.answers())


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGTERM, 2)])
def test_the_command_says_where_it_serves_and_stops_at_a_signal(start_process, checkpoint_of, number, workers):
    service = start_process(checkpoint_of("GRU4Rec"), "--defense=tail_decoy", "--head_k=3", f"--workers={workers}")
    service.process.send_signal(number)
    assert service.process.wait(60) == 0
    text = Path(service.output.name).read_text()
    assert f"through tail_decoy on http://127.0.0.1:{service.client.port}" in text
    assert re.search(r"lists of \d+ items, tail_decoy: head_k 3\n", text)
    assert "no client has a key yet: recbole-gro keys " in text
    assert "Traceback" not in text


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_get_the_options_of_the_command(checkpoint_of, tmp_path, monkeypatch, workers):
    from recbole_gro.http_service import process

    started, made, said = [], [], []
    create = process.create_app
    monkeypatch.setattr(process.uvicorn, "run", lambda app, **settings: started.append((app, settings)))
    monkeypatch.setattr(process, "create_app", lambda options, *file: made.append(options) or create(options, *file))
    monkeypatch.setenv(process.VARIABLE, "")
    ledger = str(tmp_path / "service.db")
    options = process.Options(checkpoint_of("GRU4Rec"), ledger=ledger, limits=process.Limits(history=5), catalogue=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(process.signal, "signal", lambda *_: None)
    process.serve(options, "127.0.0.1", port, workers, lambda: said.append("started"))
    ((app, settings),) = started
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    assert process.uvicorn.Config(app, **settings).workers == workers
    assert said == ["started"]
    if workers > 1:
        assert settings["factory"]
        assert app == "recbole_gro.http_service.process:worker_app"
        process.worker_app()
    assert made == [options] * workers


class Unsavable(CoverageDetector):
    """A detector that holds what no file can."""

    def __init__(self, config):
        super().__init__(config)
        self.lock = threading.Lock()


@pytest.mark.parametrize(("name", "computed"), [("coverage", 1), ("unsavable", 2)])
def test_workers_have_the_thresholds_of_the_command(checkpoint_of, tmp_path, monkeypatch, name, computed):
    from recbole_gro.http_service import process, service

    monkeypatch.setitem(detectors._entries, "unsavable", Unsavable)
    apps, calibrated, calibrate = [], [], service.calibrate
    monkeypatch.setattr(service, "calibrate", lambda *given: calibrated.append(given) or calibrate(*given))
    monkeypatch.setattr(process.uvicorn, "run", lambda app, **_: apps.append(process.worker_app()))
    monkeypatch.setenv(process.VARIABLE, "")
    own = {"ledger": str(tmp_path / "service.db"), "detector": name, "false_positive_rate": 0.05}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process.serve(process.Options(checkpoint_of("GRU4Rec"), **own), "127.0.0.1", port, 2, lambda: None)
    assert len(calibrated) == computed
    ((_, tracer, benign, settings),) = calibrated[:1]
    (expected,) = calibrate(load_target(checkpoint_of("GRU4Rec")), tracer, benign, settings).values()
    detector = apps[0].state.detector
    assert (detector.threshold, detector.window_threshold) == (expected.threshold, expected.window_threshold)
    histories = torch.tensor([[3, 4, 5, 0], [9, 9, 9, 9]])
    assert torch.equal(detector.scores(tracer.trace(histories)), expected.scores(tracer.trace(histories)))


def test_thresholds_are_computed_again_where_their_file_is_gone(checkpoint_of, tmp_path):
    own = {"ledger": str(tmp_path / "service.db"), "detector": "coverage", "false_positive_rate": 0.05}
    options = Options(checkpoint_of("GRU4Rec"), **own)
    made = [DefendedService(options, file) for file in (None, str(tmp_path / "gone.pth"))]
    assert made[0].detector.threshold == made[1].detector.threshold
    for service in made:
        service.close()


def test_two_workers_judge_a_key_by_the_same_histories(checkpoint_of, start_process):
    words = ["--workers=2", "--detector=coverage", "--on_alarm=refuse", "--false_positive_rate=0.05"]
    client = start_process(checkpoint_of("GRU4Rec"), *words).client
    key = client.key()
    assert client.post(key, history=["i3"]).status == 200
    for item in range(5, 15):
        assert client.post(key, history=[f"i{item}"] * 8).status == 429
    refused = [client.post(key, history=[f"i{item}"]) for item in range(20, 28)]
    assert [answer.status for answer in refused] == [429] * 8  # whichever worker answers
    assert "not like those of users" in refused[0].body["error"]
    assert client.spent() == 1
    assert 'recbole_gro_flagged{what="keys"} 1' in client.get("/metrics").body


@pytest.mark.parametrize("workers", [1, 2])
def test_the_ledger_of_another_catalogue_is_one_line_before_a_worker_starts(
    checkpoint_of, tmp_path, monkeypatch, capsys, workers
):
    from recbole_gro.http_service import process

    monkeypatch.setattr(process.uvicorn, "run", lambda *_, **__: pytest.fail("a worker starts"))
    with contextlib.closing(Ledger(tmp_path / "other.db")) as ledger:
        ledger.bind(Catalogue("00" * 32, 7))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [f"--ledger={tmp_path / 'other.db'}", f"--port={port}", f"--workers={workers}"]
    assert main(["serve", checkpoint_of("GRU4Rec"), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "other.db is of another catalogue than the checkpoint's (7 items, not 30); name another file" in line


def until(holds, seconds=120):
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def two_serving(client):
    """The ids of the two workers of a service, once both answer."""
    found = set()

    def both():
        found.update(re.findall(r'batches_total\{worker="(\d+)"', client.get("/metrics").body))
        return len(found) == 2

    until(both)
    return sorted(map(int, found))


def test_a_worker_that_finds_the_ledger_of_another_catalogue_ends_with_one_line(
    checkpoint_of, tmp_path, monkeypatch, caplog
):
    from recbole_gro.http_service import process

    options = Options(checkpoint_of("GRU4Rec"), ledger=str(tmp_path / "other.db"))
    with contextlib.closing(Ledger(options.ledger_file)) as ledger:
        ledger.bind(Catalogue("00" * 32, 7))
    handed = {"options": asdict(options), "detector_file": None, "ledger": identity(options.ledger_file)}
    monkeypatch.setenv(process.VARIABLE, json.dumps(handed))
    with pytest.raises(SystemExit) as ended:
        process.worker_app()
    assert ended.value.code == 1
    (line,) = caplog.messages
    assert line.startswith("a worker cannot start, and is tried again: ledger: ")
    assert "is of another catalogue than the checkpoint's (7 items, not 30)" in line


def test_a_worker_that_is_replaced_makes_no_ledger_in_the_place_of_one_that_was_moved(start_process, checkpoint_of):
    service = start_process(checkpoint_of("GRU4Rec"), "--workers=2")
    key, place = service.client.key(), Path(service.client.ledger)
    killed, _ = two_serving(service.client)  # the other one answers meanwhile
    assert service.client.post(key, history=["i1"]).status == 200
    place.rename(place.with_name("away.db"))
    os.kill(killed, signal.SIGKILL)

    def text():
        return Path(service.output.name).read_text()

    until(lambda: "a worker cannot start, and is tried again: ledger: " in text())
    assert not place.exists()
    assert service.client.post(key, history=["i1"]).status == 503
    place.with_name("away.db").rename(place)
    assert service.client.post(key, history=["i1"]).status == 200
    assert service.client.spent() == 2
    said = text()
    assert "Traceback" not in said
    assert said.count("a worker cannot start") == said.count("\na worker cannot start")  # a line each


@pytest.mark.every
def test_a_worker_that_hangs_is_replaced(start_process, checkpoint_of):
    service = start_process(checkpoint_of("GRU4Rec"), "--workers=2")
    key, (hung, other) = service.client.key(), two_serving(service.client)
    time.sleep(2)  # until both have been pinged
    os.kill(hung, signal.SIGSTOP)
    line = f"worker {hung} has not answered for 20 s and is replaced"
    until(lambda: line in Path(service.output.name).read_text())
    until(lambda: not Path(f"/proc/{hung}").exists())
    assert {*two_serving(service.client)} > {other}
    assert service.client.post(key, history=["i1"]).status == 200


def test_connections_send_at_once():
    with bound("127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()) as client, listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert client.getpeername() == listener.getsockname()


def test_a_port_in_use_leaves_no_ledger(checkpoint_of, tmp_path):
    from recbole_gro.http_service.process import serve

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        options = Options(checkpoint_of("GRU4Rec"), ledger=str(tmp_path / "service.db"))
        with pytest.raises(UserError, match="cannot be used: Address already"):
            serve(options, "127.0.0.1", taken.getsockname()[1], 1, lambda: None)
    assert not (tmp_path / "service.db").exists()


def test_a_port_in_use_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--host, --port: 127.0.0.1 port {port} cannot be used: Address already"):
            bound("127.0.0.1", port)
