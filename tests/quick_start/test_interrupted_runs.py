"""Interrupted runs that are started again with the same command."""

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
from pipeline import TINY_RUN, drop_fields, files_below

import recbole_gro
from recbole_gro.cli.main import main
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
    "references": ["independent", "untrained"],
}
CHANGING = ("seconds", "peak_memory_mib", "config")
# log lines after which a process is killed; None: at random
LOGGED = [
    "target: resume checkpoint after epoch 2",
    "queries-random: query 1 answered",
    "target-gro_decoys: resume checkpoint after epoch 1",
    "reference untrained",
]
AT_RANDOM = [None] * 10


def words(data_path, folder, **settings):
    """The command's words for a tiny run."""
    given = {**RUN, "data_path": str(data_path), "output_dir": str(folder), **settings}
    return ["-m", "BERT4Rec", "-d", "tiny", *(f"--{key}={value}" for key, value in given.items())]


def on_one_thread(words):
    """Run the command on one thread, as this process does; more threads round otherwise."""
    torch.set_num_threads(1)
    return main(words)


def log_of(folder):
    file = folder / "run.log"
    return file.read_text() if file.exists() else ""


@pytest.fixture(scope="module")
def processes():
    """A context of processes that have imported the package."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["recbole_gro.quick_start.run"])
    return context


@pytest.fixture(scope="module")
def uninterrupted(tiny_data_path, tmp_path_factory):
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert main(words(tiny_data_path, folder)) == 0
    return folder


def numbers(folder):
    return drop_fields(json.loads((folder / "results.json").read_text()), *CHANGING)


def logged_queries(folder, name):
    """Return the access log of a defense's provider without the times."""
    lines = (folder / f"access-{name}.jsonl").read_text().splitlines()
    return [drop_fields(json.loads(line), "time") for line in lines]


def kill_at(process, folder, line, draw):
    """Kill a process once its log holds a line; for None, after a random number of lines."""
    lines = log_of(folder).count("\n") + draw.randint(5, 60)
    while process.is_alive() and not (line in log_of(folder) if line else log_of(folder).count("\n") >= lines):
        time.sleep(0.002)
    if line is None:
        time.sleep(draw.uniform(0, 0.05))
    process.kill()
    process.join()


@pytest.mark.parametrize(
    "moments", [LOGGED, pytest.param(AT_RANDOM, marks=pytest.mark.every)], ids=["logged", "random"]
)
def test_a_run_that_is_killed_ends_with_the_same_numbers(tiny_data_path, tmp_path, processes, uninterrupted, moments):
    folder, draw = tmp_path / "run", random.Random(5)
    for line in moments:
        process = processes.Process(target=on_one_thread, args=(words(tiny_data_path, folder),))
        process.start()
        kill_at(process, folder, line, draw)
    environment = {**os.environ, "PYTHONPATH": str(Path(recbole_gro.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "recbole_gro", *words(tiny_data_path, folder)]
    last = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (last.returncode, last.stderr) == (0, "")
    assert numbers(folder) == numbers(uninterrupted)
    assert {file.name for file in folder.iterdir()} == {file.name for file in uninterrupted.iterdir()}

    for name in RUN["defense"]:
        assert logged_queries(folder, name) == logged_queries(uninterrupted, name) != []

    log, whole_log = log_of(folder), log_of(uninterrupted)
    finished = re.compile(r"\S+: resume checkpoint after epoch \d+|\S+: query \d+ answered")
    assert Counter(finished.findall(log)) <= Counter(finished.findall(whole_log))
    # only the epoch in progress is trained again
    trained = re.compile(r"epoch \d+ training")
    once = len(trained.findall(whole_log))
    assert once <= len(trained.findall(log)) <= once + len(moments)
    if moments is LOGGED:
        # the kill may come after one more epoch or query than the line that it waits for
        assert re.search(r"target: resumes from epoch [34]\b", log)
        assert re.search(r"target-gro_decoys: resumes from epoch [23]\b", log)
        assert re.search(r"queries-random: [234] cached queries of an earlier start are not repeated", log)


@pytest.fixture
def run(tiny_data_path, tmp_path, capsys):
    """Run the command in `tmp_path / "run"`: `code, printed, errors = run(seed=3)`."""

    def start(**settings):
        small = {"defense": "none", "attack": False, "epochs": 1}
        code = main(words(tiny_data_path, tmp_path / "run", **{**small, **settings}))
        return code, *capsys.readouterr()

    return start


def test_the_results_of_a_finished_run_are_printed_again(run, tmp_path):
    _, first, _ = run()
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "run").iterdir() if file.name != "run.log"}
    code, printed, _ = run(show_progress=True)
    assert code == 0
    assert "holds this run, finished" in printed
    assert [line for line in printed.splitlines() if "|" in line] == [
        line for line in first.splitlines() if "|" in line
    ]
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_they_are_printed_from_a_folder_that_cannot_be_written(run, tmp_path):
    _, first, _ = run()
    for name in ("run.log", "run.lock"):  # which cannot be written then, by root too
        (tmp_path / "run" / name).unlink()
        (tmp_path / "run" / name).symlink_to(tmp_path / "absent" / name)
    (tmp_path / "run" / "results.md").unlink()  # it is not made again
    before = sorted((tmp_path / "run").iterdir())
    code, printed, errors = run()
    assert (code, errors) == (0, "")
    assert [line for line in printed.splitlines() if "|" in line] == [
        line for line in first.splitlines() if "|" in line
    ]
    assert sorted((tmp_path / "run").iterdir()) == before
    code, _, errors = run(seed=8)
    assert code == 2
    assert "holds a run of other settings (seed: " in errors


def test_a_run_of_other_settings_is_refused_and_the_differences_are_named(run, tmp_path):
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


def test_a_second_run_in_the_same_folder_is_refused(run, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with one_at_a_time(folder / "run"):
        code, _, errors = run()
    assert code == 2
    assert errors == (
        f"recbole-gro: error: output_dir: another process runs in {folder}; wait for its end or name another folder\n"
    )
    assert files_below(folder) == ["run.lock", "run.log"]
    assert run()[0] == 0


def test_a_process_killed_before_it_wrote_its_settings_is_resumed(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.log").write_text("")
    (tmp_path / "run" / "run.json.part").write_text("{")
    assert run()[0] == 0


@pytest.fixture
def disk_full_at(tmp_path, monkeypatch):
    """Make one file of the run fail to be written in a block: `with disk_full_at("target.pth"): ...`."""
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
def test_a_full_disk_is_reported_and_the_run_resumes_when_there_is_space(run, tmp_path, disk_full_at, name):
    with disk_full_at(name):
        code, _, errors = run(attack=True, epochs=2)
    assert code == 2
    assert fnmatch.fnmatch(
        errors, f"recbole-gro: error: {tmp_path / 'run' / name} cannot be written: No space left on device\n"
    )
    assert [file for file in files_below(tmp_path / "run") if file.endswith(".part")] == []
    assert run(attack=True, epochs=2)[0] == 0


SURROGATE = "stages/surrogate-*"


@pytest.mark.parametrize("name", ["work/resume/surrogate-none-10.pth", "work/resume/surrogate-none-*-1.pth", "pth"])
def test_an_attack_that_trains_several_surrogates_resumes(run, tmp_path, disk_full_at, name):
    several = {"attack": True, "attacker": "head", "surrogate_ensemble": 2, "epochs": 2}
    assert run(**several)[0] == 0
    (tmp_path / "run").rename(tmp_path / "uninterrupted")
    with disk_full_at(f"{SURROGATE}.{name}"):
        assert run(**several)[0] == 2
    assert run(**several)[0] == 0
    assert numbers(tmp_path / "run") == numbers(tmp_path / "uninterrupted")


def test_a_log_that_cannot_be_written_is_reported(run, tmp_path, monkeypatch):
    def emit(handler, record):
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), handler.baseFilename)
        except OSError:
            handler.handleError(record)

    monkeypatch.setattr(logging.FileHandler, "emit", emit)
    code, _, errors = run()
    assert code == 2
    assert errors == f"recbole-gro: error: {tmp_path / 'run' / 'run.log'} cannot be written: No space left on device\n"
