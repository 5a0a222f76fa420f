"""Every sequential model of RecBole as target, student and surrogate; six of them in the quick tests."""

from pathlib import Path

import pytest
import recbole
import torch
from quick_start.model_cases import ModelCases

from recbole_gro import BlackBox, UserError
from recbole_gro.config.models import CANNOT_SERVE, sequential_models
from recbole_gro.quick_start.model_trials import ModelTrials, TrialFailed, write_first_users

QUICK = {"BERT4Rec", "NARM", "GRU4Rec", "STAMP", "FPMC", "SHAN"}  # masked, recurrent, plain, pairwise, with users


def suite(name):
    cls = type(f"Test{name}", (ModelCases,), {"model": name, "__module__": __name__})
    return cls if name in QUICK else pytest.mark.every(cls)


for model_name in sorted(set(sequential_models()) - set(CANNOT_SERVE)):
    globals()[f"Test{model_name}"] = suite(model_name)


class TestPairwiseGRU4Rec(ModelCases):
    model = "GRU4Rec"
    settings = {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform"}}


@pytest.mark.every
class TestPairwiseBERT4Rec(ModelCases):
    model = "BERT4Rec"
    settings = {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform"}}


@pytest.fixture(scope="module")
def data_path(tmp_path_factory):
    return write_first_users(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("name", sorted(CANNOT_SERVE))
def test_models_that_cannot_serve_are_refused_before_training(name, data_path, tmp_path):
    with pytest.raises(UserError, match=f"^model: {name} cannot serve lists: {CANNOT_SERVE[name]}"):
        ModelTrials(name, data_path, tmp_path)


def test_training_without_effect_fails(data_path, tmp_path):
    trials = ModelTrials("STAMP", data_path, tmp_path, surrogate_learning_rate=1e-12)
    trials.config["learning_rate"] = 0.0
    with pytest.raises(TrialFailed, match=r"its loss went from .* to .* in training"):
        trials.training_lowers_the_loss()
    with pytest.raises(TrialFailed, match=r"held-out agreement@10 went from .* to .* in training; .* a higher --learn"):
        trials.training_raises_agreement()


def test_scores_that_depend_on_other_rows_fail(data_path, tmp_path, monkeypatch):
    trials = ModelTrials("STAMP", data_path, tmp_path)
    model = type(trials.target)
    predict = model.full_sort_predict
    monkeypatch.setattr(model, "full_sort_predict", lambda self, query: predict(self, query) + len(query))
    with pytest.raises(TrialFailed, match="scores depend on the other rows of a batch"):
        trials.scores_do_not_depend_on_other_rows()


@pytest.mark.parametrize(
    ("lists", "fault"),
    [
        (lambda lists: lists[:, :-1], "lists of 20 were expected, not"),
        (lambda lists: lists.index_copy(1, torch.tensor([1]), lists[:, :1]), "holds an item twice"),
        (lambda lists: lists.index_fill(1, torch.tensor([1]), 0), "holds the padding item 0"),
        (lambda lists: lists.index_fill(1, torch.tensor([1]), 10**6), "holds an id that is no item's"),
    ],
)
def test_invalid_lists_fail(data_path, tmp_path, monkeypatch, lists, fault):
    trials = ModelTrials("STAMP", data_path, tmp_path)
    valid = BlackBox(trials.target, 20).query(trials.histories[0])
    monkeypatch.setattr(BlackBox, "query", lambda self, sequences: lists(valid))
    with pytest.raises(TrialFailed, match=fault):
        trials.lists_hold_items_once()


def test_the_data_are_those_of_the_first_users(data_path):
    interactions, items = (
        (data_path / "first-users" / f"first-users.{kind}").read_text().splitlines() for kind in ("inter", "item")
    )
    source = Path(recbole.__file__).parent / "dataset_example" / "ml-100k"
    for lines, file in ((interactions, "ml-100k.inter"), (items, "ml-100k.item")):
        original = (source / file).read_text().splitlines()
        assert lines[0] == original[0]
        assert set(lines) <= set(original)
    assert {int(line.split("\t")[0]) for line in interactions[1:]} == set(range(1, 61))
    assert {line.split("\t")[1] for line in interactions[1:]} == {line.split("\t")[0] for line in items[1:]}
