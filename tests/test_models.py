"""Which models can be named, and what is said about the others."""

import pytest
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.general_recommender import BPR
from recbole.model.sequential_recommender import NARM, BERT4Rec

from recbole_gro import UserError
from recbole_gro.models import sequential_model, sequential_models


def test_models_are_recboles_sequential_ones():
    known = sequential_models()
    assert known["BERT4Rec"] is BERT4Rec
    assert {"NARM", "GRU4Rec", "SASRec", "SINE", "FPMC"} <= set(known)
    assert "SequentialRecommender" not in known
    assert all(issubclass(model, SequentialRecommender) for model in known.values())
    assert all(name == model.__name__ for name, model in known.items())


def test_a_class_of_ones_own_is_taken_as_it_is():
    class Mine(NARM):
        pass

    assert sequential_model(Mine) is Mine
    assert sequential_model("NARM") is NARM


@pytest.mark.parametrize("model", [BPR, object, int])
def test_a_class_that_reads_no_sequences_is_refused(model):
    with pytest.raises(UserError, match=f"model: {model.__name__} is not a sequential model"):
        sequential_model(model)


@pytest.mark.parametrize(
    ("name", "meant"), [("BERT4rec", "BERT4Rec"), ("bert4rec", "BERT4Rec"), ("Bert4Rek", "BERT4Rec"), ("NARN", "NARM")]
)
def test_a_misspelt_model_gets_the_nearest_name(name, meant):
    with pytest.raises(UserError, match=rf"^unknown model '{name}'\. Did you mean '{meant}'\? Known: BERT4Rec, "):
        sequential_model(name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("BPR", "general"),
        ("LightGCN", "general"),
        ("DeepFM", "context-aware"),
        ("KGAT", "knowledge-aware"),
        ("lightgbm", "external-library"),
        ("LightGBM", "external-library"),
        ("xgboost", "external-library"),
        ("XGBoost", "external-library"),
    ],
)
def test_models_of_another_kind_are_named_as_such(name, kind):
    with pytest.raises(UserError, match=f"^model: {name} is an? {kind} model; queries are item sequences") as caught:
        sequential_model(name)
    assert "BERT4Rec" in str(caught.value)


@pytest.mark.parametrize("name", ["", "nothing like it", "__init__", "../abstract_recommender"])
def test_any_other_text_is_an_unknown_model(name):
    with pytest.raises(UserError, match="model"):
        sequential_model(name)
