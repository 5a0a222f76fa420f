"""Packaged yaml files: known keys, and the settings of the paper's datasets."""

import re
from pathlib import Path

import pytest

from recbole_gro import Config
from recbole_gro.config.properties import model_keys, model_sizes, packaged_file, packaged_properties, recbole_keys
from recbole_gro.config.settings import plugin_keys
from recbole_gro.experiment.plan import read_experiment

# as the authors' repository has them, for BERT4Rec: length, mask ratio, dropout, batch, lambda, epochs
AUTHORS = {
    "ml-1m": (200, 0.2, 0.1, 100, 1.0, 1000),
    "ml-20m": (200, 0.2, 0.1, 24, 0.01, 10),
    "steam": (50, 0.4, 0.2, 64, 0.01, 15),
    "steam-not-merged": (50, 0.4, 0.2, 64, 0.01, 15),
    "amazon-beauty": (50, 0.6, 0.5, 16, 0.001, 50),
}
OF_THE_MODEL = ("train_batch_size", "mask_ratio", "hidden_dropout_prob", "attn_dropout_prob")


def test_every_packaged_file_is_tested():
    files = {file.name for file in (packaged_properties() / "dataset").iterdir() if file.name.endswith(".yaml")}
    assert files == {f"{name}{model}.yaml" for name in AUTHORS for model in ("", ".BERT4Rec")}


@pytest.mark.parametrize("name", AUTHORS)
def test_settings_are_the_authors(name):
    config = Config("BERT4Rec", name)
    length, mask_ratio, dropout, batch, gro_lambda, gro_epochs = AUTHORS[name]
    assert config["MAX_ITEM_LIST_LENGTH"] == length
    assert config["mask_ratio"] == mask_ratio
    assert config["hidden_dropout_prob"] == config["attn_dropout_prob"] == dropout
    assert config["train_batch_size"] == batch
    assert (config["gro_lambda"], config["gro_epochs"]) == (gro_lambda, gro_epochs)
    assert config["gro_start"] == ("untrained" if name == "ml-1m" else "converged")
    assert config["item_inter_num_interval"] == config["user_inter_num_interval"] == "[5,inf)"
    assert config["core_filter"] == "once"
    assert config["load_col"] == {"inter": [config[f"{field}_FIELD"] for field in ("USER_ID", "ITEM_ID", "TIME")]}
    # their sizes are RecBole's
    assert [config[key] for key in ("hidden_size", "inner_size", "n_layers", "n_heads")] == [64, 256, 2, 2]


@pytest.mark.parametrize("model", ["NARM", "SASRec"])
@pytest.mark.parametrize("name", AUTHORS)
def test_settings_of_bert4rec_are_not_those_of_other_models(name, model):
    config, plain = Config(model, name), Config(model, "ml-100k")
    assert config["gro_lambda"] == AUTHORS[name][4]
    for key in OF_THE_MODEL:
        assert config[key] == plain[key], key


@pytest.mark.parametrize("name", AUTHORS)
def test_the_users_settings_take_precedence(name, tmp_path):
    (tmp_path / "own.yaml").write_text("gro_lambda: 0.5\nmask_ratio: 0.3\nMAX_ITEM_LIST_LENGTH: 7\n")
    config = Config(
        "BERT4Rec",
        name,
        config_file_list=[str(tmp_path / "own.yaml")],
        config_dict={"core_filter": "repeated", "train_batch_size": 3, "load_col": None},
        command_line={"gro_epochs": "2", "MAX_ITEM_LIST_LENGTH": "9"},
    )
    assert (config["gro_lambda"], config["mask_ratio"], config["MAX_ITEM_LIST_LENGTH"]) == (0.5, 0.3, 9)
    assert (config["core_filter"], config["train_batch_size"], config["load_col"]) == ("repeated", 3, None)
    assert config["gro_epochs"] == 2


def test_the_two_names_of_steam_differ_in_what_items_are_called_alone():
    ours, recboles = (Config("BERT4Rec", name).final_config_dict for name in ("steam", "steam-not-merged"))
    differ = {key for key in ours if ours[key] != recboles[key]}
    assert differ == {"ITEM_ID_FIELD", "load_col", "dataset", "data_path"}
    assert recboles["ITEM_ID_FIELD"] == "product_id"


def files(folder, prefix=""):
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "__pycache__":
            yield from files(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield prefix + entry.name


PACKAGED = sorted(files(packaged_properties()))


@pytest.mark.parametrize("name", [name for name in PACKAGED if name.startswith("experiment/")])
def test_every_key_of_a_packaged_experiment_is_known(name):
    experiment = read_experiment(Path(name).stem)
    groups = [values for values in experiment.vary.values() if isinstance(values, dict)]
    varied = {key for key, values in experiment.vary.items() if values not in groups}
    grouped = {key for named in groups for group in named.values() for key in group}
    assert varied | grouped | {*experiment.fixed, *experiment.equal} <= set(plugin_keys()) | recbole_keys()


@pytest.mark.parametrize("name", [name for name in PACKAGED if not name.startswith("experiment/")])
def test_every_key_of_a_packaged_file_is_known(name):
    lines = [line for line in packaged_file(name).read_text().splitlines() if re.match(r"\w", line)]
    assert lines
    assert {line.partition(":")[0] for line in lines} <= set(plugin_keys()) | recbole_keys()


def test_our_keys_do_not_shadow_recboles():
    assert not set(plugin_keys()) & recbole_keys()
    assert {"epochs", "learning_rate", "n_layers", "eval_args", "gpu_id"} <= recbole_keys()


def test_architecture_and_training_settings_are_distinguished():
    assert {"hidden_size", "n_layers", "dropout_probs", "mask_ratio", "loss_type"} <= model_keys()
    assert not {"learning_rate", "epochs", "seed", "train_batch_size", "MAX_ITEM_LIST_LENGTH"} & model_keys()


def test_settings_that_count_are_neither_rates_nor_switches():
    assert {"hidden_size", "embedding_size", "n_layers", "n_heads", "inner_size", "kernel_size"} <= model_sizes()
    others = {"hidden_dropout_prob", "dropout_prob", "reg_weight", "n_facet_window", "use_proj_bias", "epochs"}
    assert not others & model_sizes()
