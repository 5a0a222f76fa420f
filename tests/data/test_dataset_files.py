"""The packaged settings of the paper's datasets: they load, and a user's own win over them."""

import pytest

from recbole_gro import Config
from recbole_gro.config.properties import packaged_file, packaged_properties, recbole_keys
from recbole_gro.config.settings import plugin_keys

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
def test_what_is_bert4recs_stays_with_it(name, model):
    config, plain = Config(model, name), Config(model, "ml-100k")
    assert config["gro_lambda"] == AUTHORS[name][4]
    for key in OF_THE_MODEL:
        assert config[key] == plain[key], key


@pytest.mark.parametrize("name", AUTHORS)
def test_the_users_settings_win(name, tmp_path):
    (tmp_path / "mine.yaml").write_text("gro_lambda: 0.5\nmask_ratio: 0.3\nMAX_ITEM_LIST_LENGTH: 7\n")
    config = Config(
        "BERT4Rec",
        name,
        config_file_list=[str(tmp_path / "mine.yaml")],
        config_dict={"core_filter": "repeated", "train_batch_size": 3, "load_col": None},
        command_line={"gro_epochs": "2", "MAX_ITEM_LIST_LENGTH": "9"},
    )
    assert (config["gro_lambda"], config["mask_ratio"], config["MAX_ITEM_LIST_LENGTH"]) == (0.5, 0.3, 9)
    assert (config["core_filter"], config["train_batch_size"], config["load_col"]) == ("repeated", 3, None)
    assert config["gro_epochs"] == 2


@pytest.mark.parametrize("name", AUTHORS)
def test_keys_are_known(name):
    for file in (f"{name}.yaml", f"{name}.BERT4Rec.yaml"):
        lines = packaged_file(f"dataset/{file}").read_text(encoding="utf-8").splitlines()
        keys = {line.split(":")[0] for line in lines if line[:1].isalpha()}
        assert keys
        assert keys <= recbole_keys() | set(plugin_keys())


def test_the_two_names_of_steam_differ_in_what_items_are_called_alone():
    ours, recboles = (Config("BERT4Rec", name).final_config_dict for name in ("steam", "steam-not-merged"))
    differ = {key for key in ours if ours[key] != recboles[key]}
    assert differ == {"ITEM_ID_FIELD", "load_col", "dataset", "data_path"}
    assert recboles["ITEM_ID_FIELD"] == "product_id"
