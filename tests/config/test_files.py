"""Config files and command-line values as plain data."""

import copy
import os
import re

import pytest
from yaml.reader import Reader

from recbole_gro import Config, UserError
from recbole_gro.config import settings
from recbole_gro.config.files import literal, read_config_file, resolve_config_file, safe_yaml, value_of, values_of
from recbole_gro.config.settings import Key


def one_line(error):
    return "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("1e-3", 0.001), ("1e-3x", "1e-3x"), ("-.5", -0.5), ("None", None), ("null", None), ("True", True),
        ("true", True), ("[1, 5]", [1, 5]), ("[none, gro]", ["none", "gro"]), ("{'a': 1}", {"a": 1}),
        ("ml-100k", "ml-100k"), ("[5,inf)", "[5,inf)"), ("a: b: c", "a: b: c"), ("", None),
        ("[none, 1e-3]", ["none", 0.001]), ("{[1]: 2}", "{[1]: 2}"), ("2020-99-99", "2020-99-99"), ("0b_", "0b_"),
        ("[" * 5000, "[" * 5000), ("7" * 5000, "7" * 5000),
    ],
)  # fmt: skip
def test_command_line_words_become_values(text, value):
    assert literal(text) == value


MISREAD = [
    ("010", "has a leading zero; write 10,"), ("-0010", "write -10,"), ("1:30", "has colons; write 90, if"),
    ("1:30.5", "write 90.5, if"), ("[1, 010]", "write 10,"), ("{a: 010}", "write 10,"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "remedy"), MISREAD)
def test_numbers_of_other_bases_are_refused_by_the_name_of_setting_and_file(tmp_path, text, remedy):
    with pytest.raises(UserError, match=f"^epochs: .*{re.escape(remedy)}.* in quotes for a text"):
        value_of("epochs", text)
    (tmp_path / "a.yaml").write_text(f"# first\nepochs: {text}\n")
    with pytest.raises(UserError, match=rf"^config file .*a\.yaml: line 2: .*{re.escape(remedy)}"):
        read_config_file(str(tmp_path / "a.yaml"))


def test_numbers_that_mean_what_they_say_and_texts_are_kept():
    kept = {"1_000": 1000, "0": 0, "0.5": 0.5, "0x10": 16, "'010'": "010", "-0": 0, "2.50": 2.5}
    assert {text: safe_yaml(f"a: {text}")["a"] for text in kept} == kept
    assert safe_yaml("dataset: 010\nlearner: '1:30'") == {"dataset": "010", "learner": "1:30"}


def test_command_line_words_are_never_evaluated(tmp_path):
    made = tmp_path / "made"
    for word in (f"__import__('os').mkdir('{made}')", f"!!python/object/apply:os.mkdir ['{made}']"):
        assert literal(word) == word
        config = Config("NARM", command_line={"checkpoint_dir": word}, config_dict={"data_path": word})
        assert config["checkpoint_dir"] == word
    assert not made.exists()


def test_config_files_are_read_as_plain_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trap.yaml").write_text("seed: !!python/object/apply:os.mkdir ['made']\n")
    with pytest.raises(UserError, match=r"trap\.yaml"):
        Config("NARM", config_file_list=["trap.yaml"])
    assert os.listdir(tmp_path) == ["trap.yaml"]


def test_packaged_file_is_found_from_anywhere_and_a_local_one_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_config_file("gro.yaml")["dataset"] == "ml-100k"
    assert resolve_config_file("model/NARM.yaml")
    (tmp_path / "gro.yaml").write_text("dataset: own\n")
    assert read_config_file("gro.yaml") == {"dataset": "own"}


def test_an_empty_config_file_sets_nothing(tmp_path):
    (tmp_path / "empty.yaml").write_text("# only a comment\n")
    assert read_config_file(str(tmp_path / "empty.yaml")) == {}


@pytest.mark.parametrize(("given", "hint"), [("grow.yaml", "gro.yaml"), ("qqq.yml", "gro.yaml")])
def test_a_missing_config_file_suggests_a_packaged_one(tmp_path, monkeypatch, given, hint):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"config file '{given}' is neither in .* did you mean {hint}") as caught:
        Config("NARM", config_file_list=[given])
    assert one_line(caught.value)


def test_a_folder_in_place_of_a_config_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"^config file .* is a folder; name a yaml file in it$"):
        resolve_config_file(str(tmp_path))


def test_a_missing_config_file_suggests_one_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    for name in ("settings.yaml", "own/weekly.yaml", "own/grow.yaml"):
        (tmp_path / name).write_text("seed: 1\n")
    for given, hint in {
        "setings.yaml": "settings.yaml",
        "own/weakly.yml": "own/weekly.yaml",
        str(tmp_path / "own" / "weekli.yaml"): str(tmp_path / "own" / "weekly.yaml"),
        "own/groww.yaml": "own/grow.yaml",
        "grow.yaml": "gro.yaml",
        "nowhere/settings.yaml": "gro.yaml",
    }.items():
        with pytest.raises(UserError) as caught:
            read_config_file(given)
        assert str(caught.value).endswith(f"did you mean {hint}?")


@pytest.mark.parametrize("text", ["- a list\n- of things\n", "only words\n", "a: [1\nb: 2\n", "a: 1\n\tb: 2\n"])
def test_a_config_file_without_settings_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "odd.yaml").write_text(text)
    with pytest.raises(UserError, match=r"config file .*odd\.yaml: ") as caught:
        Config("NARM", config_file_list=[str(tmp_path / "odd.yaml")])
    assert one_line(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("dataset", "[2024,ml-1m]", ["2024", "ml-1m"]),
        ("dataset", "[2024, 007, 1e3]", ["2024", "007", "1e3"]),
        ("dataset", "2024", "2024"),
        ("dataset", "[2024", "[2024"),
        ("gro_start", "['untrained', \"converged\"]", ["untrained", "converged"]),
        ("surrogate_config", "[None, 2024.yaml]", [None, "2024.yaml"]),
        ("field_separator", ": ", ": "),
        ("topk", "[1, 5]", [1, 5]),
        ("gro_lambda", "[0.1, 1e-3]", [0.1, 0.001]),
        ("defense", "[none, gro]", ["none", "gro"]),
    ],
)
def test_values_of_a_text_key_are_texts(name, text, value):
    assert values_of(name, text) == value


def test_a_key_that_occurs_twice_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("epochs: 3\nseed: 1\nepochs: 4\n")
    with pytest.raises(UserError, match=r"not valid yaml: key epochs occurs twice .*line 3"):
        read_config_file(str(tmp_path / "a.yaml"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"epochs: 2024-13-01\n", "month must be in 1..12"),
        (b"[" * 3000, "it is nested too deeply"),
        (b"epochs: \0\n", "unacceptable character #x0000"),
        (b"epochs: \xff\n", "'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_a_file_that_yaml_cannot_read_is_named(tmp_path, content, reason):
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(UserError, match=f"config file .*a.yaml: not valid yaml: {reason}"):
        read_config_file(str(tmp_path / "a.yaml"))


def test_files_are_parsed_once_however_many_configs_are_made(tmp_path, monkeypatch):
    (tmp_path / "own.yaml").write_text("surrogate_model: GRU4RecF\nhidden_size: 24\n")
    given = {"config_file_list": [str(tmp_path / "own.yaml")]}
    first = Config("BERT4Rec", "ml-1m", **given)
    parsed, init = [], Reader.__init__

    def parsing(reader, stream):
        parsed.append(stream)
        init(reader, stream)

    monkeypatch.setattr(Reader, "__init__", parsing)
    second = Config("BERT4Rec", "ml-1m", **given)
    assert parsed == []
    assert second.final_config_dict == first.final_config_dict
    (tmp_path / "own.yaml").write_text("hidden_size: 52\n")
    assert Config("BERT4Rec", "ml-1m", **given)["hidden_size"] == 52
    assert parsed == ["hidden_size: 52\n"]


def test_a_changed_config_leaves_others_as_they_are():
    first = Config("BERT4Rec")
    expected = copy.deepcopy(first["eval_args"]), list(first["metrics"]), copy.deepcopy(first["load_col"])
    first["eval_args"]["split"]["LS"] = first["load_col"]["inter"] = None
    first.internal_config_dict["metrics"].append("MRR")
    second = Config("BERT4Rec")
    assert (second["eval_args"], second["metrics"], second["load_col"]) == expected


def test_a_text_key_that_is_declared_later_is_read_as_text(tmp_path, monkeypatch):
    """A plugin may declare its keys after its file has been read."""
    (tmp_path / "a.yaml").write_text("own_name: 2024\n")
    assert read_config_file(str(tmp_path / "a.yaml")) == {"own_name": 2024}
    monkeypatch.setitem(settings._declared, "own_name", Key("own_name", "", "str", "a text"))
    assert read_config_file(str(tmp_path / "a.yaml")) == {"own_name": "2024"}
