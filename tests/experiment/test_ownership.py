import csv
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import torch
from conftest import SMALL
from experiment.folder_cases import FolderCases
from pipeline import files_below, same_weights

from recbole_gro.config import own_modules
from recbole_gro.experiment.ownership import HEAD, WORDS
from recbole_gro.experiment.ownership_report import ownership_blocks
from recbole_gro.experiment.plan import read_experiment
from recbole_gro.experiment.run import run_experiment
from recbole_gro.experiment.suspects import AVOIDING, CHANGED, copies
from recbole_gro.experiment.workshop import Workshop
from recbole_gro.ownership.fingerprint import DistinctiveItems
from recbole_gro.ownership.method import NoVerdict
from recbole_gro.report.document import csv_text, markdown, read_rows
from recbole_gro.utils.errors import UserError

TINY = {key: value for key, value in SMALL.items() if key != "seed"} | {
    "query_sequences": 8, "query_length": 4, "surrogate_epochs": 1, "epochs": 1, "dataset": "tiny",
    "embedding_size": 8, "hidden_size": 8, "served_k": 18, "head_k": 6, "surrogate_model": "GRU4Rec",
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
  probes: 60
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


def test_what_is_made_of_a_reference_is_judged_without_it(grid, tmp_path, monkeypatch):
    file = tmp_path / grid[0]
    text = file.read_text().replace("seeds: [1]", "seeds: [1, 2]").replace("[NARM, GRU4Rec]}", "[GRU4Rec, NARM]}")
    file.write_text(text)
    judged, measured = [], DistinctiveItems.measured

    def noted(method, probes, lists):
        judged.append(set(probes.expected["lists"]))
        return measured(method, probes, lists)

    monkeypatch.setattr(DistinctiveItems, "measured", noted)
    folder = run_experiment(*grid, output_dir="out")
    with open(folder / "results.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    of_owner = [row for row in rows if (row["model"], row["seed"]) == ("GRU4Rec", "1")]
    [first] = [at for at, row in enumerate(rows) if row == of_owner[0]]
    without = {
        row["suspect"]: {f"GRU4Rec {seed}" for seed in (2, 3, 4, 5)} - lists
        for row, lists in zip(of_owner, judged[first:], strict=False)
        if row["kind"] in ("copy of another model", "independent, same architecture")
    }
    of_targets = {name: lacks for name, lacks in without.items() if "standard" in name}
    assert {name for name, lacks in of_targets.items() if lacks} == {
        "GRU4Rec 2 standard+mixed", "GRU4Rec 2 standard+random"
    }  # fmt: skip
    assert all(lacks <= {"GRU4Rec 2"} for lacks in of_targets.values())
    assert all(lacks == {name} for name, lacks in without.items() if name not in of_targets)


def test_a_further_copy_of_one_owner_leaves_the_tables_of_others(grid, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("recbole_gro.experiment.ownership.verdicts", lambda *_: [])
    monkeypatch.setattr("recbole_gro.experiment.ownership.check_ownership_data", lambda *_: None)
    run_experiment(*grid, output_dir="out")
    file = tmp_path / grid[0]
    further = "copies: [{attacker: standard+mixed, query_sequences: 4, only: [GRU4Rec]}, "
    file.write_text(file.read_text().replace("copies: [", further))
    run_experiment(*grid, output_dir="out", dry_run=True)
    assert "NARM, seed 1: done\n  GRU4Rec, seed 1: missing" in capsys.readouterr().out


def test_verdicts_on_other_data_are_made_again(grid, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("recbole_gro.experiment.ownership.verdicts", lambda *_: [])
    monkeypatch.setattr("recbole_gro.experiment.ownership.check_ownership_data", lambda *_: None)
    file, settings = grid
    shutil.copytree(settings["data_path"], tmp_path / "data")  # other tests read what they share
    settings = settings | {"data_path": str(tmp_path / "data")}
    run_experiment(file, settings, output_dir="out")
    data = tmp_path / "data" / "tiny" / "tiny.inter"
    data.write_text(data.read_text() + data.read_text().splitlines()[-1] + "\n")
    run_experiment(file, settings, output_dir="out", dry_run=True)
    assert "NARM, seed 1: missing\n  GRU4Rec, seed 1: missing" in capsys.readouterr().out


OWN_MODEL = """
from recbole.model.sequential_recommender import GRU4Rec


class OwnModel(GRU4Rec):
    version = 1
"""


def test_verdicts_with_other_code_of_a_model_are_made_again(grid, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("recbole_gro.experiment.ownership.verdicts", lambda *_: [])
    monkeypatch.setattr("recbole_gro.experiment.ownership.check_ownership_data", lambda *_: None)
    module, file = tmp_path / "own_model_of_a_suspect.py", tmp_path / grid[0]
    module.write_text(OWN_MODEL)
    own = "copies: [{attacker: standard+mixed, surrogate_model: own_model_of_a_suspect:OwnModel}, "
    file.write_text(file.read_text().replace("copies: [", own))
    run_experiment(*grid, output_dir="out")
    run_experiment(*grid, output_dir="out", dry_run=True)
    assert "NARM, seed 1: done\n  GRU4Rec, seed 1: done" in capsys.readouterr().out
    module.write_text(OWN_MODEL.replace("1", "22"))
    own_modules._sources.clear()  # as of a new process
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


def test_owners_that_are_references_too_are_suspects_once(grid):
    name, settings = grid
    file = Path(name)
    file.write_text(file.read_text().replace("references: [2,", "references: [1, 2,"))
    run_experiment(name, settings, output_dir="out")
    with open(Path("out") / "results.csv", newline="") as stream:
        named = [(row["model"], row["seed"], row["kind"], row["suspect"]) for row in csv.DictReader(stream)]
    assert len({*named}) == len(named)


def test_a_dry_run_trains_nothing(grid, tmp_path, capsys):
    run_experiment(*grid, output_dir="out", dry_run=True)
    assert "NARM, seed 1: missing" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


class TestFolders(FolderCases):
    unmade = {f"ownership.{name}": lambda *_: [] for name in ("verdicts", "check_ownership_data")}


TWO_BUDGETS = "[{attacker: standard+mixed}, {attacker: standard+mixed, query_sequences: 40}]"
ONE_MODEL = f"""
title: two budgets
figure: ownership
vary: {{model: [GRU4Rec]}}
seeds: [1]
ownership:
  references: [2, 3, 4, 5]
  probes: 30
  copies: []
  changed: {TWO_BUDGETS}
  avoiding: {TWO_BUDGETS}
  small: {{count: 0, model: GRU4Rec, epochs: 1}}
"""


def test_changed_copies_of_two_budgets_keep_their_verdicts(grid, tmp_path):
    """One more suspect makes the table anew, from the rows that are known."""
    found = []
    for count in (0, 1):
        (tmp_path / "two.yaml").write_text(ONE_MODEL.replace("count: 0", f"count: {count}"))
        with open(run_experiment("two.yaml", grid[1], output_dir="out") / "results.csv", newline="") as stream:
            found.append([row for row in csv.DictReader(stream) if row["is_copy"] == "True"])
    assert found[0] == found[1]
    assert Counter(row["kind"] for row in found[0]) == dict.fromkeys((*CHANGED, AVOIDING), 2)
    assert Counter(row["lists"] for row in found[0]) == dict.fromkeys(("32", "160"), len(CHANGED) + 1)


def test_a_copy_that_avoids_probes_is_made_anew_with_another_model_of_the_attackers(grid, tmp_path):
    """A single architecture leaves the attacker with the small model."""
    lists = []
    for stages, rate in (("stages", 1e-5), ("stages", 0.05), ("others", 0.05)):
        (tmp_path / "two.yaml").write_text(ONE_MODEL.replace("epochs: 1", f"epochs: 3, learning_rate: {rate}"))
        plan = read_experiment("two.yaml", grid[1] | {"served_k": 10})  # twice as many are not all items
        workshop = Workshop(plan, tmp_path / stages)
        [suspect] = [planned.make() for planned in copies(workshop, "GRU4Rec", 1) if AVOIDING in planned.name][:1]
        lists.append(suspect.lists(torch.arange(1, 30).unsqueeze(1)))
    assert torch.equal(lists[1], lists[2])
    assert not torch.equal(lists[0], lists[1])


def test_too_few_candidates_are_refused(grid, tmp_path):
    file = tmp_path / grid[0]
    file.write_text(file.read_text().replace("[2, 3, 4, 5]", "[2, 3]"))
    with pytest.raises(UserError, match="ownership: seeds and references are to be 5 different ones or more"):
        run_experiment(*grid, output_dir="out")


def without_changed_copies(file):
    file.write_text(file.read_text().replace("changed: [{attacker: standard+mixed}]", "changed: []"))


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"served_k": 18, "head_k": 18}, "where tail_shuffle changes what is below the first head_k=18 items; set it "),
        ({"served_k": 17}, "replaced from below; set it to 18 or more"),
        ({"served_k": 30}, "served_k: 30 is too long for a catalogue of 30 items; at most 29"),
        ({"surrogate_model": "FDSA"}, "surrogate: its model reads item features of the data"),
        (
            {"defense": "tail_decoy"},
            "defense: figure ownership has attacks and defenses of its own, in the file's part",
        ),
        ({"attacker": "head"}, "attacker: figure ownership has attacks and defenses of its own, in the file's part"),
    ],
)
def test_settings_that_suspects_cannot_have_are_refused_before_anything_is_made(
    grid, tmp_path, given, message, dry_run
):
    name, settings = grid
    with pytest.raises(UserError, match=re.escape(message)):
        run_experiment(name, settings | given, output_dir="out", dry_run=dry_run)
    assert not (tmp_path / "out").exists()


def test_lists_are_long_enough_where_no_copy_is_changed(grid, tmp_path, capsys):
    without_changed_copies(tmp_path / grid[0])
    run_experiment(grid[0], grid[1] | {"served_k": 6}, output_dir="out", dry_run=True)
    assert "nothing was run" in capsys.readouterr().out


def test_a_catalogue_without_an_item_outside_the_lists_is_refused(grid, tmp_path, write_dataset):
    path = write_dataset({f"u{user}": [f"i{(user + step) % 10}" for step in range(6)] for user in range(20)})
    without_changed_copies(tmp_path / grid[0])
    with pytest.raises(UserError, match="dataset tiny: 10 items are too few for figure ownership, which compares list"):
        run_experiment(grid[0], grid[1] | {"served_k": 5, "data_path": str(path)}, output_dir="out", dry_run=True)


def test_too_few_probes_are_reported(grid, monkeypatch):
    def none(*_):
        raise NoVerdict("no item is distinctive")

    monkeypatch.setattr(DistinctiveItems, "measured", none)
    with pytest.raises(UserError, match="probes: 60 give no verdict on NARM, seed 1: no item is distinctive; give"):
        run_experiment(*grid, output_dir="out")


def test_no_folder_of_recboles_is_left(grid, tmp_path):
    with tempfile.TemporaryDirectory() as folder:
        Workshop(read_experiment(*grid), Path(folder)).target("NARM", 1)
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("copies: [{attacker: standard+mixed}", "copies: [standard", "copies: 'standard' is not an attack; each entry"),
        ("changed: [{attacker: standard+mixed}", "changed: [{query_sequences: 9}", "is not an attack; each entry has"),
        ("copies: [{attacker: standard+mixed}", "copies: [{attacker: [head, oracle]}", "is not an attack; each entry"),
        ("copies: [{attacker: standard+mixed}", "copies: [{attacker: head, model: NARM}", "copies: model: an entry"),
        ("copies: [{attacker: standard+mixed}", "copies: [{attacker: standard+mixt}", "mixt"),
        ("changed: [{attacker: standard+mixed}", "changed: [{attacker: strongest}", "attacker: strongest is several "),
        (
            "copies: [{attacker: standard+mixed}", "copies: [{attacker: standard+mixed}, {attacker: standard+mixed}",
            "copies: {'attacker': 'standard+mixed'} is listed twice; give each attack once",
        ),
        ("only: [1]", "only: 1", "avoiding: only: 1 is not allowed; it takes a list of models and seeds of the file, "),
        ("only: [1]", "only: [7]", "avoiding: only: [7] is not allowed; it takes a list of models and seeds of the fi"),
        ("[2, 3, 4, 5]", "[2, 3, 4, b]", "references: [2, 3, 4, 'b'] is not a list of whole numbers >= 0, which are s"),
        ("[2, 3, 4, 5]", "[2, 3, 4, 5, 5]", "references: [2, 3, 4, 5, 5] has duplicate values; give each seed once"),
        ("probes: 60", "probes: 0", "probes: 0 is not allowed; it takes a whole number >= 1"),
        ("probes: 60", "probes: true", "probes is missing or not a whole number"),
        ("half: {NARM: [9]", "half: {SASRec: [9]", "half: 'SASRec' is no varied model; NARM, GRU4Rec are"),
        ("half: {NARM: [9]", "half: {NARM: 9", "half: NARM: 9 is not a list of whole numbers >= 0, which are seeds"),
        ("count: 2, ", "", "small: count is missing or not a whole number >= 0"),
        ("count: 2, model: GRU4Rec", "count: 2", "small: model is missing or not one name, such as GRU4Rec"),
        ("count: 2, model: GRU4Rec", "count: 2, model: GRU", "unknown model 'GRU'"),
    ],
)  # fmt: skip
def test_an_invalid_part_is_refused_before_anything_is_made(grid, tmp_path, old, new, message):
    text = (tmp_path / grid[0]).read_text()
    assert old in text
    (tmp_path / grid[0]).write_text(text.replace(old, new))
    with pytest.raises(UserError, match=re.escape(message)):
        run_experiment(*grid, output_dir="out", dry_run=True)
    assert not (tmp_path / "out").exists()


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
    text = markdown("t", list(ownership_blocks(read_experiment("ownership"), rows)))
    assert "1 of 2 verdicts on copies are claims, and 1 of 2 on 2 models that are none" in text
    assert "| all " in text
    uniform = next(line for line in text.splitlines() if line.startswith("| all"))
    assert [cell.strip() for cell in uniform.split("|")[2:7]] == ["0.500", "0.500", "0.500", "1.000", "2"]


def test_models_of_one_name_are_counted_by_their_kind(tmp_path, grid):
    kinds = ["independent, same architecture", "independent, another architecture", "independent, half of the users"]
    rows = rows_of(tmp_path, *[(False, 0.5, 0.0)] * 3, kinds=kinds)
    text = markdown("t", list(ownership_blocks(read_experiment("ownership"), rows)))
    assert "0 of 3 on 2 models that are none" in text  # one is a target, another owner's reference
    assert "2 of these models were trained independently" in text
