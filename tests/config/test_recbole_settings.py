"""RecBole's own keys: what is right passes (what is wrong: test_bad_input.py)."""

import pytest
import torch

from recbole_gro import Config
from recbole_gro.config.models import sequential_models
from recbole_gro.config.properties import recbole_keys
from recbole_gro.config.recbole_settings import FURTHER, TYPES, UNSUPPORTED, check_value
from recbole_gro.config.settings import plugin_keys

RIGHT = {
    "state": ["INFO", "debug", "Error"],
    "learner": ["adam", "AdamW"],
    "loss_type": ["CE", "BPR"],
    "clip_grad_norm": [None, {"max_norm": 5}, {"max_norm": 0.5, "norm_type": 2, "error_if_nonfinite": False}],
    "user_inter_num_interval": [None, "[5,inf)", "(5,10]", "[ 0 , 3.5 ]", "[1,2];[4,inf)", [5, 10], (5, 10)],
    "eval_args": [{}, {"split": {"LS": "valid_only"}, "order": "TO", "mode": "full"}, {"split": {"RS": [8, 1, 1]}}],
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
        check_value(name, value, None)


def test_every_key_here_is_one_of_recboles():
    assert {*TYPES, *UNSUPPORTED, *FURTHER} <= recbole_keys()


@pytest.mark.parametrize("model", ["BERT4Rec", "NARM", "SASRec", "FPMC"])
def test_every_default_of_recboles_passes(model):
    config = Config(model)
    for name, value in config.internal_config_dict.items():
        if name not in plugin_keys():
            check_value(name, value, None)
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
