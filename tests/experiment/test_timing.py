"""Times of a few steps on a machine that does other work as well."""

import itertools
import os
import time

import pytest
import torch

from recbole_gro.cli.main import main
from recbole_gro.experiment import timing
from recbole_gro.experiment.timing import REPETITIONS, busy, clock_of, shortest_seconds, step_seconds

CPU = torch.device("cpu")


class Clock:
    """A clock that stands still but for what is added to `now`."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def trainer(clock, seconds):
    """Return a `fit` whose steps take these seconds in turn."""

    def fit(batches, valid, verbose, saved):
        for _, step in zip(batches, itertools.chain(seconds, itertools.repeat(seconds[-1])), strict=False):
            clock.now += step

    return fit


@pytest.mark.parametrize(("threads", "clock"), [(1, time.process_time), (2, time.perf_counter)])
def test_one_thread_of_the_cpu_is_timed_in_cpu_seconds(monkeypatch, threads, clock):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert clock_of(CPU) is clock


def test_cpu_seconds_leave_out_what_others_take(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(timing, "REPETITIONS", 1)
    assert shortest_seconds(clock_of(CPU), lambda: time.sleep(0.2)) < 0.1


def test_the_shortest_repetition_counts():
    clock, took = Clock(), iter([5.0, 1.0, 3.0, 2.0, 4.0])

    def work():
        clock.now += next(took)

    def before():
        clock.now += 100

    assert shortest_seconds(clock, work, before) == 1.0


def test_the_first_step_and_disturbed_ones_do_not_count():
    clock = Clock()
    assert step_seconds(clock, trainer(clock, [50.0, 9.0, 1.0, 2.0, 2.0, 9.0, 9.0]), [0] * 3) == 2.0


def test_batches_of_unequal_length_count_with_their_mean():
    clock = Clock()
    assert step_seconds(clock, trainer(clock, [50.0, *[1.0, 3.0] * REPETITIONS]), [0, 0]) == 2.0


def test_long_steps_are_not_repeated(monkeypatch):
    monkeypatch.setattr(timing, "SECONDS_REPEATED", -1.0)
    clock, runs = Clock(), []
    shortest_seconds(clock, lambda: runs.append(1))
    assert len(runs) == 1
    assert step_seconds(clock, trainer(clock, [50.0, 2.0, 4.0, 1.0]), [0]) == 3.0


@pytest.mark.parametrize(("load", "is_busy"), [(1.0, False), (2.0, False), (2.1, True)])
def test_a_load_above_the_cores_is_reported(monkeypatch, load, is_busy):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 9.0, 9.0))
    assert (busy() or "").startswith("the machine is busy (load 2.1, cores: 2)") == is_busy


def test_a_dry_run_says_so_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "getloadavg", lambda: (1e6, 0.0, 0.0))
    monkeypatch.setattr("recbole.data.dataset.dataset.Dataset._download", None)
    assert main(["experiment", "defenses", "--dry_run", "--dataset=ml-1m"]) == 0
    assert capsys.readouterr().out.count("the machine is busy") == 1
