"""The table of the trials of models, and the command that prints it."""

import sys
from pathlib import Path

import pytest

from recbole_gro.cli.main import main
from recbole_gro.config.models import CANNOT_SERVE, sequential_models
from recbole_gro.quick_start.model_table import table, table_row
from recbole_gro.quick_start.model_trials import write_first_users

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def data_path(tmp_path_factory):
    return write_first_users(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("name", sorted(CANNOT_SERVE))
def test_the_row_of_a_model_that_cannot_serve_gives_the_reason(name, data_path):
    assert table_row(name, data_path) == {
        **dict.fromkeys(("target", "student", "surrogate"), "no"),
        "remark": CANNOT_SERVE[name],
    }


def cells(line):
    return [cell.strip() for cell in line.split("|")]


def test_the_page_has_every_model_and_the_results_of_the_trials(data_path):
    page = (ROOT / "docs" / "reference" / "models.md").read_text(encoding="utf-8")
    rows = {row[1]: row for row in map(cells, page.splitlines()) if len(row) > 1}
    assert set(sequential_models()) <= set(rows)
    for name in ("STAMP", "FPMC", "S3Rec"):
        assert rows[name] == cells(table({name: table_row(name, data_path)}).lines()[-1])


def test_the_command_puts_its_table_into_a_page(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table -->\nold\n<!-- end -->\nafter\n")
    assert main(["check-model", "STAMP", "--write", str(page)]) == 0
    written = page.read_text()
    assert ["", "STAMP", "works", "works", "works"] in [cells(line)[:5] for line in written.splitlines()]
    assert written.startswith("before\n")
    assert written.endswith("<!-- end -->\nafter\n")
    assert "old" not in written
    assert "| STAMP   | works " in capsys.readouterr().out


def test_an_unknown_model_is_reported(capsys):
    assert main(["check-model", "STAMQ"]) == 2
    assert "unknown model 'STAMQ'. Did you mean 'STAMP'?" in capsys.readouterr().err


def test_the_exit_status_is_1_where_a_named_model_does_not_work(capsys):
    assert main(["check-model", "S3Rec"]) == 1
    row = cells(capsys.readouterr().out.splitlines()[-1])
    assert row[1:5] == ["S3Rec", "no", "no", "no"]
    assert row[5].startswith("it needs a pre-training")


def test_a_user_model_by_module_and_class(capsys, monkeypatch):
    monkeypatch.chdir(ROOT / "examples")
    assert main(["check-model", "mean_of_items:MeanOfItems"]) == 0
    assert cells(capsys.readouterr().out.splitlines()[-1])[1:5] == ["mean_of_items:MeanOfItems", *["works"] * 3]
    assert str(ROOT / "examples") not in sys.path
