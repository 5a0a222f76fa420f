"""Defaults here of RecBole's own keys."""

from recbole_gro import Config
from recbole_gro.config.recbole_defaults import (
    DatasetSettings,
    EvaluationSettings,
    TrainingSettings,
    ValidationSettings,
)


def test_defaults_replace_recboles_and_given_values_replace_both():
    defaults = {"epochs": 200, "stopping_step": 10, "eval_step": 5, "eval_batch_size": 1024, "topk": [5, 10, 20]}
    config = Config("NARM")
    assert {name: config[name] for name in defaults} == defaults
    assert (config["dataset"], config["valid_metric"], config["metrics"]) == ("ml-100k", "NDCG@10", ["Hit", "NDCG"])
    given = {"epochs": 3, "topk": [1, 10]}
    assert {name: Config("NARM", config_dict=given)[name] for name in given} == given


def test_measurements_are_no_settings_of_training():
    read_by_training = {*DatasetSettings.names, *TrainingSettings.names, *ValidationSettings.names}
    assert read_by_training.isdisjoint(EvaluationSettings.names)
