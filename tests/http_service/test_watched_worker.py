"""Pings of workers that are mute; the processes here sleep, and the test answers for them."""

import itertools
import multiprocessing
import os
import signal
import threading
import time

import pytest

pytest.importorskip("uvicorn")

from uvicorn.supervisors import multiprocess

from recbole_gro.http_service import watched_worker
from recbole_gro.http_service.watched_worker import watched_workers

LONG = 60


@pytest.fixture
def worker():
    """A worker that answers no ping."""
    with watched_workers():
        made = multiprocess.Process.__new__(multiprocess.Process)
        made.parent_conn, made.child_conn = multiprocessing.Pipe()
        made.process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(LONG,), daemon=True)
        made.process.start()
        yield made
        made.process.kill()
        made.process.join()
        made.parent_conn.close()
        made.child_conn.close()


def seconds_of(ping, *, after=0.2, do):
    """What a ping returns and how long it takes, where something is done meanwhile."""
    timer = threading.Timer(after, do)
    began = time.monotonic()
    timer.start()
    found = ping(LONG)
    timer.join()
    return found, time.monotonic() - began


def test_an_answer_is_taken(worker):
    found, seconds = seconds_of(worker.ping, do=lambda: worker.child_conn.send(True))
    assert found
    assert seconds < LONG / 2


def test_a_worker_that_ends_while_it_is_asked_is_noticed(worker):
    found, seconds = seconds_of(worker.ping, do=worker.process.kill)
    assert not found
    assert seconds < LONG / 2


@pytest.mark.parametrize("answers", [True, False])
def test_a_signal_to_stop_ends_the_wait_for_a_mute_worker_alone(worker, answers):
    handled = []
    before = signal.signal(signal.SIGTERM, lambda *given: handled.append(given))

    def stop():
        os.kill(os.getpid(), signal.SIGTERM)
        if answers:
            time.sleep(0.2)
            worker.child_conn.send(True)

    try:
        found, seconds = seconds_of(worker.ping, do=stop)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert found == answers
    assert seconds < LONG / 2
    assert len(handled) == 1


def test_another_signal_does_not_end_it(worker):
    before = signal.signal(signal.SIGWINCH, lambda *_: None)
    try:
        os.kill(os.getpid(), signal.SIGWINCH)
        began = time.monotonic()
        assert not worker.ping(3)
        assert time.monotonic() - began >= 3
    finally:
        signal.signal(signal.SIGWINCH, before)


def test_a_worker_that_serves_has_less_time_and_is_named_once_it_hangs(worker, monkeypatch, caplog):
    monkeypatch.setattr(watched_worker, "SECONDS_HUNG", 1.0)
    worker.child_conn.send(True)
    assert worker.ping(LONG)
    found, seconds = seconds_of(worker.ping, do=lambda: None)
    assert not found
    assert 1 <= seconds < LONG / 2
    assert caplog.messages == [f"worker {worker.process.pid} has not answered for 1 s and is replaced"]


def test_a_worker_that_still_starts_has_the_whole_time(worker, monkeypatch, caplog):
    monkeypatch.setattr(watched_worker, "SECONDS_HUNG", 0.1)
    worker.child_conn.send(False)  # it answers from a thread, and makes its model
    assert worker.ping(LONG)
    found, seconds = seconds_of(worker.ping, after=1, do=lambda: worker.child_conn.send(True))
    assert found
    assert 1 <= seconds < LONG / 2
    assert not caplog.messages


def test_a_pause_of_the_parent_is_no_silence_of_a_worker(worker, monkeypatch):
    monkeypatch.setattr(watched_worker, "SECONDS_HUNG", 3.0)
    monkeypatch.setattr(watched_worker.time, "monotonic", itertools.count(0, 1000).__next__)  # stopped at each wait
    worker.child_conn.send(True)
    assert worker.ping(LONG)
    threading.Timer(1.5, lambda: worker.child_conn.send(True)).start()
    assert worker.ping(LONG)


def test_a_broken_connection_is_no_answer(worker):
    worker.parent_conn.close()
    assert not worker.ping(LONG)


def test_uvicorns_own_workers_and_the_signals_come_back():
    plain = multiprocess.Process
    with watched_workers():
        assert multiprocess.Process is not plain
    assert multiprocess.Process is plain
    assert signal.set_wakeup_fd(-1) == -1
