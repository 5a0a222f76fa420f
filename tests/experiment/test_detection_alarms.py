"""Services that give decoys after an alarm."""

import csv
import json

import pytest
import torch
from experiment.grid import detection_file

from recbole_gro import UserError
from recbole_gro.defense.keyed_randomness import KeyedDraws
from recbole_gro.experiment.detection import ProviderUnderTest
from recbole_gro.experiment.detection_alarms import (
    BY_HISTORY,
    BY_KEY,
    OF_USERS,
    SURROGATE_MEASURES,
    UNGUARDED,
    AlarmFigure,
    GuardedService,
    write_alarms_report,
)
from recbole_gro.experiment.plan import Experiment, read_experiment
from recbole_gro.experiment.run import run_experiment
from recbole_gro.http_service.guard import Guard
from recbole_gro.http_service.ledger import Ledger
from recbole_gro.quick_start.stage_cache import StageCache


@pytest.fixture
def grid(tmp_path, tiny_data_path):
    fixed = {"detector": ["coverage"], "references": ["untrained", "popularity"]}
    attacks = ["standard+random", "few_shot+mimic"]
    return detection_file(tmp_path, tiny_data_path, attacks, figure="alarms", seeds=[1, 2], fixed=fixed)


@pytest.mark.parametrize("decoys", [BY_HISTORY, BY_KEY])
def test_lists_are_those_of_the_guard_of_a_service(grid, tmp_path, decoys):
    config = read_experiment(grid).config({"attacker": "standard+random"}, 1)
    config["checkpoint_dir"] = str(tmp_path)
    provider = ProviderUnderTest(config, StageCache(tmp_path / "stages"))
    sequences = torch.randint(1, 31, (12, 8), generator=torch.Generator().manual_seed(1))
    sequences[:9] = torch.arange(1, 10).unsqueeze(1)  # one item again and again
    ledger = Ledger(tmp_path / "service.db")
    for number in range(12 * 8):
        ledger.create_key(str(number))
    draws = KeyedDraws(config, "alarm")
    guard = Guard(provider.detectors["coverage"], provider.tracer, tmp_path / "service.db", provider.rate, draws)
    service, sent, flagged = GuardedService(provider, config, decoys), 0, []
    for length in range(1, 9):
        histories = sequences[:, :length]
        lists = service.recommend(histories)
        expected = provider.service.recommend(histories).cpu()
        for place, history in enumerate(histories.tolist()):  # one after another, as clients send them
            sent += 1
            [alarm] = guard.alarms([history], [1 if decoys == BY_KEY else sent])
            flagged.append(alarm)
            if alarm:
                [decoy] = guard.decoys([history], provider.service.k)
                expected[place] = torch.tensor(decoy)
        assert torch.equal(lists, expected)
    assert service.true_lists == len(flagged) - sum(flagged)
    assert 0 < sum(flagged) < len(flagged)
    assert all(flagged[-12:]) == (decoys == BY_KEY)


def test_an_experiment_measures_what_attack_and_users_get(grid, tmp_path):
    folder = run_experiment(grid, output_dir=tmp_path / "out")
    cells = [json.loads(file.read_text()) for file in sorted((folder / "cells").iterdir())]
    assert len(cells) == 4
    figures = {(one["decoys"], one["of"], one["measure"]): one["value"] for one in cells[0]}
    assert {decoys for decoys, of, _ in figures if of == "surrogate"} == {"none", "history", "key"}
    lists = [figures[decoys, "surrogate", "true_lists"] for decoys in ("none", "history", "key")]
    assert lists[0] >= lists[1] >= lists[2] >= 0
    assert 0 <= figures["history", "users", "flagged"] < figures["history", "users", "users"]
    assert ("none", "untrained", "ndcg@10") in figures
    report = (folder / "report.md").read_text()
    assert "±" in report
    with (folder / "results.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert list(rows[0]) == ["attacker", "seed", "decoys", "of", "measure", "value"]
    assert {row["attacker"] for row in rows} == {"standard+random", "few_shot+mimic"}
    stages = {file: file.stat().st_mtime_ns for file in (folder / "stages").iterdir()}
    (folder / "report.md").unlink()
    run_experiment(grid, output_dir=folder)
    assert (folder / "report.md").read_text() == report
    assert {file: file.stat().st_mtime_ns for file in (folder / "stages").iterdir()} == stages
    # surrogates of decoys are stages of their own: another rate, other query logs, the same target
    run_experiment(grid, {"false_positive_rate": 0.3, "seeds": [1], "attacker": ["standard+random"]}, tmp_path / "out")
    new = {file.name.partition("-")[0] for file in (folder / "stages").iterdir()} - {
        file.name.partition("-")[0] for file in stages
    }
    assert new == set()
    added = [file.name for file in (folder / "stages").iterdir() if file not in stages]
    assert sorted(name.partition("-")[0] for name in added) == ["guarded", "guarded", "surrogate", "surrogate"]


def test_one_detector_judges(grid, tmp_path):
    with pytest.raises(UserError, match="detector: coverage, mmd are several; a service has one"):
        run_experiment(grid, {"detector": ["coverage", "mmd"]}, output_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_packaged_experiment_is_of_three_seeds():
    plan = read_experiment("alarms")
    assert (len(plan.cells()), plan.seeds, plan.fixed["detector"]) == (24, [1, 2, 3], ["transitions"])


def test_seen_items_cannot_be_excluded(grid, tmp_path):
    with pytest.raises(UserError, match="exclude_seen: the experiment alarms measures lists as they are served"):
        run_experiment(grid, {"exclude_seen": True}, tmp_path / "out")


@pytest.mark.parametrize(
    "given", [{"topk": [5], "valid_metric": "NDCG@5"}, {"metrics": ["Hit"], "valid_metric": "Hit@10"}]
)
def test_figures_of_the_report_are_measured(grid, tmp_path, given):
    with pytest.raises(UserError, match="topk, metrics: alarms reports NDCG@10 of surrogates; add 10 to topk and"):
        run_experiment(grid, given, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_lists_shorter_than_a_cut_off_have_no_figure_of_it(grid, tmp_path):
    folder = run_experiment(grid, {"served_k": 12, "attacker": ["standard+random"], "seeds": [1]}, tmp_path / "out")
    [cell] = [json.loads(file.read_text()) for file in (folder / "cells").iterdir()]
    assert {one["measure"] for one in cell if one["of"] == "users"} == {"hit@10", "ndcg@10", "users", "flagged"}
    report = (folder / "report.md").read_text()
    assert "HR@10" in report
    assert "HR@20" not in report


def cell_of(attacker, seed, flagged, values=None):
    """The figures of a cell: those of users depend on the seed alone."""
    found = {(decoys, "users", name): seed / 100 for decoys in (UNGUARDED, BY_HISTORY) for name in OF_USERS}
    found |= {(BY_HISTORY, "users", "users"): 50, (BY_HISTORY, "users", "flagged"): flagged}
    for decoys in (UNGUARDED, BY_HISTORY, BY_KEY):
        found |= {(decoys, "surrogate", measure): 0.1 for measure in (*SURROGATE_MEASURES, "true_lists")}
    values = values or {"model": "NARM", "attacker": attacker}
    for (decoys, of, measure), value in found.items():
        yield AlarmFigure(values=values, seed=seed, decoys=decoys, of=of, measure=measure, value=value)


def test_a_report_without_some_cells_lists_them_and_has_the_users_of_all_seeds(tmp_path):
    plan = Experiment("own", "T", "alarms", {"model": ["NARM"], "attacker": ["a", "b"]}, [1, 2, 3])
    cells = [*cell_of("a", 1, 4), *cell_of("a", 3, 8), *cell_of("b", 2, 6), *cell_of("b", 3, 8)]
    missing = ["model NARM, attacker a, seed 2", "model NARM, attacker b, seed 1"]
    write_alarms_report(plan, cells, tmp_path, missing)
    report = (tmp_path / "report.md").read_text()
    assert "Unfinished: 2 of 6 cells are missing, listed at the end." in report
    assert report.rstrip().splitlines()[-2:] == [f"- {name}" for name in missing]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.splitlines() if "| model NARM" in line]
    assert [row[:4] for row in rows[:2]] == [["model NARM", name, "2", "10.00 ± 0.00 (10 %)"] for name in "ab"]
    # each seed once, though no attack has all three and both have the third
    assert rows[2] == ["model NARM", "3", "50.0", "6.0", *["2.00 ± 1.00"] * 8]


@pytest.mark.parametrize(
    ("vary", "fixed", "expected"),
    [
        (
            {"arm": {"real": {"attacker": "oracle"}, "usual": {}}},
            {},
            [("arm real", "oracle"), ("arm usual", "standard")],
        ),
        ({"model": ["NARM"]}, {"attacker": ["oracle"]}, [("model NARM", "oracle")]),
    ],
)
def test_an_attack_that_does_not_vary_by_itself_is_named(tmp_path, vary, fixed, expected):
    plan = Experiment("own", "T", "alarms", vary, [1], fixed=fixed)
    cells = [one for values in plan.settings() for one in cell_of("", 1, 4, values)]
    write_alarms_report(plan, cells, tmp_path)
    table, _, _ = (tmp_path / "report.md").read_text().partition("## What users lose")
    rows = [tuple(cell.strip() for cell in line.split("|")[1:3]) for line in table.splitlines() if line[:1] == "|"]
    assert rows[2:] == expected
