import csv

import pytest
from conftest import SMALL
from experiment.folder_cases import FolderCases
from experiment.test_ownership import OWN_MODEL
from pipeline import files_below

from recbole_gro.config import own_modules
from recbole_gro.experiment.false_claims import FALSE_CLAIMS
from recbole_gro.experiment.marks import HEAD, WORDS
from recbole_gro.experiment.marks_report import marks_blocks
from recbole_gro.experiment.plan import read_experiment
from recbole_gro.experiment.run import run_experiment
from recbole_gro.report.document import csv_text, markdown, read_rows
from recbole_gro.utils.errors import UserError

TINY = {key: value for key, value in SMALL.items() if key != "seed"} | {
    "query_sequences": 8, "query_length": 4, "surrogate_epochs": 1, "dataset": "tiny", "embedding_size": 8,
    "hidden_size": 8, "served_k": 12, "head_k": 6, "surrogate_model": "GRU4Rec", "aow_sequences": 2, "aow_length": 4,
    "aow_lowest": 10, "aow_epochs": 1, "injected_pool": 10, "injected_runs": 3,
}  # fmt: skip
OWN = """
title: tiny
figure: marks
vary: {model: [NARM, GRU4Rec], defense: [aow, injected]}
seeds: [1]
marks:
  copies: [{attacker: standard+mixed}]
  changed: [{attacker: standard+mixed}]
  cleansed: [{attacker: standard+mixed, usual: standard+autoregressive}]
  keys: 2
"""


@pytest.fixture
def grid(tiny_data_path, tmp_path, monkeypatch):
    """A yaml file of two architectures and both defenses with few suspects."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(OWN)
    return "tiny.yaml", TINY | {"data_path": str(tiny_data_path)}


def table(file):
    with open(file, newline="") as stream:
        return list(csv.DictReader(stream))


def test_each_suspect_of_each_marked_model_has_its_rows_and_none_is_made_twice(grid, tmp_path, monkeypatch):
    folder = run_experiment(*grid, output_dir="out")
    assert {"results.csv", FALSE_CLAIMS, "report.md", "report.html", "marks.png"} <= set(files_below(folder))
    rows = table(folder / "results.csv")
    suspects = [row["suspect"] for row in rows if (row["model"], row["defense"]) == ("NARM", "aow")]
    assert suspects[::2] == suspects[1::2] == [  # lists of 12 and of 10
        "the undefended target", "the marked target", "the marked target, 30% pruned", "the marked target, 50% pruned",
        "surrogate, standard+mixed", "surrogate, standard+mixed, 30% pruned", "surrogate, standard+mixed, 50% pruned",
        "surrogate, standard+mixed, fine-tuned on 10 % of the users",
        "surrogate, standard+mixed, cleansed by standard+autoregressive",
    ]  # fmt: skip
    assert {row["list_length"] for row in rows} == {"12", "10"}
    assert {row["is_marked"] for row in rows if row["suspect"] == "the undefended target"} == {"False"}
    assert all(row["p_value"] == "" or 0 <= float(row["p_value"]) <= 1 for row in rows)
    assert {row["left_out"] != "" for row in rows if "cleansed" in row["suspect"]} == {True}
    others = table(folder / FALSE_CLAIMS)
    aow, injected = ([row for row in others if row["defense"] == name] for name in ("aow", "injected"))
    assert len(aow) == 2 * 2 * 4 * 2  # keys, owners, suspects, lengths
    assert len(injected) == 2 * 4 * 2  # its marks do not depend on the model
    before = (folder / "results.csv").read_text()
    monkeypatch.setattr("recbole_gro.experiment.marks.marked_suspects", None)
    monkeypatch.setattr("recbole_gro.experiment.false_claims.unmarked_suspects", None)
    run_experiment(*grid, output_dir="out")
    assert (folder / "results.csv").read_text() == before


def test_tables_of_other_code_of_a_model_are_made_again(grid, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("recbole_gro.experiment.marks.verdicts", lambda *_: [])
    monkeypatch.setattr("recbole_gro.experiment.marks.false_claims", lambda *_: [])
    monkeypatch.setattr("recbole_gro.experiment.marks.marks_blocks", lambda *_: [])
    module, name = tmp_path / "own_model_with_marks.py", "own_model_with_marks:OwnModel"
    module.write_text(OWN_MODEL)
    (tmp_path / "tiny.yaml").write_text(OWN.replace("GRU4Rec", f"'{name}'"))
    run_experiment(*grid, output_dir="out")
    run_experiment(*grid, output_dir="out", dry_run=True)
    assert "missing" not in capsys.readouterr().out
    module.write_text(OWN_MODEL.replace("1", "22"))
    own_modules._sources.clear()  # as of a new process
    run_experiment(*grid, output_dir="out", dry_run=True)
    printed = capsys.readouterr().out
    assert f"  {name}, aow, seed 1: missing\n" in printed
    assert "  false claims, injected: missing\n" in printed


@pytest.mark.parametrize("dry_run", [True, False])
def test_too_few_marks_to_be_recognized_are_refused_before_anything_is_made(grid, tmp_path, dry_run):
    name, settings = grid
    few = {"model": "NARM", "defense": "aow", "aow_sequences": 1, "aow_length": 2}
    message = (
        r"^defense: aow: no suspect could be claimed: 1 marked items give a p-value of \S+ or more, and the level is"
    )
    with pytest.raises(UserError, match=message + r" 0\.01; plant more or longer marks$"):
        run_experiment(name, settings | few, output_dir="out", dry_run=dry_run)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_trains_nothing(grid, tmp_path, capsys):
    run_experiment(*grid, output_dir="out", dry_run=True)
    printed = capsys.readouterr().out
    assert "  NARM, aow, seed 1: missing\n  NARM, injected, seed 1: missing\n" in printed
    assert "  false claims, injected: missing\n" in printed
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[aow, injected]", "[none]", "defense: none plants no marks; experiment tiny takes aow and injected"),
        ("cleansed: [{attacker: standard+mixed, usual: standard+autoregressive}]", "cleansed: [{attacker: oracle}]",
         "experiment tiny.yaml: marks: cleansed: .* is not an attack; each entry has attacker and usual: "),
        ("changed: [{attacker: standard+mixed}]", "changed: [{attacker: oracle, usual: oracle}]",
         "experiment tiny.yaml: marks: changed: usual is no key of its entries; leave it out$"),
        ("copies: [{attacker: standard+mixed}]", "copies: [{attacker: standard+mixt}]", "mixt"),
        ("usual: standard+autoregressive", "usual: unusual", "unusual"),
        ("keys: 2", "keys: two", "experiment tiny.yaml: marks: keys is missing or not a whole number"),
        ("keys: 2", "keys: 0", "experiment tiny.yaml: marks: keys: 0 is not allowed; it takes a whole number >= 1"),
        ("copies: [{attacker: standard+mixed}]", "copies: [oracle]", "copies: 'oracle' is not an attack; each entry"),
        ("changed: [{attacker: standard+mixed}]", "changed: [{attacker: head, surrogate_model: FDSA}]", "surrogate: "),
        ("keys: 2", "keys: 2\n  key: 3", "experiment tiny.yaml: marks: unknown key 'key'; did you mean 'keys'?"),
        ("vary: {model: [NARM, GRU4Rec], ", "fixed: {model: NARM}\nvary: {", "varies model and defense alone, and has"),
        ("seeds: [1]", "seeds: [1]\nfixed: {defense_key: secret}", "defense_key: experiment tiny derives all keys"),
        ("seeds: [1]", "seeds: [1]\nfixed: {attacker: head}", "attacker: figure marks has attacks and defenses of "),
        ("usual: standard+autoregressive", "usual: strongest", "attacker: strongest is several attacks, and figure "),
        ("[{attacker: standard+mixed}]\n  changed", "[{attacker: oracle, output_dir: x}]\n  changed", "output_dir: ce"),
    ],
)  # fmt: skip
def test_an_invalid_plan_is_refused_before_anything_is_made(grid, tmp_path, monkeypatch, old, new, message):
    monkeypatch.setenv("RECBOLE_GRO_DEFENSE_KEY", "0123456789abcdef")
    assert old in OWN
    (tmp_path / "tiny.yaml").write_text(OWN.replace(old, new))
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        run_experiment(*grid, output_dir="out")
    assert not (tmp_path / "out").exists()


def test_the_metric_of_the_report_is_measured(grid, tmp_path):
    name, settings = grid
    with pytest.raises(UserError, match="metrics: experiment tiny reports NDCG; add it, or leave metrics out"):
        run_experiment(name, settings | {"metrics": ["Hit"], "valid_metric": "Hit@5"}, output_dir="out")
    assert not (tmp_path / "out").exists()


class TestFolders(FolderCases):
    unmade = {f"marks.{name}": lambda *_: [] for name in ("verdicts", "false_claims", "marks_blocks")}


def rows_of(tmp_path, *given):
    """Rows of suspects (name, is_marked, length, p-value, test NDCG) of one model at one seed."""
    rows = [["M", "aow", 1, name, is_marked, length, 9, 9, 0.5, 0.1, p_value, ndcg, ndcg, None, None, None, 3]
            for name, is_marked, length, p_value, ndcg in given]  # fmt: skip
    (tmp_path / "rows.csv").write_text(csv_text(HEAD, rows))
    return read_rows(tmp_path / "rows.csv", WORDS)


def test_tests_without_a_verdict_are_named_apart_from_verdicts(tmp_path):
    rows = rows_of(
        tmp_path, ("plain", False, 10, 0.3, 0.2), ("marked", True, 10, 0.001, 0.2), ("s", True, 10, None, 0.1)
    )
    text = markdown("t", list(marks_blocks(read_experiment("marks"), rows, [])))
    assert "1 of 1 verdicts on marked models and their surrogates are claims" in text
    assert "Without a verdict: 1 of 2 tests." in text


def test_the_report_counts_claims_and_compares_with_the_undefended_target(tmp_path):
    rows = rows_of(
        tmp_path,
        ("plain", False, 100, None, 0.2), ("plain", False, 10, 0.3, 0.2),
        ("marked", True, 100, 1e-9, 0.15), ("marked", True, 10, 0.02, 0.15),
    )  # fmt: skip
    others = [{"defense": "aow", "key": key, "suspect": "target M 1", "list_length": 10, "p_value": p_value}
              for key, p_value in ((1, 0.01), (1, 0.4), (2, None), (2, 0.6))]  # fmt: skip
    text = markdown("t", list(marks_blocks(read_experiment("marks"), rows, others)))
    claims = "1 of 2 verdicts on marked models and their surrogates are claims at level 0.01"
    assert f"{claims}, and 1 of 3 on models that no mark was planted in." in text
    assert "Without a verdict: 0 of 2 tests and 1 of 4 tests." in text
    cells = {line.split("|")[3].strip(): [cell.strip() for cell in line.split("|")[4:-1]]
             for line in text.splitlines() if line.startswith("| M ")}  # fmt: skip
    assert cells["marked"] == ["1", "15.00", "15.00", "0.75", "0.75", "0.75"]
    found = [line for line in text.splitlines() if line.startswith("| M ") and "1 of 1" in line]
    assert [cell.strip() for cell in found[0].split("|")[4:-1]] == [
        "1 of 1", "1e-09", "1e-09", "0 of 1", "0.02", "0.02", "50.0", "10.0",
    ]  # fmt: skip
    [share] = [line for line in text.splitlines() if line.startswith("| aow ")]
    assert [cell.strip() for cell in share.split("|")[3:-1]] == ["0.333", "0.333", "0.333", "0.667", "3", "1", "2", "1"]
