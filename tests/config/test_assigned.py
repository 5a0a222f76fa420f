import pytest
import torch
from pipeline import untrained
from recbole.config import Config as RecBoleConfig
from recbole.model.sequential_recommender import SASRec

from recbole_gro import Config, Service, create_surrogate, load_target
from recbole_gro.config.assigned import assigned_settings
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.trainer.base import TargetTrainer


@pytest.fixture(params=[Config, RecBoleConfig])
def config(request, make_config):
    given = make_config("SASRec").external_config_dict | {"n_heads": 2, "hidden_size": 8, "inner_size": 8}
    if request.param is RecBoleConfig:
        given["train_neg_sample_args"] = None
    return request.param(model="SASRec", dataset="tiny", config_dict=given)


def test_nothing_is_assigned_at_first_and_recboles_own_keys_never(config):
    assert assigned_settings(config) == {}
    config["metrics"], config["device"], config["data_path"] = ["Hit"], "cpu", "elsewhere"
    assert assigned_settings(config) == {}


def test_a_checkpoint_and_a_surrogate_have_settings_that_a_script_assigned(config):
    assigned = {"n_heads": 1, "surrogate_epochs": 3, "margin_rank": 0.1, "MAX_ITEM_LIST_LENGTH": 6}
    for name, value in assigned.items():
        config[name] = value
    assert assigned_settings(config) == assigned
    train, valid, _ = build_loaders(config, build_dataset(config))
    trainer = TargetTrainer(config, untrained(config, train))
    trainer.fit(train, valid, verbose=False)
    loaded = load_target(trainer.saved_model_file)
    assert isinstance(loaded.model, SASRec)
    assert (loaded.model.n_heads, loaded.model.max_seq_length) == (1, 6)
    trainer.load_saved()
    assert torch.equal(loaded.recommend([[1, 2, 3], [4]], 5), Service(trainer.model, 5).recommend([[1, 2, 3], [4]]))
    surrogate, of_surrogate = create_surrogate(config, trainer.model.n_items)
    assert (surrogate.n_heads, surrogate.max_seq_length) == (1, 6)
    assert (of_surrogate["surrogate_epochs"], of_surrogate["margin_rank"]) == (3, 0.1)


def test_what_another_model_reads_is_left_to_it(make_config):
    config = make_config("SASRec", surrogate_model="NARM")
    config["dropout_probs"], config["n_heads"] = [0.1, 0.1], 1
    _, of_surrogate = create_surrogate(config, 30)
    assert of_surrogate["dropout_probs"] == [0.1, 0.1]
    assert "n_heads" not in of_surrogate.external_config_dict
