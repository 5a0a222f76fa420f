"""The command that prints the table of the trials of models."""

import re
import sys
from pathlib import Path

import pytest

from recbole_gro.cli.main import main

ROOT = Path(__file__).parent.parent.parent


def cells(line):
    return [cell.strip() for cell in line.split("|")]


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


def test_a_users_model_that_raises_has_a_row_with_the_reason(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken_models.py").write_text(
        "from recbole.model.sequential_recommender import GRU4Rec\n\n\n"
        "class Broken(GRU4Rec):\n    def calculate_loss(self, interaction):\n        return self.nothing\n"
    )
    assert main(["check-model", "broken_models:Broken"]) == 1
    printed = capsys.readouterr()
    assert cells(printed.out.splitlines()[-1])[2].startswith("no: ")
    assert "nothing" in printed.out
    assert "Traceback" not in printed.err


def test_what_cannot_work_is_said_before_the_trials(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_gro.quick_start.model_table.table_row", lambda *_: pytest.fail("tried"))
    assert main(["check-model", "STAMP", f"--write={tmp_path / 'absent.md'}"]) == 2
    assert "--write: " in capsys.readouterr().err
    (tmp_path / "page.md").write_text("no marks\n")
    assert main(["check-model", "STAMP", f"--write={tmp_path / 'page.md'}"]) == 2
    assert "has no line <!-- table -->" in capsys.readouterr().err
    assert main(["check-model", "STAMP", "STAMQ"]) == 2


def test_settings_of_a_users_model_are_given_with_it(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide_models.py").write_text(
        "from recbole.model.sequential_recommender import GRU4Rec\n\n\n"
        "class Wide(GRU4Rec):\n    def __init__(self, config, dataset):\n"
        "        config['hidden_size'] = config['my_width'] * 2\n        super().__init__(config, dataset)\n"
    )
    assert main(["check-model", "wide_models:Wide"]) == 1
    capsys.readouterr()
    assert main(["check-model", "wide_models:Wide", "--my_width=8"]) == 0
    printed = capsys.readouterr()
    assert cells(printed.out.splitlines()[-1])[1:5] == ["wide_models:Wide", *["works"] * 3]
    assert "warning" not in printed.err
    assert main(["check-model", "wide_models:Wide", "--my_widht=8"]) == 1
    warned = [line for line in capsys.readouterr().err.splitlines() if "my_widht" in line]
    assert warned == [
        "recbole-gro check-model: warning: unknown key 'my_widht'; did you mean 'my_width'? "
        "(a custom model can declare it in config_keys)"
    ]


OWN = """from recbole.model.abstract_recommender import SequentialRecommender
from torch import nn
class Mean(SequentialRecommender):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.width, self.depth = config["width"], config["depth"]
        self.emb = nn.Embedding(self.n_items, self.width, padding_idx=0)
    def calculate_loss(self, interaction):
        scores = self.full_sort_predict(interaction)
        return nn.functional.cross_entropy(scores, interaction[self.POS_ITEM_ID])
    def full_sort_predict(self, interaction):
        return self.emb(interaction[self.ITEM_SEQ]).sum(1) @ self.emb.weight.T
class Short(Mean):
    def calculate_loss(self, interaction):
        return self.emb.weight.square().mean()
    def full_sort_predict(self, interaction):
        return super().full_sort_predict(interaction)[:, 1:]
class Flat(Mean):
    def full_sort_predict(self, interaction):
        return super().full_sort_predict(interaction)[:, 1:].flatten()
class Nothing(Short):
    def full_sort_predict(self, interaction):
        pass
"""


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["Mean"], "no: TypeError: width, depth are not set; give --width= --depth= (.*line 7, in Mean.__init__)"),
        (
            ["Mean", "--depth=2"],
            "no: TypeError: width is not set; give --width= (.*line 7, in Mean.__init__) (given: .*)",
        ),
        (["Mean", "--width=[]"], "no: TypeError .* (.*line 7, in Mean.__init__) (given: width=[])"),
        (
            ["Short", "--width=4"],
            "no: model: full_sort_predict of Short returned 1126 scores per row, and the model has 1127 items, padding "
            "included",
        ),
        (["Flat", "--width=4"], "no: model: full_sort_predict of Flat returned 1126 scores per row, .*"),
        (["Nothing", "--width=4"], "no: model: full_sort_predict of Nothing returned a NoneType, .*"),
    ],
)
def test_a_fault_of_a_users_model_is_a_short_line(capsys, monkeypatch, tmp_path, words, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faulty_models.py").write_text(OWN)
    assert main(["check-model", f"faulty_models:{words[0]}", *words[1:]]) == 1
    for cell in cells(capsys.readouterr().out.splitlines()[-1])[2:5]:
        assert re.fullmatch(re.escape(reason).replace(r"\.\*", ".*"), cell)
        assert len(cell) < 320


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["SASRec", "--n_heads=3"], "no: ValueError The hidden size (64) is not a multiple of .* (given: n_heads=3)"),
        (["GRU4Rec", "--dropout_prob=2"], "no: ValueError dropout probability .* (given: dropout_prob=2)"),
        (["GRU4Rec", "--num_layers=0"], "no: ValueError num_layers must be greater than zero (given: num_layers=0)"),
        (["NARM", "--dropout_probs=[0.5]"], "no: IndexError .* (given: dropout_probs=[0.5])"),
    ],
)
def test_settings_that_a_model_of_recbole_cannot_have_give_a_row_with_the_reason(capsys, words, reason):
    assert main(["check-model", *words]) == 1
    printed = capsys.readouterr()
    for cell in cells(printed.out.splitlines()[-1])[2:5]:
        assert re.fullmatch(re.escape(reason).replace(r"\.\*", ".*"), cell)
    assert "Traceback" not in printed.err


def test_models_may_stand_behind_a_setting(capsys, monkeypatch):
    rows = {}
    row = {**dict.fromkeys(("target", "student", "surrogate"), "works"), "remark": ""}
    monkeypatch.setattr(
        "recbole_gro.quick_start.model_table.table_row", lambda model, _, given: rows.update({model: given}) or row
    )
    assert main(["check-model", "NARM", "--hidden_size=8", "STAMP", "GRU4Rec", "--embedding_size=8"]) == 2
    assert capsys.readouterr().err.startswith("recbole-gro check-model: error: hidden_size: not read by STAMP; ")
    assert rows == {}
    assert main(["check-model", "NARM", "--hidden_size=8", "GRU4Rec", "--embedding_size=8"]) == 0
    assert rows == {model: {"hidden_size": 8, "embedding_size": 8} for model in ("NARM", "GRU4Rec")}
    assert main(["check-model", "NARM", "--hidden_size", "8"]) == 2
    assert "settings have the form --KEY=VALUE, here --hidden_size=8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--epochs=9", "epochs: check-model sets it itself; give settings of the model alone"),
        ("--data_path=d", "data_path: check-model sets it itself"),
        ("--output_dir=d", "output_dir: check-model sets it itself"),
        ("--output_dri=d", "unknown key 'output_dri'; did you mean 'output_dir'?"),
        ("width=8", "unknown model 'width=8'"),
    ],
)
def test_settings_that_the_trials_set_are_refused(capsys, word, message):
    assert main(["check-model", "STAMP", word]) == 2
    assert message in capsys.readouterr().err
