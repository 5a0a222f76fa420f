import csv
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import SMALL
from experiment.folder_cases import FolderCases
from pipeline import files_below, same_weights

from recbole_gro.experiment.ownership import HEAD, WORDS, blocks
from recbole_gro.experiment.plan import read_experiment
from recbole_gro.experiment.run import run_experiment
from recbole_gro.experiment.suspects import Workshop
from recbole_gro.ownership.fingerprint import DistinctiveItems
from recbole_gro.report.document import csv_text, markdown, read_rows
from recbole_gro.utils.errors import UserError

TINY = {key: value for key, value in SMALL.items() if key != "seed"} | {
    "query_sequences": 8, "query_length": 4, "surrogate_epochs": 1, "epochs": 1, "dataset": "tiny",
    "embedding_size": 8, "hidden_size": 8, "served_k": 12, "head_k": 6, "surrogate_model": "GRU4Rec",
}  # fmt: skip


@pytest.fixture
def grid(tiny_data_path, tmp_path, monkeypatch):
    """A yaml file of two architectures and four seeds with few suspects."""
    monkeypatch.chdir(tmp_path)
    text = """
title: tiny
figure: ownership
vary: {model: [NARM, GRU4Rec]}
seeds: [1]
ownership:
  references: [2, 3, 4, 5]
  probes: 30
  copies: [{attacker: standard+mixed}, {attacker: standard+random, only: [GRU4Rec]}]
  changed: [{attacker: standard+mixed}]
  avoiding: [{attacker: standard+mixed, only: [1]}]
  half: {NARM: [9], GRU4Rec: [9]}
  small: {count: 2, model: GRU4Rec, epochs: 1}
"""
    (tmp_path / "tiny.yaml").write_text(text)
    return "tiny.yaml", TINY | {"data_path": str(tiny_data_path)}


def test_each_suspect_of_each_owner_has_a_verdict_and_none_is_made_twice(grid, tmp_path, monkeypatch):
    folder = run_experiment(*grid, output_dir="out")
    with open(folder / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"results.csv", "report.md", "report.html", "ownership.png"} <= set(files_below(folder))
    own = [row for row in rows if row["model"] == "NARM"]
    kinds = {row["kind"]: row["is_copy"] for row in own}
    assert sum(value == "True" for value in kinds.values()) == 1 + 8 + 1  # copy, changed ones, one that avoids
    assert {kind for kind, is_copy in kinds.items() if is_copy == "False"} == {
        "independent, another architecture", "copy of another model", "independent, small", "popularity",
        "independent, same architecture", "independent, half of the users",
    }  # fmt: skip
    assert sum(row["kind"] == "independent, same architecture" for row in own) == 4
    assert [row["suspect"] for row in own if "half" in row["kind"]] == ["NARM 9", "GRU4Rec 9"]
    # 2 x 5 targets, 2 halves and 2 small ones; 2 + 1 copies of the other owner's model; popularity
    counted = "on 18 models that are none, at level 0.01; 14 of these models were trained independently"
    assert counted in (folder / "report.md").read_text()
    assert all(0 <= float(row["p_value"]) <= 1 for row in rows)
    monkeypatch.setattr("recbole_gro.experiment.ownership.verdicts", None)
    before = (folder / "results.csv").read_text()
    run_experiment(*grid, output_dir="out")
    assert (folder / "results.csv").read_text() == before
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    (tmp_path / grid[0]).write_text((tmp_path / grid[0]).read_text().replace("count: 2", "count: 3"))
    calls, measured = [], DistinctiveItems.measured
    monkeypatch.setattr(DistinctiveItems, "measured", lambda *given: (calls.append(1), measured(*given))[1])
    run_experiment(*grid, output_dir="out")
    assert len(calls) == 2  # of each owner the one on the further model
    after = (folder / "results.csv").read_text().splitlines()
    assert len(after) == len(rows) + 3
    assert set(before.splitlines()) < set(after)


def test_a_further_copy_of_one_owner_leaves_the_tables_of_others(grid, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("recbole_gro.experiment.ownership.verdicts", lambda *_: [])
    monkeypatch.setattr("recbole_gro.experiment.ownership.Workshop", lambda *_: SimpleNamespace(stages=lambda *_: None))
    run_experiment(*grid, output_dir="out")
    file = tmp_path / grid[0]
    further = "copies: [{attacker: standard+mixed, query_sequences: 4, only: [GRU4Rec]}, "
    file.write_text(file.read_text().replace("copies: [", further))
    run_experiment(*grid, output_dir="out", dry_run=True)
    assert "NARM, seed 1: done\n  GRU4Rec, seed 1: missing" in capsys.readouterr().out


def test_verdicts_on_other_data_are_made_again(grid, monkeypatch, capsys):
    monkeypatch.setattr("recbole_gro.experiment.ownership.verdicts", lambda *_: [])
    monkeypatch.setattr("recbole_gro.experiment.ownership.Workshop", lambda *_: SimpleNamespace(stages=lambda *_: None))
    run_experiment(*grid, output_dir="out")
    monkeypatch.setattr("recbole_gro.experiment.ownership.data_fingerprint", lambda _: {"tiny.inter": "other"})
    run_experiment(*grid, output_dir="out", dry_run=True)
    assert "NARM, seed 1: missing\n  GRU4Rec, seed 1: missing" in capsys.readouterr().out


OWN_MODEL = """
from recbole.model.sequential_recommender import GRU4Rec


class OwnModel(GRU4Rec):
    version = 1
"""


def test_verdicts_with_other_code_of_a_model_are_made_again(grid, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("recbole_gro.experiment.ownership.verdicts", lambda *_: [])
    monkeypatch.setattr("recbole_gro.experiment.ownership.Workshop", lambda *_: SimpleNamespace(stages=lambda *_: None))
    module, file = tmp_path / "own_model_of_a_suspect.py", tmp_path / grid[0]
    module.write_text(OWN_MODEL)
    own = "copies: [{attacker: standard+mixed, surrogate_model: own_model_of_a_suspect:OwnModel}, "
    file.write_text(file.read_text().replace("copies: [", own))
    run_experiment(*grid, output_dir="out")
    run_experiment(*grid, output_dir="out", dry_run=True)
    assert "NARM, seed 1: done\n  GRU4Rec, seed 1: done" in capsys.readouterr().out
    module.write_text(OWN_MODEL.replace("1", "22"))
    run_experiment(*grid, output_dir="out", dry_run=True)
    assert "NARM, seed 1: missing\n  GRU4Rec, seed 1: missing" in capsys.readouterr().out


def test_a_small_model_of_an_owners_architecture_has_data_of_its_own(grid):
    experiment = read_experiment(*grid)
    experiment.ownership["small"] = {"count": 1, "model": "GRU4Rec", "epochs": 1, "train_batch_size": 4}
    weights = []
    for owner_first in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            workshop = Workshop(experiment, Path(folder))
            if owner_first:
                workshop.stages("GRU4Rec", 1)
            weights.append(workshop.small(101).state_dict())
    assert same_weights(*weights)


def test_a_dry_run_trains_nothing(grid, tmp_path, capsys):
    run_experiment(*grid, output_dir="out", dry_run=True)
    assert "NARM, seed 1: missing" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


class TestFolders(FolderCases):
    pass


def test_too_few_candidates_are_refused(grid, tmp_path):
    file = tmp_path / grid[0]
    file.write_text(file.read_text().replace("[2, 3, 4, 5]", "[2, 3]"))
    with pytest.raises(UserError, match="ownership: seeds and references are to be 5 different ones or more"):
        run_experiment(*grid, output_dir="out")


@pytest.mark.parametrize(
    "change", [("figure: ownership", "figure: k"), ("{model: [NARM, GRU4Rec]}", "{defense: [none]}")]
)
def test_the_figure_varies_the_model_alone(grid, tmp_path, change):
    text = (tmp_path / grid[0]).read_text().replace(*change)
    (tmp_path / grid[0]).write_text(text)
    if "figure: k" in text:
        assert read_experiment(grid[0]).figure == "k"
    else:
        with pytest.raises(UserError, match="figure ownership varies model alone"):
            read_experiment(grid[0])


def rows_of(tmp_path, *given, kinds=()):
    """Rows with is_copy, p-value and excess; 10 or no probes needed; with kinds, all of one name."""
    names = [(kind, "s") for kind in kinds] or [("kind", f"s{number}") for number in range(len(given))]
    table = [
        ["M", 1, *names[number], is_copy, 5, p_value, p_value, excess + 0.1, 0.1, excess, 0.0, 1.0,
         10 if p_value < 0.01 else None, 0.5]
        for number, (is_copy, p_value, excess) in enumerate(given)
    ]  # fmt: skip
    (tmp_path / "rows.csv").write_text(csv_text(HEAD, table))
    return read_rows(tmp_path / "rows.csv", WORDS)


def test_claims_are_counted_by_the_level(tmp_path, grid):
    rows = rows_of(tmp_path, (True, 1e-5, 0.5), (True, 0.02, 0.1), (False, 0.5, 0.0), (False, 0.01, 0.07))
    assert [row["is_copy"] for row in rows] == [True, True, False, False]
    assert rows[1]["probes_needed"] is None
    text = markdown("t", list(blocks(read_experiment("ownership"), rows)))
    assert "1 of 2 verdicts on copies are claims, and 1 of 2 on 2 models that are none" in text
    assert "| all " in text
    uniform = next(line for line in text.splitlines() if line.startswith("| all"))
    assert [cell.strip() for cell in uniform.split("|")[2:7]] == ["0.500", "0.500", "0.500", "1.000", "2"]


def test_models_of_one_name_are_counted_by_their_kind(tmp_path, grid):
    kinds = ["independent, same architecture", "independent, another architecture", "independent, half of the users"]
    rows = rows_of(tmp_path, *[(False, 0.5, 0.0)] * 3, kinds=kinds)
    text = markdown("t", list(blocks(read_experiment("ownership"), rows)))
    assert "0 of 3 on 2 models that are none" in text  # one is a target, another owner's reference
    assert "2 of these models were trained independently" in text
