"""Runs that are killed and started again with the same command."""

import contextlib
import errno
import fnmatch
import json
import logging
import multiprocessing
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from conftest import write_inter
from pipeline import TINY_RUN, drop_fields, files_below

import recbole_gro
from recbole_gro.cli.main import main
from recbole_gro.quick_start.run_folder import settings_of_run
from recbole_gro.utils.files import one_at_a_time

RUN = {
    **TINY_RUN,
    "defense": ["none", "random", "gro", "gro_decoys+tail_random"],
    "head_k": 5,
    "gro_head_k": 5,
    "gro_min_quality": 0.5,
    "epochs": 5,
    "gro_epochs": 4,
    "surrogate_epochs": 3,
    "eval_step": 1,
    "access_log": True,
}
CHANGING = ("seconds", "peak_memory_mib", "config")
# moments to pull the plug at: as the log says it, and at random
TOLD = [
    "target: resume checkpoint after epoch 2",
    "queries-random: query 1 answered",
    "target-gro_decoys: resume checkpoint after epoch 1",
]
AT_RANDOM = [None] * 10


def words(data_path, folder, **settings):
    """The command's words for a tiny run."""
    given = {**RUN, "data_path": str(data_path), "output_dir": str(folder), **settings}
    return ["-m", "BERT4Rec", "-d", "tiny", *(f"--{key}={value}" for key, value in given.items())]


def on_one_thread(words):
    """The command as the tests of this process run it; more threads round otherwise."""
    torch.set_num_threads(1)
    return main(words)


def log_of(folder):
    file = folder / "run.log"
    return file.read_text() if file.exists() else ""


@pytest.fixture(scope="module")
def processes():
    """Starts processes that have everything imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["recbole_gro.quick_start.run"])
    return context


@pytest.fixture(scope="module")
def whole(tiny_data_path, tmp_path_factory):
    """Folder of the run as it is when nobody disturbs it."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert main(words(tiny_data_path, folder)) == 0
    return folder


def numbers(folder):
    return drop_fields(json.loads((folder / "results.json").read_text()), *CHANGING)


def asked_of(folder, name):
    """What the provider of a defense has written down, but for the times."""
    lines = (folder / f"access-{name}.jsonl").read_text().splitlines()
    return [drop_fields(json.loads(line), "time") for line in lines]


def kill_at(process, folder, told, draw):
    """kill -9 once the log says so; without a word to wait for, some lines later."""
    lines = log_of(folder).count("\n") + draw.randint(5, 60)
    while process.is_alive() and not (told in log_of(folder) if told else log_of(folder).count("\n") >= lines):
        time.sleep(0.002)
    if told is None:
        time.sleep(draw.uniform(0, 0.05))
    process.kill()
    process.join()


@pytest.mark.parametrize("moments", [TOLD, pytest.param(AT_RANDOM, marks=pytest.mark.every)], ids=["told", "random"])
def test_a_run_that_is_killed_ends_with_the_same_numbers(tiny_data_path, tmp_path, processes, whole, moments):
    folder, draw = tmp_path / "run", random.Random(5)
    for told in moments:
        process = processes.Process(target=on_one_thread, args=(words(tiny_data_path, folder),))
        process.start()
        kill_at(process, folder, told, draw)
    environment = {**os.environ, "PYTHONPATH": str(Path(recbole_gro.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "recbole_gro", *words(tiny_data_path, folder)]
    last = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (last.returncode, last.stderr) == (0, "")
    assert numbers(folder) == numbers(whole)
    assert {file.name for file in folder.iterdir()} == {file.name for file in whole.iterdir()}

    for name in RUN["defense"]:
        assert asked_of(folder, name) == asked_of(whole, name) != []

    log, undisturbed = log_of(folder), log_of(whole)
    finished = re.compile(r"\S+: resume checkpoint after epoch \d+|\S+: query \d+ answered")
    assert set(Counter(finished.findall(log)).values()) == {1}
    assert set(finished.findall(log)) <= set(finished.findall(undisturbed))
    # a kill costs the epoch that it falls in, no other
    trained = re.compile(r"epoch \d+ training")
    once = len(trained.findall(undisturbed))
    assert once <= len(trained.findall(log)) <= once + len(moments)
    if moments is TOLD:
        assert "target: resumes from epoch 3" in log
        assert "target-gro_decoys: resumes from epoch 2" in log
        assert "queries-random: 2 cached queries of an earlier start are not repeated" in log


@pytest.fixture
def run(tiny_data_path, tmp_path, capsys):
    """Give the command in `tmp_path / "run"`: `code, printed, errors = run(seed=3)`."""

    def start(**settings):
        small = {"defense": "none", "attack": False, "epochs": 1}
        code = main(words(tiny_data_path, tmp_path / "run", **{**small, **settings}))
        return code, *capsys.readouterr()

    return start


def test_a_finished_run_is_told_again(run, tmp_path):
    _, first, _ = run()
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "run").iterdir() if file.name != "run.log"}
    code, printed, _ = run(show_progress=True)
    assert code == 0
    assert "holds this run, finished" in printed
    assert [line for line in printed.splitlines() if "|" in line] == [
        line for line in first.splitlines() if "|" in line
    ]
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_a_run_of_other_settings_is_refused_with_those_that_differ(run, tmp_path):
    run()
    before = log_of(tmp_path / "run")
    code, _, errors = run(seed=8, learning_rate=0.5)
    assert code == 2
    assert len(errors.splitlines()) == 1
    assert "holds a run of other settings (learning_rate: 0.001 there, 0.5 now; seed: 7 there, 8 now)" in errors
    assert log_of(tmp_path / "run") == before


def test_a_setting_in_a_file_beside_the_config_counts(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text("hidden_size: 4\nn_heads: 1\n")
    run(surrogate_config="small.yaml")
    (tmp_path / "small.yaml").write_text("hidden_size: 8\nn_heads: 1\n")
    code, _, errors = run(surrogate_config="small.yaml")
    assert code == 2
    assert "surrogate_config: {'hidden_size': 4, 'n_heads': 1} there, {'hidden_size': 8, 'n_heads': 1} now" in errors


def test_other_data_under_the_same_name_are_refused(make_config, tmp_path):
    told = []
    for histories in ({"ann": "abcdefgh", "bob": "bcdea"}, {"ann": "abcdefgh", "bob": "cbdea"}):
        config = make_config("NARM", data_path=str(write_inter(tmp_path, histories)), served_k=5)
        told.append(settings_of_run(config))
    assert [name for name in told[0] if told[0][name] != told[1][name]] == ["data"]


def test_a_second_run_in_the_same_folder_is_refused(run, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with one_at_a_time(folder / "run"):
        code, _, errors = run()
    assert code == 2
    assert errors == (
        f"recbole-gro: error: output_dir: another run is at work in {folder}; wait for its end or name another folder\n"
    )
    assert files_below(folder) == ["run.lock", "run.log"]
    assert run()[0] == 0


def test_a_start_that_was_killed_before_it_wrote_its_settings_is_no_obstacle(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.log").write_text("")
    (tmp_path / "run" / "run.json.part").write_text("{")
    assert run()[0] == 0


@pytest.fixture
def disk_full_at(tmp_path, monkeypatch):
    """A context in which one file of the run cannot be written: `with disk_full_at("target.pth"): ...`."""
    real = os.fsync

    @contextlib.contextmanager
    def full(name):
        def fsync(descriptor):
            if fnmatch.fnmatch(os.readlink(f"/proc/self/fd/{descriptor}"), f"*/run/{name}.part"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            yield

    return full


TARGET = "stages/target-*.work/resume/target.pth"
EACH = ["target.pth", TARGET, "stages/queries-*.pth", "queries-none.npz", "results.json", "run.json"]


@pytest.mark.parametrize("name", EACH)
def test_a_full_disk_ends_in_a_line_and_the_run_goes_on_when_there_is_room(run, tmp_path, disk_full_at, name):
    with disk_full_at(name):
        code, _, errors = run(attack=True, epochs=2)
    assert code == 2
    assert fnmatch.fnmatch(
        errors, f"recbole-gro: error: {tmp_path / 'run' / name} cannot be written: No space left on device\n"
    )
    assert [file for file in files_below(tmp_path / "run") if file.endswith(".part")] == []
    assert run(attack=True, epochs=2)[0] == 0


SURROGATE = "stages/surrogate-*"


@pytest.mark.parametrize("name", [f"{SURROGATE}.work/resume/surrogate-none-first-10.pth", f"{SURROGATE}.pth"])
def test_an_attacker_who_trains_several_copies_goes_on(run, tmp_path, disk_full_at, name):
    several = {"attack": True, "attacker": "head", "epochs": 2}
    assert run(**several)[0] == 0
    (tmp_path / "run").rename(tmp_path / "undisturbed")
    with disk_full_at(name):
        assert run(**several)[0] == 2
    assert run(**several)[0] == 0
    assert numbers(tmp_path / "run") == numbers(tmp_path / "undisturbed")


def test_a_log_that_cannot_be_written_ends_in_a_line(run, tmp_path, monkeypatch):
    def emit(handler, record):
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), handler.baseFilename)
        except OSError:
            handler.handleError(record)

    monkeypatch.setattr(logging.FileHandler, "emit", emit)
    code, _, errors = run()
    assert code == 2
    assert errors == f"recbole-gro: error: {tmp_path / 'run' / 'run.log'} cannot be written: No space left on device\n"
