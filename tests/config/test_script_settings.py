"""A RecBole script's own evaluation is no obstacle to a student, a surrogate or a service of its model."""

import pytest

from recbole_gro import Config
from recbole_gro.config.script_settings import without_refused

ALL = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"eval_args": {**ALL, "mode": "uni100"}}, {"eval_args": ALL}),
        ({"eval_args": {**ALL, "mode": {"valid": "pop100", "test": "full"}}}, {"eval_args": ALL}),
        (split := {"eval_args": {**ALL, "split": {"RS": [8, 2, 0]}}}, split),  # which is refused as before
        ({"metrics": ["MRR", "GAUC"], "valid_metric": "MRR@10"}, {"metrics": ["MRR"], "valid_metric": "MRR@10"}),
        ({"metrics": ["AUC", "LogLoss"], "valid_metric": "AUC", "valid_metric_bigger": True}, {}),
        ({"eval_step": 0, "epochs": 0, "state": "WARN", "save_dataset": True, "port": "5678"}, {}),
        ({"topk": [10, 200], "valid_metric": "NDCG@200", "served_k": 50}, {"topk": [10], "served_k": 50}),
        ({"topk": [10, 10], "show_progress": 0}, {}),
        ({"topk": 200, "served_k": 5}, {"topk": [5], "served_k": 5}),
        ({"served_k": 10}, {"topk": [5, 10], "served_k": 10}),
        ({"served_k": 3, "metrics": "MRR", "valid_metric": "MRR@10"}, {"topk": [3], "served_k": 3, "metrics": ["MRR"]}),
        (kept := {"eval_args": {**ALL, "mode": "full"}, "epochs": 3, "topk": [5, 20], "valid_metric": "MRR@5"}, kept),
        (kept := {"n_layers": 0, "learning_rate": -1, "metrics": ["Novelty"]}, kept),  # which are refused as before
    ],
    ids=str,
)  # fmt: skip
def test_what_a_config_of_ours_refuses_is_left_out(given, kept):
    before = dict(given)
    assert without_refused(given) == kept
    assert given == before
    if "n_layers" not in kept and kept is not split:
        Config("SASRec", config_dict={**kept, "use_gpu": False})


@pytest.mark.parametrize(
    "given", [{"topk": "ten"}, {"topk": []}, {"served_k": None}, {"metrics": 3}, {"metrics": []}], ids=str
)
def test_what_no_script_has_is_left_to_the_check(given):
    assert set(without_refused(given)) <= set(given)


def test_wandb_is_needed_where_it_is_logged_to_alone(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert without_refused({"log_wandb": True, "epochs": 3}) == {"epochs": 3}
