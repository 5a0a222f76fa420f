"""Cells of an experiment on detection, run, resumed and reported."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import synthetic_histories, write_inter
from experiment.grid import detection_file

from recbole_gro import UserError
from recbole_gro.cli.main import main
from recbole_gro.detection import Detector, detectors
from recbole_gro.experiment import detection_cells
from recbole_gro.experiment import run as experiment_run
from recbole_gro.experiment.detection import ProviderUnderTest
from recbole_gro.experiment.detection_cells import KINDS
from recbole_gro.experiment.run import run_experiment
from recbole_gro.utils.files import one_at_a_time
from recbole_gro.utils.random_state import global_state_kept

ATTACKS = ["standard+random", "few_shot+mimic", "repeat+mixed"]


@pytest.fixture
def grid(tmp_path, tiny_data_path):
    fixed = {"detector": ["coverage", "transitions"]}
    return detection_file(tmp_path, tiny_data_path, ATTACKS, figure="detection", seeds=[1], fixed=fixed)


def test_an_experiment_is_measured_once_and_reported(grid, tmp_path, capsys):
    folder = tmp_path / "out"
    run_experiment(grid, output_dir=folder, dry_run=True)
    assert capsys.readouterr().out.count("attacker") == 3
    run_experiment(grid, output_dir=folder)
    files = sorted((folder / "cells").iterdir())
    assert len(files) == 3
    by_detector = json.loads(files[0].read_text())
    assert [one["detector"] for one in by_detector] == ["coverage", "transitions"]
    for one in by_detector:
        assert one["seed"] == 1
        assert len(one["flagged"]) == 4 >= one["items"] >= 0
        assert set(one["auc"]) == {"1", "2", "3"}  # no sequence has 5 items
        assert 0 <= one["lists"] <= 24 * 4
    report = (folder / "report.md").read_text()
    assert all(attack in report for attack in ATTACKS)
    assert (folder / "detection.png").read_bytes().startswith(b"\x89PNG")
    with (folder / "results.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert {row["measure"] for row in rows} >= {"auc", "true_positives", "false_positives", "items", "lists", "flagged"}
    changed = [file.stat().st_mtime_ns for file in files]
    stages = sorted((folder / "stages").iterdir())
    run_experiment(grid, output_dir=folder)
    assert [file.stat().st_mtime_ns for file in files] == changed
    assert sorted((folder / "stages").iterdir()) == stages
    assert not [file for file in stages if file.name.startswith("surrogate")]  # none is trained
    for content in ("", "[{}]", '[{"seed": 1'):  # a disk that was full, another version's
        whole = files[0].read_text()
        files[0].write_text(content)
        with pytest.raises(UserError, match=rf"{re.escape(files[0].name)} is damaged; delete it, and run"):
            run_experiment(grid, output_dir=folder)
        files[0].write_text(whole)
    # another rate is another cell, of the same queries
    run_experiment(grid, {"false_positive_rate": 0.2}, output_dir=folder)
    assert len(list((folder / "cells").iterdir())) == 6
    assert sorted((folder / "stages").iterdir()) == stages


def test_a_folder_in_use_is_refused(grid, tmp_path):
    with (
        one_at_a_time(tmp_path / "out" / "experiment"),
        pytest.raises(UserError, match=r"^output_dir: another process runs in .*out; wait for its end or name another"),
    ):
        run_experiment(grid, output_dir=tmp_path / "out")


@pytest.mark.parametrize("key", ["output_dir", "stages_dir"])
def test_a_folder_that_cannot_be_made_is_named(grid, tmp_path, key):
    (tmp_path / "taken").touch()
    with pytest.raises(UserError, match=f"^{key}: .*taken.* cannot be made: (File exists|Not a directory)$"):
        run_experiment(grid, **{"output_dir": tmp_path / "out", key: tmp_path / "taken"})


def test_the_heading_is_that_of_every_experiment(grid, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_experiment(grid, {"attacker": "standard+random"}, output_dir="out", dry_run=True)
    assert ": 1 cell, 0 done, 1 to run; out\n" in capsys.readouterr().out


def test_workers_measure_the_same(grid, tmp_path):
    given = {"attacker": ["standard+random"], "seeds": [1, 2]}
    one, two = (run_experiment(grid, given, tmp_path / str(n), workers=n) for n in (1, 2))
    assert (one / "results.csv").read_text() == (two / "results.csv").read_text()


@pytest.mark.parametrize(("options", "threads"), [({}, 6), ({"workers": 2}, 3), ({"executor": "ray"}, 1)])
@pytest.mark.parametrize("figure", ["detection", "alarms"])
@global_state_kept()
def test_workers_share_the_threads_of_the_parent(tmp_path, tiny_data_path, monkeypatch, options, threads, figure):
    """Workers of joblib start with a part of the threads, which was divided again."""
    seen = []

    def executed(run, tasks, **execution):
        torch.set_num_threads(threads)  # as joblib limits them in a worker
        for task in tasks:
            run(*task)
            yield task, None

    def measured(*_):
        seen.append(torch.get_num_threads())
        return ()

    grid = detection_file(
        tmp_path, tiny_data_path, ATTACKS[:1], figure=figure, seeds=[1], fixed={"detector": ["coverage"]}
    )
    kind = replace(KINDS[figure], measure=measured)
    monkeypatch.setitem(KINDS, figure, kind)
    monkeypatch.setattr(detection_cells, "execute", executed)
    monkeypatch.setattr(experiment_run, "check_executor", lambda *_: None)
    torch.set_num_threads(6)
    run_experiment(grid, output_dir=tmp_path / "out", **options)
    assert seen == [threads]


def test_targets_that_fail_are_reported_and_others_are_kept(grid, tmp_path, monkeypatch):
    def failing(provider, config, values, seed):
        if seed == 2:
            raise ValueError("out of luck")
        return detected(provider, config, values, seed)

    detected = ProviderUnderTest.detected
    kind = replace(KINDS["detection"], measure=failing)
    monkeypatch.setitem(KINDS, "detection", kind)
    with pytest.raises(UserError) as caught:
        run_experiment(grid, {"attacker": ["standard+random"], "seeds": [1, 2]}, tmp_path / "out")
    assert str(caught.value) == (
        "cells of 1 target failed, finished ones are kept: attacker standard+random, seed 2: ValueError: out of luck"
    )
    assert len(list((tmp_path / "out" / "cells").iterdir())) == 1
    assert "standard+random" in (tmp_path / "out" / "report.md").read_text()


def test_an_attack_that_fails_ends_no_other_one_of_its_target(grid, tmp_path, monkeypatch):
    def failing(provider, config, values, seed):
        if values["attacker"] == ATTACKS[0] and broken:
            raise ValueError("out of luck")
        return detected(provider, config, values, seed)

    detected, broken = ProviderUnderTest.detected, True
    monkeypatch.setitem(KINDS, "detection", replace(KINDS["detection"], measure=failing))
    with pytest.raises(UserError) as caught:
        run_experiment(grid, output_dir=tmp_path / "out")
    assert str(caught.value) == (
        f"cells of 1 target failed, finished ones are kept: attacker {ATTACKS[0]}, seed 1: ValueError: out of luck"
    )
    report = (tmp_path / "out" / "report.md").read_text()
    assert "Unfinished: 1 of 3 cells are missing, listed at the end." in report
    assert report.rstrip().endswith(f"- attacker {ATTACKS[0]}, seed 1")
    broken = False
    run_experiment(grid, output_dir=tmp_path / "out")
    run_experiment(grid, output_dir=tmp_path / "fresh")
    for name in ("report.md", "results.csv", "detection.png"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()


def test_a_detector_that_draws_has_the_same_figures_when_the_grid_is_resumed(grid, tmp_path, monkeypatch):
    class Lucky(Detector):
        settings = ()

        def fit(self, traces):
            self.luck = torch.rand(1)

        def scores(self, traces):
            return (self.luck + float(np.random.rand()) + torch.rand(traces.items.shape)) * (traces.items > 0)

        def window_scores(self, traces, size):
            return torch.rand(len(traces) // size)

    monkeypatch.setitem(detectors._entries, "lucky", Lucky)
    folder = tmp_path / "out"
    run_experiment(grid, {"detector": ["lucky"]}, folder)
    before = (folder / "results.csv").read_bytes()
    for file in sorted((folder / "cells").iterdir())[1:]:
        file.unlink()
    run_experiment(grid, {"detector": ["lucky"]}, folder)
    assert (folder / "results.csv").read_bytes() == before


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("figure", ["detection", "alarms"])
def test_data_of_too_few_users_are_refused_before_anything_is_made(grid, tmp_path, figure, dry_run):
    message = (
        "false_positive_rate: 0.02 takes 49 users, and half of those of dataset tiny, who give the thresholds, are 18 "
        "with test items at seed 1; set it to 0.0527 or more, or take data of more users"
    )
    Path(grid).write_text(Path(grid).read_text().replace("figure: detection", f"figure: {figure}"))
    with pytest.raises(UserError, match=re.escape(message)):
        run_experiment(
            grid, {"false_positive_rate": 0.02, "detector": "coverage"}, output_dir=tmp_path / "out", dry_run=dry_run
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"served_k": 30}, "served_k: 30 is too long for a catalogue of 30 items"),
        ({"attacker": ["rounds+mixed"], "surrogate_model": "FDSA"}, "surrogate: its model reads item features"),
    ],
)
def test_models_are_tried_before_anything_is_made(grid, tmp_path, given, message):
    with pytest.raises(UserError, match=message):
        run_experiment(grid, given, output_dir=tmp_path / "out", dry_run=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("figure", ["detection", "alarms"])
def test_several_attacks_at_once_are_refused(grid, tmp_path, figure):
    Path(grid).write_text(Path(grid).read_text().replace("figure: detection", f"figure: {figure}"))
    with pytest.raises(UserError, match=f"attacker: strongest is several attacks, and figure {figure} measures one"):
        run_experiment(grid, {"attacker": ["strongest"]}, output_dir=tmp_path / "out")


def test_groups_do_not_have_the_name_of_a_setting(tmp_path, tiny_data_path):
    groups = {
        name: {"attacker": "standard+random", "false_positive_rate": rate} for name, rate in (("a", 0.1), ("b", 0.5))
    }
    grid = detection_file(tmp_path, tiny_data_path, groups, figure="detection", seeds=[1], fixed={})
    with pytest.raises(UserError, match="attacker is a setting, and groups of settings have a name that is none"):
        run_experiment(grid, output_dir=tmp_path / "out")


def test_an_unknown_detector_is_refused(grid, tmp_path):
    with pytest.raises(UserError, match="unknown detector 'nobody'"):
        run_experiment(grid, {"detector": ["nobody"]}, output_dir=tmp_path / "out")


def test_seeds_may_differ_in_their_longest_history(tmp_path):
    """One user in forty has more than five items, and is among the benign ones at the second seed alone."""
    histories = {user: items[: 8 if user == "everything" else 5] for user, items in synthetic_histories().items()}
    fixed = {"detector": ["coverage"]}
    data_path = write_inter(tmp_path, histories)
    grid = detection_file(tmp_path, data_path, ATTACKS[:1], figure="detection", seeds=[4, 5], fixed=fixed)
    folder = run_experiment(grid, output_dir=tmp_path / "out")
    cells = [json.loads(file.read_text()) for file in (folder / "cells").iterdir()]
    assert sorted(len(one["users_flagged"]) for [one] in cells) == [4, 7]
    assert f"| {ATTACKS[0]} |" in (folder / "report.md").read_text()


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("vary", [{"detector": ["coverage", "mmd"]}, {"arm": {"one": {"detector": "mmd"}, "all": {}}}])
def test_detectors_that_differ_between_cells_are_refused_before_anything_is_made(
    tmp_path, tiny_data_path, capsys, vary, dry_run
):
    grid = detection_file(tmp_path, tiny_data_path, [], figure="detection", seeds=[1], vary=vary, fixed={})
    options = ["--dry_run"] if dry_run else []
    assert main(["experiment", grid, f"--output_dir={tmp_path / 'out'}", *options]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "detector: experiment own varies it, and figure detection compares" in line
    assert not (tmp_path / "out").exists()


def test_finished_cells_have_the_keys_of_the_grid_that_reads_them(tmp_path, tiny_data_path):
    parts = {"figure": "detection", "seeds": [1], "fixed": {"detector": ["coverage"]}}
    folder = run_experiment(detection_file(tmp_path, tiny_data_path, ["oracle"], **parts), output_dir=tmp_path / "out")
    changed = {file: file.stat().st_mtime_ns for file in (folder / "cells").iterdir()}
    vary = {"arm": {"oracle": {"attacker": "oracle"}}}
    parts = {"figure": "detection", "seeds": [1], "fixed": {"detector": ["coverage"]}, "vary": vary}
    run_experiment(detection_file(tmp_path, tiny_data_path, [], **parts), output_dir=folder)
    assert {file: file.stat().st_mtime_ns for file in (folder / "cells").iterdir()} == changed
    assert re.search(r"\| arm oracle +\| oracle +\|", (folder / "report.md").read_text())


def test_attacks_meet_a_defense_with_state_as_in_every_other_experiment(tmp_path, tiny_data_path):
    given, logs = {"attacker": ["standard+random"], "seeds": [1]}, []
    for figure in ("detection", "alarms"):
        (tmp_path / figure).mkdir()
        fixed = {"defense": "random", "detector": ["coverage"], "references": ["untrained"]}
        file = detection_file(tmp_path / figure, tiny_data_path, ATTACKS, figure=figure, seeds=[1], fixed=fixed)
        stages = run_experiment(file, given, tmp_path / figure / "out") / "stages"
        [queries] = stages.glob("queries-*.pth")
        logs.append((queries.name, *(torch.load(queries)["made"][part].tolist() for part in ("sequences", "lists"))))
    assert logs[0] == logs[1]
