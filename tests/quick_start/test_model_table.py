"""The table of the trials of models, and the page that holds it."""

import logging
import re
from pathlib import Path

import pytest

from recbole_gro.config.models import CANNOT_SERVE, sequential_models
from recbole_gro.data import train_rows_of
from recbole_gro.quick_start.model_table import table, table_row
from recbole_gro.quick_start.model_trials import TRIALS_BY_ROLE, TrialFailed, write_first_users
from recbole_gro.utils.errors import UserError

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


def in_single_spaces(text):
    return re.sub(" +", " ", text)


def test_the_page_has_every_model_and_the_results_of_the_trials(data_path):
    page = in_single_spaces((ROOT / "docs" / "reference" / "models.md").read_text(encoding="utf-8"))
    assert all(f"\n| {name} | " in page for name in sequential_models())
    for name in ("STAMP", "FPMC", "S3Rec"):
        line = table({name: table_row(name, data_path)}).lines()[-1]
        assert f"\n{in_single_spaces(line)}\n" in page


@pytest.mark.parametrize("fails_on", ["sequences", "prefixes"])
def test_a_model_that_works_on_one_kind_of_training_rows_is_reported_as_such(data_path, monkeypatch, fails_on):
    def trial(trials):
        if train_rows_of(trials.config) == fails_on:
            raise TrialFailed("its loss rises")

    monkeypatch.setattr("recbole_gro.quick_start.model_table._remark", lambda _: "")
    for role in TRIALS_BY_ROLE:
        monkeypatch.setitem(TRIALS_BY_ROLE, role, [trial] if role == "target" else [])
    row = table_row("NARM", data_path)
    assert (row["student"], row["surrogate"]) == ("works", "works")
    assert (row["target"], row["remark"]) == {
        "sequences": ("no: its loss rises (on sequences; works with train_rows=prefixes)", ""),
        "prefixes": ("works", "target on sequences alone (train_rows=prefixes: no: its loss rises)"),
    }[fails_on]


def test_the_row_of_a_model_gives_the_reason_why_a_role_does_not_work(data_path, monkeypatch, capsys):
    def fails(reason, error):
        def trial(trials):
            print("an epoch")
            raise error(reason)

        return trial

    monkeypatch.setitem(TRIALS_BY_ROLE, "target", [lambda trials: None])
    monkeypatch.setitem(TRIALS_BY_ROLE, "student", [lambda trials: None, fails("its loss rises", TrialFailed)])
    monkeypatch.setitem(TRIALS_BY_ROLE, "surrogate", [fails("it reads users", UserError)])
    row = {"target": "works", "student": "no: its loss rises", "surrogate": "no: it reads users", "remark": ""}
    logging.disable(logging.INFO)
    try:
        assert table_row("STAMP", data_path) == row
        assert logging.root.manager.disable == logging.INFO
    finally:
        logging.disable(logging.NOTSET)
    assert capsys.readouterr().out == ""
    made = table({"STAMP": row})
    assert (made.head, made.rows) == (["model", *row], [["STAMP", *row.values()]])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("foo"), "no: KeyError 'foo' (given: embedding_size=8)"),
        (SystemExit(), "no: it ends the process (given: embedding_size=8)"),
        (MemoryError(), "no: memory: there is not enough (MemoryError); .* (given: embedding_size=8)"),
    ],
)
def test_a_fault_of_a_model_of_recbole_is_a_row_under_given_settings_alone(data_path, monkeypatch, error, reason):
    def trial(trials):
        raise error

    monkeypatch.setattr("recbole_gro.quick_start.model_table._remark", lambda _: "")
    for role in TRIALS_BY_ROLE:
        monkeypatch.setitem(TRIALS_BY_ROLE, role, [trial] if role == "student" else [])
    row = table_row("STAMP", data_path, {"embedding_size": 8})
    assert (row["target"], row["surrogate"]) == ("works", "works")
    assert re.fullmatch(re.escape(reason).replace(r"\.\*", ".*"), row["student"])
    with pytest.raises(type(error)):
        table_row("STAMP", data_path)
