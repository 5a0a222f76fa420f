"""Every sequential model of RecBole as target, student and surrogate; six of them in the quick tests."""

import sys
from pathlib import Path

import pytest
from quick_start.model_cases import ModelCases

from recbole_gro import UserError
from recbole_gro.config.models import CANNOT_SERVE, sequential_models
from recbole_gro.quick_start.conformance import Failed, Trial, first_users, main, markdown_table, try_out

ROOT = Path(__file__).parent.parent.parent
QUICK = {"BERT4Rec", "NARM", "GRU4Rec", "STAMP", "FPMC", "SHAN"}  # masked, recurrent, plain, pairwise, with users


def suite(name):
    cls = type(f"Test{name}", (ModelCases,), {"model": name, "__module__": __name__})
    return cls if name in QUICK else pytest.mark.every(cls)


for model_name in sorted(set(sequential_models()) - set(CANNOT_SERVE)):
    globals()[f"Test{model_name}"] = suite(model_name)


class TestPairwiseGRU4Rec(ModelCases):
    model = "GRU4Rec"
    settings = {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform"}}


@pytest.mark.every
class TestPairwiseBERT4Rec(ModelCases):
    model = "BERT4Rec"
    settings = {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform"}}


@pytest.fixture(scope="module")
def data_path(tmp_path_factory):
    return first_users(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("name", sorted(CANNOT_SERVE))
def test_what_cannot_serve_is_refused_before_training(name, data_path, tmp_path):
    with pytest.raises(UserError, match=f"^model: {name} cannot serve lists: {CANNOT_SERVE[name]}"):
        Trial(name, data_path, tmp_path)
    row = try_out(name, data_path)
    assert (row["target"], row["student"], row["surrogate"], row["remark"]) == ("no", "no", "no", CANNOT_SERVE[name])


def test_a_model_that_does_not_learn_fails_its_trial(data_path, tmp_path):
    trial = Trial("STAMP", data_path, tmp_path, surrogate_learning_rate=1e-12)
    trial.config["learning_rate"] = 0.0
    with pytest.raises(Failed, match=r"its loss went from .* to .* in training"):
        trial.training_lowers_its_loss()
    with pytest.raises(Failed, match="of held-out top tens a trained copy has"):
        trial.a_copy_agrees_more_than_an_untrained_one()


def test_a_model_that_looks_at_other_rows_fails_its_trial(data_path, tmp_path, monkeypatch):
    trial = Trial("STAMP", data_path, tmp_path)
    model = trial.target[0]
    ask = type(model).full_sort_predict
    monkeypatch.setattr(type(model), "full_sort_predict", lambda self, query: ask(self, query) + len(query))
    with pytest.raises(Failed, match="scores depend on the other rows of a batch"):
        trial.scores_do_not_depend_on_other_rows()


def cells(line):
    return [cell.strip() for cell in line.split("|")]


def test_the_page_has_every_model_and_what_the_trials_say(data_path):
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    rows = {row[1]: row for row in map(cells, page.splitlines()) if len(row) > 1}
    assert set(sequential_models()) <= set(rows)
    for name in ("STAMP", "FPMC", "S3Rec"):
        assert rows[name] == cells(markdown_table({name: try_out(name, data_path)}).splitlines()[-1])


def test_the_command_puts_its_table_into_a_page(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table -->\nold\n<!-- end -->\nafter\n")
    assert main(["STAMP", "--write", str(page)]) == 0
    written = page.read_text()
    assert ["", "STAMP", "works", "works", "works"] in [cells(line)[:5] for line in written.splitlines()]
    assert written.startswith("before\n")
    assert written.endswith("<!-- end -->\nafter\n")
    assert "old" not in written
    assert "| STAMP   | works " in capsys.readouterr().out


def test_the_command_says_in_a_line_what_it_does_not_know(capsys):
    assert main(["STAMQ"]) == 2
    assert "unknown model 'STAMQ'. Did you mean 'STAMP'?" in capsys.readouterr().err


def test_the_exit_code_tells_whether_a_named_model_works(capsys):
    assert main(["S3Rec"]) == 1
    row = cells(capsys.readouterr().out.splitlines()[-1])
    assert row[1:5] == ["S3Rec", "no", "no", "no"]
    assert row[5].startswith("it needs a pre-training")


def test_models_of_ones_own_by_module_and_class(capsys, monkeypatch):
    monkeypatch.chdir(ROOT / "examples")
    assert main(["mean_of_items:MeanOfItems"]) == 0
    assert cells(capsys.readouterr().out.splitlines()[-1])[1:5] == ["mean_of_items:MeanOfItems", *["works"] * 3]
    assert str(ROOT / "examples") not in sys.path
