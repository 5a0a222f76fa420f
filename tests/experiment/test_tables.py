"""Tables of figures ownership and marks where some of them fail."""

import csv

import pytest
import torch
from conftest import SMALL

from recbole_gro.experiment.false_claims import FALSE_HEAD
from recbole_gro.experiment.marks import HEAD as MARKS_HEAD
from recbole_gro.experiment.ownership import HEAD
from recbole_gro.experiment.planned_suspects import suspect_named
from recbole_gro.experiment.run import run_experiment
from recbole_gro.experiment.tables import PlannedTable, make_tables, missing_of, print_tables, refuse_failed
from recbole_gro.utils.errors import UserError

OWNERSHIP = """
title: tiny
figure: ownership
vary: {model: [NARM, GRU4Rec]}
seeds: [1, 2]
ownership:
  references: [3, 4, 5]
  probes: 60
  copies: [{attacker: standard+mixed}]
  changed: []
  avoiding: []
  small: {count: 1, model: GRU4Rec, epochs: 1}
"""
MARKS = """
title: tiny
figure: marks
vary: {model: [NARM, GRU4Rec], defense: [aow]}
seeds: [1]
marks:
  copies: [{attacker: standard+mixed}]
  changed: []
  cleansed: []
  keys: 1
"""
TINY = {key: value for key, value in SMALL.items() if key != "seed"} | {
    "dataset": "tiny", "query_sequences": 8, "query_length": 4, "served_k": 12, "surrogate_model": "GRU4Rec",
}  # fmt: skip


def raised(error):
    raise error


def planned(folder, **rows):
    return {name: PlannedTable(folder / "tables" / f"{name}.csv", ["a"], made) for name, made in rows.items()}


def test_a_table_that_fails_leaves_no_file_and_the_others_are_made(tmp_path, capsys):
    def half():
        yield {"a": 1}
        with suspect_named("suspect x"):
            raised(ValueError("own\nfailure"))

    tables = planned(tmp_path, one=half, two=lambda: [{"a": 2}])
    failed = make_tables(tables, tmp_path / "stages")
    assert failed == ["one: suspect x: ValueError: own failure"]
    assert [file.name for file in (tmp_path / "tables").iterdir()] == ["two.csv"]
    assert "one: suspect x: ValueError: own failure\n" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"^1 of 2 tables failed, finished ones are kept: one: suspect x: ValueError"):
        refuse_failed(failed, len(tables))
    tables = planned(tmp_path, one=lambda: [{"a": 1}], two=lambda: raised(AssertionError))
    assert make_tables(tables, tmp_path / "stages") == []
    refuse_failed([], len(tables))


def test_a_table_that_was_cut_is_made_again(tmp_path, capsys):
    made = [{"a": 1}, {"a": 20}]
    [table] = planned(tmp_path, one=lambda: made).values()
    table.make()
    whole = table.file.read_bytes()
    assert table.read() == (made, [])
    for size in range(len(whole)):
        table.file.write_bytes(whole[:size])
        assert missing_of({"one": table}) == ["one"]
        assert table.read() == ([], [])
    print_tables({"one": table}, "marks")
    assert "  one: missing\n" in capsys.readouterr().out
    assert make_tables({"one": table}, tmp_path / "stages") == []
    assert table.file.read_bytes() == whole


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_ends_all_tables_at_once(tmp_path, stop):
    def rows():
        with suspect_named("suspect x"):
            raised(stop)

    with pytest.raises(stop):
        make_tables(planned(tmp_path, one=rows, two=lambda: raised(AssertionError)), tmp_path / "stages")


def test_a_failed_table_leaves_no_modes_to_the_next_one(tmp_path):
    def rows():
        torch.set_default_dtype(torch.float64)
        raise ValueError

    found = []
    tables = planned(tmp_path, one=rows, two=lambda: found.append(torch.get_default_dtype()) or [])
    assert len(make_tables(tables, tmp_path / "stages")) == 1
    assert found == [torch.float32]


@pytest.fixture
def experiment(tiny_data_path, tmp_path, monkeypatch):
    """Run the experiment of a text in the folder `out`; nothing is tried before it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("recbole_gro.experiment.ownership.check_ownership_data", lambda *_: None)
    for name in ("check_cells", "_check_marks"):
        monkeypatch.setattr(f"recbole_gro.experiment.marks.{name}", lambda *_: None)

    def run(text):
        (tmp_path / "tiny.yaml").write_text(text)
        return run_experiment("tiny.yaml", TINY | {"data_path": str(tiny_data_path)}, output_dir="out")

    return run


def files(folder):
    """Return the content of a folder's report, and the rows of results.csv."""
    with open(folder / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: (folder / name).read_bytes() for name in ("results.csv", "report.md", "report.html")}, rows


def ownership_rows(model, seed):
    return [
        dict(zip(HEAD, [model, seed, kind, "s", is_copy, 5, 1e-5, 1e-5, 0.5, 0.1, 0.4, 0.3, 0.5, 10, 0.5], strict=True))
        for kind, is_copy in (("copy, 40 lists", True), ("independent, small", False))
    ]


def test_owners_after_one_that_fails_are_made_and_a_resumed_run_ends_as_a_whole_one(experiment, tmp_path, monkeypatch):
    calls = []

    def verdicts(workshop, model, seed, known):
        calls.append((model, seed))
        yield from ownership_rows(model, seed)[:1]
        if broken and (model, seed) == ("NARM", 2):
            raise ValueError("own failure")
        yield from ownership_rows(model, seed)[1:]

    monkeypatch.setattr("recbole_gro.experiment.ownership.verdicts", verdicts)
    broken = True
    with pytest.raises(UserError, match=r"^1 of 4 tables failed, finished ones are kept: NARM, seed 2: .*own failure$"):
        experiment(OWNERSHIP)
    found, rows = files(tmp_path / "out")
    assert {(row["model"], row["seed"]) for row in rows} == {("NARM", "1"), ("GRU4Rec", "1"), ("GRU4Rec", "2")}
    report = found["report.md"].decode()
    assert "Unfinished: 1 of 4 tables are missing, listed at the end." in report
    assert report.count("Unfinished: without NARM, seed 2.") == 4  # the summary, both tables and the picture
    assert "| all that are there " in report
    assert report.rstrip().endswith("- NARM, seed 2: ValueError: own failure")
    calls.clear()
    broken = False
    experiment(OWNERSHIP)
    assert calls == [("NARM", 2)]
    resumed, _ = files(tmp_path / "out")
    assert b"Unfinished" not in resumed["report.md"]
    (tmp_path / "out").rename(tmp_path / "resumed")
    experiment(OWNERSHIP)
    assert files(tmp_path / "out")[0] == resumed


def test_no_report_is_written_where_no_owner_is_finished(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_gro.experiment.ownership.verdicts", lambda *_: raised(ValueError("own failure")))
    with pytest.raises(UserError, match=r"^4 of 4 tables failed"):
        experiment(OWNERSHIP)
    assert not (tmp_path / "out" / "report.md").exists()


def marks_rows(_, model, defense, seed, known):
    for name, is_marked in (("the undefended target", False), ("the marked target", True)):
        row = [model, defense, seed, name, is_marked, 10, 9, 9, 0.5, 0.1, 0.02, 0.2, 0.2, None, None, None, 3]
        yield dict(zip(MARKS_HEAD, row, strict=True))


def false_rows(_, defense, known):
    yield dict(zip(FALSE_HEAD, [defense, 1000, "NARM", "target NARM 1", 10, 9, 9, 0.5, 0.1, 0.6], strict=True))


@pytest.mark.parametrize(
    ("broken", "missing", "there"),
    [
        (("NARM", "aow", 1), ["NARM, aow, seed 1"], ["GRU4Rec, aow, seed 1", "false claims, aow"]),
        (("aow",), ["false claims, aow"], ["NARM, aow, seed 1", "GRU4Rec, aow, seed 1"]),
        (None, ["NARM, aow, seed 1", "GRU4Rec, aow, seed 1"], ["false claims, aow"]),
    ],
)
def test_the_report_on_marks_is_of_the_tables_that_are_there(experiment, tmp_path, monkeypatch, broken, missing, there):
    def made(rows, fails):
        return lambda *of: raised(ValueError("own failure")) if fails(of[1:-1]) else rows(*of)

    monkeypatch.setattr(
        "recbole_gro.experiment.marks.verdicts", made(marks_rows, lambda of: broken is None or of == broken)
    )
    monkeypatch.setattr("recbole_gro.experiment.marks.false_claims", made(false_rows, lambda of: of == broken))
    with pytest.raises(UserError, match=rf"^{len(missing)} of 3 tables failed, finished ones are kept: {missing[0]}: "):
        experiment(MARKS)
    report = files(tmp_path / "out")[0]["report.md"].decode()
    assert f"Unfinished: {len(missing)} of 3 tables are missing, listed at the end." in report
    assert [line[2:] for line in report.splitlines() if line.startswith("- ")][-len(missing) :] == [
        f"{name}: ValueError: own failure" for name in missing
    ]
    assert ("## Results" in report) == any("seed" in name for name in there)
    assert ("## Models without marks" in report) == ("false claims, aow" in there)
    # captions of the suspects' tables lack owners, and that of false claims lacks none of these
    assert report.count("Unfinished: without NARM, aow, seed 1.") == (3 if broken == ("NARM", "aow", 1) else 0)
