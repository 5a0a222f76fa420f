"""RecBole's own keys: what is right passes (what is wrong: test_bad_input.py)."""

import pytest
import torch
import yaml

from recbole_gro import Config, UserError
from recbole_gro.config.files import safe_yaml
from recbole_gro.config.known_names import recbole_names
from recbole_gro.config.models import sequential_models
from recbole_gro.config.properties import model_keys
from recbole_gro.config.recbole_checks import FURTHER
from recbole_gro.config.recbole_settings import (
    TYPES,
    UNSUPPORTED,
    check_value,
    is_text,
    normalised,
)
from recbole_gro.config.settings import plugin_keys
from recbole_gro.utils.compat import SPLITS_BY_TIME

RIGHT = {
    "state": ["INFO", "debug", "Error"],
    "learner": ["adam", "AdamW"],
    "loss_type": ["CE", "BPR", "ce", "bpr"],
    "clip_grad_norm": [None, {"max_norm": 5}, {"max_norm": 0.5, "norm_type": 2, "error_if_nonfinite": False}],
    "user_inter_num_interval": [None, "[5,inf)", "(5,10]", "[ 0 , 3.5 ]", "[1,2];[4,inf)", [5, 10], [1, "inf"]],
    "item_inter_num_interval": ["(-inf,+inf)", "[.5,2]", "[1e0,1E9)"],
    "load_col": [None, {"inter": "*", "item": ["price"]}, {"item": "price"}],
    "numerical_features": [[], ["price"], "price, weight"],
    "discretization": [{"price": {"method": "ED", "bucket": 5}}, {"price": {"method": "LD"}}],
    "threshold": [{"rating": 3.5}],
    "seq_len": [{"tags": 3}],
    "eval_args": [
        {},
        {"split": {"LS": "valid_only"}, "order": "TO", "mode": "full"},
        {"split": {"RS": [8, 1, 1]}},
        {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": None},
        *([{"split": {"TS": [0.8, 0.1, 0.1]}}] if SPLITS_BY_TIME else []),
        {"mode": {"valid": "full", "test": "full"}},
    ],
    "metrics": ["Hit", ["hit", "NDCG", "MRR", "ItemCoverage"]],
    "topk": [10, [1, 5], (1, 5)],
    "rm_dup_inter": [None, "first", "last"],
    "save_dataset": [False, None],
    "dataset_save_path": [None],
    "nproc": [None, 1],
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_values_pass(name):
    for value in RIGHT[name]:
        check_value(name, normalised(name, value), None)


def test_every_key_here_is_one_of_recboles():
    assert {*TYPES, *UNSUPPORTED, *FURTHER} <= recbole_names() | model_keys()


@pytest.mark.parametrize("model", ["BERT4Rec", "NARM", "SASRec", "FPMC"])
def test_every_default_of_recboles_passes(model):
    config = Config(model)
    for name, value in config.internal_config_dict.items():
        if name not in plugin_keys():
            check_value(name, normalised(name, value), None)
    assert model in sequential_models()


def test_a_text_stays_a_text_on_the_command_line():
    given = {"output_dir": "2024", "data_path": "1e3", "surrogate_config": "None", "epochs": "3"}
    config = Config("NARM", "tiny", command_line=given)
    assert config["output_dir"] == "2024"
    assert config["data_path"] == "1e3/tiny"
    assert config["surrogate_config"] is None
    assert config["epochs"] == 3
    assert Config("NARM", "tiny", command_line={"output_dir": "None"})["output_dir"] is None


@pytest.mark.parametrize(
    "settings",
    [{"gpu_id": ""}, {"gpu_id": None}, {"use_gpu": False}, {"use_gpu": False, "gpu_id": "0"}],
    ids=str,
)
def test_the_cpu_can_be_chosen(settings):
    assert Config("NARM", config_dict=settings)["device"] == torch.device("cpu")
    assert (
        Config("NARM", command_line={key: "" if value is None else str(value) for key, value in settings.items()})[
            "gpu_id"
        ]
        == ""
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_default_is_the_cpu():
    assert Config("NARM")["device"] == torch.device("cpu")
    assert Config("NARM", config_dict={"use_gpu": True})["device"] == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "given", "known"),
    [
        ("loss_type", "ce", "CE"),
        ("loss_type", "Bpr", "BPR"),
        ("learner", "ADAM", "adam"),
        ("rm_dup_inter", "First", "first"),
        ("rm_dup_inter", None, None),
        ("topk", (1, 5), [1, 5]),
        ("user_inter_num_interval", (5, 10), (5, 10)),  # an open interval, which a list is not
        ("seq_separator", r"\t", "\t"),
        ("field_separator", "::", "::"),
        (
            "eval_args",
            {"split": {"rs": (8, 1, 1)}, "order": "to", "group_by": "USER", "mode": {"valid": "Full"}},
            {"split": {"RS": [8, 1, 1]}, "order": "TO", "group_by": "user", "mode": {"valid": "full"}},
        ),
        ("eval_args", {"split": {"ls": "VALID_and_test"}}, {"split": {"LS": "valid_and_test"}, "order": "TO"}),
        ("eval_args", {"mode": "FULL"}, {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}),
        ("eval_args", 5, 5),
    ],
    ids=str,
)
def test_values_become_those_that_recbole_reads(name, given, known):
    assert normalised(name, given) == known


TEXTS = [" ", "  ", "|", ",", ";", "::", "#", "~", "-", "\t", ":", "&", "1", "null", "!", "1e3", "[a]", "{a: 1}", "no"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", ["field_separator", "dataset", "NEG_PREFIX", "wandb_project"])
def test_a_text_is_the_same_wherever_it_is_given_and_after_saving(tmp_path, name, text):
    (tmp_path / "given.yaml").write_text(yaml.safe_dump({name: text}))
    ways = [
        Config("NARM", command_line={name: text}),
        Config("NARM", config_dict={name: text}),
        Config("NARM", config_file_list=[str(tmp_path / "given.yaml")]),
    ]
    for config in ways:
        assert config[name] == text
        assert Config(config_dict=yaml.safe_load(yaml.safe_dump(config.plain())))[name] == text


@pytest.mark.parametrize("text", ["2024", "007", "1e3", "no", "2020-01-01"])
def test_what_a_file_has_without_quotation_marks_is_a_text_too(tmp_path, text):
    (tmp_path / "given.yaml").write_text(f"dataset: {text}\noutput_dir: {text}\nepochs: 3\n")
    assert safe_yaml(f"vary: {{dataset: [{text}, ml-1m], epochs: [3]}}") == {
        "vary": {"dataset": [text, "ml-1m"], "epochs": [3]}
    }
    config = Config("NARM", config_file_list=[str(tmp_path / "given.yaml")])
    assert (config["dataset"], config["output_dir"], config["epochs"]) == (text, text, 3)


def test_a_tab_may_be_written_as_backslash_and_t(tmp_path):
    (tmp_path / "given.yaml").write_text(r"field_separator: '\t'")
    assert Config("NARM", config_file_list=[str(tmp_path / "given.yaml")])["field_separator"] == "\t"
    assert Config("NARM", command_line={"field_separator": r"\t"})["field_separator"] == "\t"


def test_names_and_paths_are_texts_and_numbers_are_not():
    assert all(
        map(is_text, ("dataset", "student_model", "student_config", "valid_metric", "gro_start", "query_choice"))
    )
    assert not any(map(is_text, ("epochs", "topk", "metrics", "defense", "eval_args", "attack", "gpu_id", "my_own")))


def test_a_split_that_the_installed_recbole_lacks_is_named(monkeypatch):
    monkeypatch.setattr("recbole_gro.config.recbole_checks.SPLITS_BY_TIME", False)
    with pytest.raises(UserError, match=r"^eval_args: split TS needs RecBole 1\.2\.1, and .* is installed"):
        check_value("eval_args", {"split": {"TS": [0.8, 0.1, 0.1]}}, None)
