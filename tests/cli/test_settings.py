"""The search of settings."""

import pytest

from recbole_gro.cli.main import main
from recbole_gro.config.reference import all_keys


def found(capsys, *words):
    assert main(["settings", *words]) == 0
    return capsys.readouterr().out


def names(text):
    return [line.split("  (")[0] for line in text.splitlines() if not line.startswith(" ")]


def test_a_setting_has_type_default_meaning_and_readers(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    lines = found(capsys, "GRO_LAMBDA").splitlines()
    at = lines.index("gro_lambda  (float >= 0; default 1.0)")
    assert lines[at + 1].strip() == "weight of the swap loss in Eq. 6"
    assert lines[at + 2].strip().startswith("read by defense.gro (")


def test_names_and_meanings_are_searched(capsys):
    shown = names(found(capsys, "swap loss"))
    assert {"gro_lambda", "gro_rows"} <= set(shown)
    assert "gro_epochs" not in shown


def test_several_words_are_all_in_a_name_or_meaning(capsys):
    both = names(found(capsys, "LEARNING", "surrogate"))
    assert "surrogate_learning_rate" in both
    assert set(both) == set(names(found(capsys, "learning"))) & set(names(found(capsys, "surrogate")))
    assert "learning_rate" not in both


def test_keys_of_recbole_are_among_them_with_the_models_that_read_them(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    lines = found(capsys, "n_heads").splitlines()
    assert lines[0] == "n_heads  (int; default 2)"
    assert "RecBole's BERT4Rec" in lines[2]
    assert "RecBole's SASRec" in lines[2]
    assert {"mask_ratio", "mask_last"} <= set(names(found(capsys, "mask_ratio")))


def test_without_a_pattern_all_are_shown(capsys):
    assert names(found(capsys)) == sorted(all_keys())


@pytest.mark.parametrize("word", ["lam*", "gro_?ambda"])
def test_a_pattern_is_named_as_such(capsys, word):
    assert main(["settings", word]) == 1
    assert "a WORD is text that is searched for, no pattern: leave * and ? out" in capsys.readouterr().err


def test_settings_of_a_plugin_are_among_them(tmp_path, monkeypatch, capsys, own_parts):
    (tmp_path / "searched_plugin.py").write_text(
        "from recbole_gro import Settings, key\n"
        "class Mine(Settings):\n"
        "    noise_depth: float = key(0.25, 'float >= 0', 'depth of the noise')\n"
    )
    monkeypatch.chdir(tmp_path)
    text = found(capsys, "noise_depth", "--plugins=searched_plugin")
    assert "depth of the noise" in text
    assert "read by searched_plugin (Mine)" in text


@pytest.mark.parametrize(
    ("pattern", "near"),
    [("gro_lamda", "gro_lambda"), ("Tpok", "topk"), ("learning rte", "learning_rate"), ("qqqq", None)],
)
def test_without_a_match_the_nearest_are_named(capsys, pattern, near):
    assert main(["settings", *pattern.split()]) == 1
    printed, errors = capsys.readouterr()
    assert (printed, errors.count("\n")) == ("", 1)
    assert f"no setting matches '{pattern}'" in errors
    assert ("the nearest are " in errors, near is None or near in errors) == (near is not None, True)
