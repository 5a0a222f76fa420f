"""Figures ownership and marks where single suspects fail; models are untrained ones."""

import contextlib
import csv
import re

import pytest
import torch
from experiment.test_marks import TINY as TINY_MARKED
from experiment.test_tables import MARKS, OWNERSHIP, TINY, files, marks_rows

from recbole_gro.attack.query_log import QueryLog
from recbole_gro.experiment.lacking import WHOLE, Lacking
from recbole_gro.experiment.marked_suspects import CLEANSED, MARKED, PLAIN
from recbole_gro.experiment.marks_report import marks_blocks
from recbole_gro.experiment.ownership_report import ownership_blocks
from recbole_gro.experiment.plan import read_experiment
from recbole_gro.experiment.planned_suspects import Absent
from recbole_gro.experiment.run import run_experiment
from recbole_gro.experiment.suspects import OTHERS
from recbole_gro.quick_start.seeding import start_stage
from recbole_gro.quick_start.stages import Stages
from recbole_gro.report.document import markdown
from recbole_gro.utils.errors import UserError

CHANGED = OWNERSHIP.replace("changed: []", "changed: [{attacker: standard+mixed}]").replace("[1, 2]", "[1]")
CHANGED = CHANGED.replace("references: [3,", "references: [2, 3,")
BOTH = MARKS.replace("[aow]", "[aow, injected]").replace("changed: []", "changed: [{attacker: standard+mixed}]")
FAULT = "ValueError: own failure"


def model_of(stages, stage, broken):
    config = stages.config
    if (stage, config["model"], config["seed"]) in broken:
        raise ValueError("own failure")
    start_stage(config, stage)
    return stages.new_model().eval()


@pytest.fixture
def broken(monkeypatch):
    """A set of (stage, model, seed) that fail; all others are untrained models."""
    broken = set()

    def attacked(stages, service, on):
        surrogate = model_of(stages, f"surrogate of {on}", broken)
        log = QueryLog(torch.ones(2, 1, dtype=torch.long), torch.arange(1, 21).view(2, 1, 10))
        return surrogate, log, {"lists_returned": 40}

    monkeypatch.setattr(Stages, "target", lambda stages: model_of(stages, "target", broken))
    monkeypatch.setattr(
        Stages, "defended", lambda stages: (model_of(stages, f"defense {stages.prints.name}", broken), {})
    )
    monkeypatch.setattr("recbole_gro.experiment.workshop.serve_defended", lambda stages: stages.defended())
    monkeypatch.setattr("recbole_gro.experiment.workshop.attack_service", attacked)
    return broken


@pytest.fixture
def run(broken, tiny_data_path, tmp_path, monkeypatch):
    """Run a grid in the folder `out`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("recbole_gro.experiment.ownership.check_ownership_data", lambda *_: None)
    monkeypatch.setattr("recbole_gro.experiment.marks.check_cells", lambda *_: None)

    def run(text, **options):
        (tmp_path / "tiny.yaml").write_text(text)
        settings = TINY_MARKED if "figure: marks" in text else TINY
        settings = {**settings, "data_path": str(tiny_data_path), "served_k": 18, "head_k": 6}
        with contextlib.ExitStack() as stack:
            caught = stack.enter_context(pytest.raises(UserError)) if broken and not options else None
            run_experiment("tiny.yaml", settings, output_dir="out", **options)
        found, rows = files(tmp_path / "out")
        return rows, found["report.md"].decode(), str(caught and caught.value)

    return run


def ends_as_a_fresh_run(run, text, tmp_path):
    """Run a grid whose folder lacks suspects to its end, and compare its files with those of a fresh folder."""
    run(text)
    resumed, _ = files(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "resumed")
    run(text)
    others = [(tmp_path / name / "false_claims.csv") for name in ("resumed", "out")]
    assert files(tmp_path / "out")[0] == resumed
    assert not others[0].exists() or others[0].read_bytes() == others[1].read_bytes()
    assert not list((tmp_path / "resumed").rglob("*-unfinished.csv"))
    assert b"Unfinished" not in resumed["report.md"]
    assert b"Over " not in resumed["report.md"]


def names(rows, model, seed="1"):
    return [f"{row['kind']}: {row['suspect']}" for row in rows if (row["model"], row["seed"]) == (model, seed)]


def test_a_usual_copy_that_fails_is_left_out_of_the_tables_of_all_owners(run, broken, tmp_path, capsys):
    whole, report, _ = run(OWNERSHIP)
    assert "Over " not in report
    (tmp_path / "out").rename(tmp_path / "whole")
    broken.add(("surrogate of none", "NARM", 1))
    rows, report, error = run(OWNERSHIP)
    reason = f"surrogate of NARM, seed 1, attacker standard+mixed: {FAULT}"
    assert error == f"suspects of 4 tables failed, the others are kept: {reason}"
    lost = [row for row in whole if row not in rows]
    assert [row for row in whole if row in rows] == rows  # others have the numbers that they have beside it
    assert {(row["kind"], row["suspect"]) for row in lost} == {
        ("copy, 40 lists", "standard+mixed"),
        ("copy of another model", "NARM 1 standard+mixed"),
    }
    assert len(lost) == 4
    assert "Unfinished: 4 suspects of 4 tables failed and are left out, listed at the end." in report
    n, of_others = len(whole), sum(row["is_copy"] == "False" for row in whole)
    assert report.count(f"Over {n - 4} of {n} suspects, without 4 suspects, which are listed at the end.") == 3
    without = "; ".join(
        f"copy of another model: NARM 1 standard+mixed ({owner})"
        for owner in ("NARM, seed 2", "GRU4Rec, seed 1", "GRU4Rec, seed 2")
    )
    assert report.count(f"Over {of_others - 3} of {of_others} suspects, without {without}.") == 1  # of no copies
    listed = [line for line in report.splitlines() if line.startswith("- ") and line.endswith(FAULT)]
    assert listed[0] == f"- NARM, seed 1: copy: attacker standard+mixed: {reason}"
    assert listed[3] == f"- GRU4Rec, seed 2: copy of another model: NARM 1 standard+mixed: {reason}"
    assert len(listed) == 4
    capsys.readouterr()
    run(OWNERSHIP, dry_run=True)
    assert "NARM, seed 1: 1 suspect missing\n" in capsys.readouterr().out
    broken.clear()
    ends_as_a_fresh_run(run, OWNERSHIP, tmp_path)
    assert files(tmp_path / "out")[1] == whole


def test_changed_copies_stay_where_the_model_that_one_is_mixed_with_fails(run, broken, tmp_path):
    broken.add(("target", "GRU4Rec", 1))
    rows, report, error = run(CHANGED)
    assert error.startswith("1 of 2 tables failed, finished ones are kept: GRU4Rec, seed 1: target GRU4Rec, seed 1: ")
    found = names(rows, "NARM")
    assert sum(name.startswith(("copy, ", "copy behind", "adaptive")) for name in found) == 1 + 7
    assert not any("mean of ranks" in name for name in found)
    assert not any("GRU4Rec 1" in name for name in found if name.startswith("independent, another"))
    assert sum(name.startswith("independent, same") for name in found) == 4
    assert f"- GRU4Rec, seed 1: target GRU4Rec, seed 1: {FAULT}" in report
    assert "Unfinished: without GRU4Rec, seed 1. Over " in report
    assert "| all that are there " in report
    broken.clear()
    ends_as_a_fresh_run(run, CHANGED, tmp_path)


def test_an_owner_without_one_of_its_references_has_no_verdicts_and_the_report_says_why(run, broken):
    broken.add(("target", "NARM", 4))
    rows, report, _ = run(OWNERSHIP)
    assert {row["model"] for row in rows} == {"GRU4Rec"}
    for seed in (1, 2):
        assert f"- NARM, seed {seed}: target NARM, seed 4: {FAULT}" in report
        assert f"- GRU4Rec, seed {seed}: independent, another architecture: NARM 4: target NARM, seed 4" in report


def failed(group, name="one"):
    return Lacking(suspects=[("NARM, seed 1", Absent(name, group, FAULT))])


def test_figures_without_any_suspect_are_not_available_and_say_so():
    text = markdown("t", [*ownership_blocks(read_experiment("ownership"), [], failed(OTHERS))])
    assert "n/a: no suspect has a verdict; the end says why." in text
    assert "n/a: no model that is no copy has a verdict; the end says why." in text
    plan, rows = read_experiment("marks"), [*marks_rows(None, "NARM", "aow", 1, [])]
    text = markdown("t", [*marks_blocks(plan, rows, [], (failed(CLEANSED), failed(PLAIN)))])
    assert "What cleansing removes: n/a, no cleansed surrogate is there; the end says why." in text
    assert "n/a: no model without marks has a verdict; the end says why." in text
    text = markdown("t", [*marks_blocks(plan, [], [], (failed(MARKED), WHOLE))])
    assert "n/a: no suspect has a verdict; the end says why." in text


def test_means_of_accuracy_are_over_the_seeds_that_have_it_and_the_target():
    rows = [row for seed in (1, 2, 3) for row in marks_rows(None, "NARM", "aow", seed, [])]
    rows[1]["test_ndcg"] = 0.1  # the marked target at seed 1; at seed 3 it is missing, at seed 2 the undefended one
    text = markdown("t", [*marks_blocks(read_experiment("marks"), [rows[0], rows[1], rows[3], rows[4]], [])])
    [cells] = [line.split("|")[4:-1] for line in text.splitlines() if "the marked target" in line and "n/a" in line]
    assert [cell.strip() for cell in cells] == ["2", "20.00", "15.00", "1.00", "0.50", "0.50, n/a, n/a"]


def test_an_undefended_surrogate_that_fails_is_left_out_of_false_claims(run, broken, tmp_path):
    whole, _, _ = run(BOTH)
    every = list(csv.DictReader((tmp_path / "out" / "false_claims.csv").open()))
    (tmp_path / "out").rename(tmp_path / "whole")
    broken.add(("surrogate of none", "NARM", 1))
    rows, report, error = run(BOTH)
    reason = f"surrogate of NARM, seed 1, attacker standard+mixed: {FAULT}"
    assert error == f"suspects of 2 tables failed, the others are kept: {reason}"
    assert rows == whole
    others = list(csv.DictReader((tmp_path / "out" / "false_claims.csv").open()))
    assert others == [row for row in every if row["suspect"] != "surrogate of NARM 1, standard+mixed"]
    assert len(others) < len(every)
    missing = "; ".join(f"surrogate of NARM 1, standard+mixed (false claims, {name})" for name in ("aow", "injected"))
    assert report.count("Over ") == 1
    assert f"Over 6 of 8 suspects, without {missing}." in report
    assert re.search(r"\| aow +\|( +\S+ +\|)+ +3 \|\n", report)  # models
    assert f"- false claims, aow: surrogate of NARM 1, standard+mixed: {reason}" in report
    broken.clear()
    ends_as_a_fresh_run(run, BOTH, tmp_path)


def test_without_the_undefended_target_accuracy_is_over_none(run, broken, tmp_path):
    broken.add(("target", "NARM", 1))
    rows, report, error = run(BOTH)
    assert error.startswith("1 of 6 tables failed, finished ones are kept: NARM, aow, seed 1: target NARM, seed 1: ")
    own = [row["suspect"] for row in rows if (row["model"], row["defense"]) == ("NARM", "injected")]
    assert own[0] == "the marked target"  # its marks depend on the data alone
    kept = [
        line.split("|")[7:-1] for line in report.splitlines() if line.startswith("| NARM ") and line.count("|") == 10
    ]
    assert kept
    assert all([cell.strip() for cell in row] == ["n/a"] * 3 for row in kept)
    assert "Without the marks for NARM (false claims, aow), which depend on a target that is missing." in report
    broken.clear()
    ends_as_a_fresh_run(run, BOTH, tmp_path)


def test_a_surrogate_of_a_marked_model_that_fails_leaves_the_others(run, broken, tmp_path):
    broken.add(("surrogate of aow", "NARM", 1))
    rows, report, error = run(BOTH)
    assert error.startswith("suspects of 1 table failed")
    own = {row["suspect"] for row in rows if (row["model"], row["defense"]) == ("NARM", "aow")}
    assert own == {
        "the undefended target", "the marked target", "the marked target, 30% pruned", "the marked target, 50% pruned"
    }  # fmt: skip
    assert report.count("without 4 suspects, which are listed at the end.") == 3  # two tables, one picture
    broken.clear()
    ends_as_a_fresh_run(run, BOTH, tmp_path)
