"""Whole experiments: run, resumed and reported."""

import csv
import functools
import os
import signal
import time
import warnings

import pytest
import torch
import yaml
from experiment.grid import tiny

from recbole_gro import UserError
from recbole_gro.experiment import run as experiment_run
from recbole_gro.experiment.cells import Cell, run_cell
from recbole_gro.experiment.estimate import Estimate
from recbole_gro.experiment.run import run_experiment
from recbole_gro.utils.files import one_at_a_time
from recbole_gro.utils.random_state import global_state_kept


@pytest.fixture
def settings(tiny_data_path, tmp_path, monkeypatch):
    """Settings that make an experiment tiny; the working folder is empty."""
    monkeypatch.chdir(tmp_path)
    return {**tiny(tiny_data_path).fixed, "seeds": [1]}


def cells_of(folder):
    return [Cell.load(file) for file in sorted((folder / "cells").iterdir())]


def times_of(folder):
    return {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}


def test_a_grid_is_run_and_reported_and_not_run_again(settings, tmp_path, capsys):
    grid = {**settings, "gro_lambda": [0.1, 1.0], "seeds": [1, 2]}
    folder = run_experiment("lambda", grid)
    assert folder.resolve() == tmp_path / "runs" / "experiment-lambda"
    made = {"report.html", "report.md", "figure-1.png", "results.csv", "cells", "stages", "logs", "experiment.lock"}
    assert made == {f.name for f in folder.iterdir()}
    with open(folder / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["gro_lambda"], row["defense"], row["seed"]) for row in rows} == {
        (x, defense, seed) for x in ("0.1", "1.0") for defense in ("none", "gro") for seed in ("1", "2")
    }
    assert "8 cells, 0 done, 8 to run" in capsys.readouterr().out
    before = times_of(folder / "cells")
    run_experiment("lambda", grid)
    assert "8 cells, 8 done, 0 to run" in capsys.readouterr().out
    assert times_of(folder / "cells") == before


def test_finished_cells_are_read_for_the_report_alone(settings, monkeypatch):
    run_experiment("defenses", {**settings, "defense": ["none", "random"]})
    read, load, run = [], Cell.load, experiment_run.run_cell

    def recorded(file):
        read.append(file)
        return load(file)

    def run_before_any_is_read(*args, **options):
        assert read == []
        return run(*args, **options)

    monkeypatch.setattr(Cell, "load", recorded)
    monkeypatch.setattr(experiment_run, "run_cell", run_before_any_is_read)
    run_experiment("defenses", {**settings, "defense": ["none", "random", "reverse"]})
    assert len(read) == 3


def test_workers_give_the_same_numbers_without_warnings(settings, capfd, monkeypatch):
    monkeypatch.setenv("PYTHONWARNINGS", "default")  # of the workers; the filters of pytest hold in this process only
    grid = {**settings, "defense": ["none", "gro"], "seeds": [1, 2]}
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        one, two = run_experiment("defenses", grid, "one"), run_experiment("defenses", grid, "two", workers=2)
    assert "GradScaler" not in capfd.readouterr().err
    assert (one / "results.csv").read_text() == (two / "results.csv").read_text()


def test_workers_train_a_target_once_for_the_arms_that_share_it(settings):
    del settings["gro_epochs"]  # that of epochs
    arms = ["none at its best epoch", "none at its last epoch"]
    folder = run_experiment("paper", {**settings, "arm": arms, "adversary": "mixed"}, "shared", workers=2)
    logs = [(log / "run.log").read_text() for log in (folder / "logs").iterdir()]
    assert len(logs) == 2
    assert sum(log.count("target: BERT4Rec trains on") for log in logs) == 1


def test_a_trade_off_needs_the_untrained_surrogate(settings, tmp_path):
    with pytest.raises(UserError, match=r"^references: figure tradeoff compares gains over untrained; add it"):
        run_experiment("tradeoff", {**settings, "defense": ["none"], "references": ["popularity"]})
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_trade_off_of_lists_shorter_than_its_cut_off_is_refused(settings, tmp_path, dry_run):
    short = settings | {"served_k": 9, "head_k": [5], "gro_head_k": 5}
    with pytest.raises(UserError, match="served_k: 9 is not allowed; figure tradeoff compares lists of 10 items or mo"):
        run_experiment("tradeoff", short, tmp_path / "out", dry_run=dry_run)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "vary",
    [
        {"references": [["untrained"], ["popularity"]]},
        {"arm": {"all": {}, "few": {"references": ["popularity"]}}},
    ],
)
def test_every_setting_of_a_trade_off_needs_the_untrained_surrogate(settings, tmp_path, vary):
    fixed = {key: value for key, value in settings.items() if key not in {"seeds", *vary}}
    grid = {"title": "T", "figure": "tradeoff", "vary": {"defense": ["none"], **vary}, "seeds": [1], "fixed": fixed}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(grid))
    with pytest.raises(UserError, match=r"^references: .* over untrained; add it to those of every setting$"):
        run_experiment("own.yaml")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("seconds", "options", "message"),
    [
        ([3600.0], {"workers": 4}, "about 60 min in all, 1 at a time; nothing"),
        ([3600.0, 600.0, 600.0], {"workers": 2}, "about 60 min in all, 2 at a time; nothing"),
        ([3600.0] * 4, {"workers": 2}, "about 2.0 h in all, 2 at a time; nothing"),
        ([3600.0, 1800.0], {}, "about 1.5 h in all, 1 at a time; nothing"),
        ([3600.0] * 4, {"executor": "ray"}, "about 4.0 h of one CPU in all, divided by Ray; nothing"),
        ([3600.0, 600.0], {"at_most": 3, "workers": 2}, "in all, 2 at a time; 3.0 h if no surrogate stops early; noth"),
        ([600.0], {"at_most": 1.01}, "about 10 min in all, 1 at a time; nothing"),
    ],
)
def test_the_duration_of_all_is_no_less_than_that_of_a_cell(settings, monkeypatch, capsys, seconds, options, message):
    options = dict(options)
    times = options.pop("at_most", 1)
    monkeypatch.setattr(experiment_run, "estimated_seconds", lambda *_: [Estimate(s, times * s) for s in seconds])
    monkeypatch.setattr(experiment_run, "check_executor", lambda *_: None)
    run_experiment(
        "defenses", {**settings, "defense": "none", "seeds": list(range(len(seconds)))}, dry_run=True, **options
    )
    assert message in capsys.readouterr().out


@pytest.mark.parametrize(("options", "threads"), [({}, 6), ({"workers": 3}, 2), ({"executor": "ray"}, 1)])
@global_state_kept()
def test_cells_are_timed_with_the_threads_that_they_will_have(settings, monkeypatch, options, threads):
    seen = []

    def timed(experiment, done, missing, stages_dir):
        seen.append(torch.get_num_threads())
        return [Estimate(1, 1)] * len(missing)

    torch.set_num_threads(6)
    monkeypatch.setattr(experiment_run, "estimated_seconds", timed)
    monkeypatch.setattr(experiment_run, "check_executor", lambda *_: None)
    run_experiment("defenses", {**settings, "defense": "none"}, dry_run=True, **options)
    assert (seen, torch.get_num_threads()) == ([threads], 6)


@pytest.mark.parametrize("key", ["workers", "output_dir", "stages_dir"])
def test_options_of_the_command_are_no_settings(settings, tmp_path, key):
    with pytest.raises(UserError, match=rf"^{key}: cells do not read it; it is an option of the command \(--{key}\)"):
        run_experiment("defenses", {**settings, key: 4 if key == "workers" else "elsewhere"})
    assert list(tmp_path.iterdir()) == []


def test_experiments_share_the_stages_of_a_folder(settings, tmp_path):
    given = {**settings, "defense": ["none", "gro"]}
    first = cells_of(run_experiment("defenses", given, stages_dir="shared"))
    before = times_of(tmp_path / "shared")
    models = {**given, "surrogate_model": ["NARM", "GRU4Rec"]}
    folder = run_experiment("architectures", models, stages_dir="shared")
    second, after = cells_of(folder), times_of(tmp_path / "shared")
    assert before.items() <= after.items()
    assert {name.partition("-")[0] for name in after.keys() - before.keys()} == {
        "reference",  # the untrained surrogate
        "surrogate",
    }
    assert len(second) == 4
    for cell in second:
        [twin] = [other for other in first if other.values["defense"] == cell.values["defense"]]
        stage = "defended" if cell.values["defense"] == "gro" else "target"
        assert cell.facts["seconds"][stage] == twin.facts["seconds"][stage]
        assert (cell.target_ranks == twin.target_ranks).all()
    assert not (folder / "stages").exists()


def test_a_failed_cell_is_reported_and_the_others_are_kept(settings, tmp_path, monkeypatch, capsys):
    run = experiment_run.run_cell

    def failing(experiment, values, seed, **options):
        if values["defense"] == "reverse":
            raise UserError("out of luck")
        run(experiment, values, seed, **options)

    with monkeypatch.context() as patch:
        patch.setattr(experiment_run, "run_cell", failing)
        with pytest.raises(UserError) as caught:
            run_experiment("defenses", settings)
    assert str(caught.value) == "1 of the cells failed, the others are kept: defense reverse, seed 1: out of luck"
    report = (tmp_path / "runs" / "experiment-defenses" / "report.md").read_text()
    assert "defense reverse, seed 1" in report
    capsys.readouterr()
    run_experiment("defenses", settings)
    assert "4 cells, 3 done, 1 to run" in capsys.readouterr().out


def killed(marker, experiment, values, seed, **options):
    """Run a cell whose process is killed once its stages are done: of `random` at first, of `reverse` every time."""
    while values["defense"] == "reverse" and not marker.exists():  # else it could end the first attempt of `random`
        time.sleep(0.05)
    if values["defense"] == "reverse" or (values["defense"] == "random" and not marker.exists()):
        marker.touch()
        Cell.save = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    run_cell(experiment, values, seed, **options)


def test_a_killed_worker_costs_no_cell_but_one_that_kills_it_every_time(settings, tmp_path, monkeypatch):
    grid = {**settings, "defense": ["none", "random", "reverse"]}
    with monkeypatch.context() as patch:
        patch.setattr(experiment_run, "run_cell", functools.partial(killed, tmp_path / "marker"))
        with pytest.raises(UserError) as caught:
            run_experiment("defenses", grid, "two", workers=2)
    assert str(caught.value) == (
        "1 of the cells failed, the others are kept: defense reverse, seed 1: the worker process ended without an "
        "answer at every attempt (SIGKILL), most likely for want of memory; fewer --workers and smaller batches take "
        "less memory, and the same command resumes from what is done"
    )
    assert {cell.values["defense"] for cell in cells_of(tmp_path / "two")} == {"none", "random"}
    assert "defense reverse, seed 1" in (tmp_path / "two" / "report.md").read_text()
    one, two = run_experiment("defenses", grid, "one"), run_experiment("defenses", grid, "two")
    assert (one / "results.csv").read_text() == (two / "results.csv").read_text()


def test_a_folder_in_use_is_refused(settings, tmp_path):
    with (
        one_at_a_time(tmp_path / "out" / "experiment"),
        pytest.raises(UserError, match=r"^output_dir: another process runs in .*out; wait for its end or name another"),
    ):
        run_experiment("defenses", settings, output_dir="out")


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("key", ["output_dir", "stages_dir"])
@pytest.mark.parametrize("name", ["defenses", "alarms", "ownership", "marks", "datasets"])
def test_a_folder_that_cannot_be_made_is_named(settings, tmp_path, name, key, dry_run):
    (tmp_path / "taken").touch()
    given = settings if name == "defenses" else {}
    with pytest.raises(UserError, match=f"^{key}: taken cannot be made: File exists$"):
        run_experiment(name, given, **{"output_dir": "out", key: "taken"}, dry_run=dry_run)
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "slurm"}, "executor: 'slurm' is not one of local, ray"),
        ({"workers": 0}, "workers: 0 is not allowed; it takes a whole number 1 to 1024"),
        ({"workers": 1.5}, "workers: 1.5 is not allowed"),
        ({"workers": True}, "workers: True is not allowed"),
    ],
)
def test_an_invalid_executor_is_refused_before_anything_is_written(settings, tmp_path, options, message):
    with pytest.raises(UserError) as caught:
        run_experiment("defenses", settings, **options)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "given", "options", "message"),
    [
        ("defenses", {"detector": ["mmd"]}, {}, "detector: experiment defenses does not read it; recbole-gro detect"),
        ("datasets", {"served_k": 5}, {}, "served_k: experiment datasets does not read it; recbole-gro run does"),
        ("datasets", {}, {"workers": 2}, "workers, executor: experiment datasets runs in one process; leave them out"),
        ("ownership", {}, {"workers": 2}, "workers, executor: experiment ownership runs in one process"),
        ("marks", {}, {"workers": 2}, "workers, executor: experiment marks runs in one process"),
    ],
)
def test_what_an_experiment_does_not_read_is_refused(tmp_path, monkeypatch, name, given, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        run_experiment(name, given, **options)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_without_varied_keys_is_one_cell(settings, tmp_path, capsys):
    (tmp_path / "one.yaml").write_text("title: One\nfigure: k\nvary: {}\nseeds: [1]\n")
    folder = run_experiment("one.yaml", {**settings, "seeds": 4})
    assert " seed 4: done" in capsys.readouterr().out
    assert [cell.values for cell in cells_of(folder)] == [{}]
