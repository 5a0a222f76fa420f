"""The default scorer, and the choice of a scorer for a model."""

import pytest
from recbole.model.sequential_recommender import BERT4Rec
from scoring.cases import ScorerCases

from recbole_gro import create_scorer, register_scorer
from recbole_gro.scoring import MaskedScorer, RecurrentScorer


class TestSTAMP(ScorerCases):
    """One of the models that the default scorer serves."""

    model_name = "STAMP"
    settings = {"embedding_size": 16}


class TestNextItNet(ScorerCases):
    """Its loss is cross-entropy and a penalty on its embeddings, so it cannot be computed from the scores alone."""

    model_name = "NextItNet"
    settings = {"embedding_size": 16, "block_num": 1, "dilations": [1, 2], "reg_weight": 0.1}
    loss_is_cross_entropy = False


def test_a_subclass_has_the_scorer_of_its_base_class(make_model):
    model = make_model("BERT4Rec")

    model.__class__ = type("OwnBERT4Rec", (BERT4Rec,), {})
    assert type(create_scorer(model)) is MaskedScorer


def test_a_scorer_can_be_registered_for_a_class_outside_recbole(make_model):
    model = make_model("NARM")

    @register_scorer("OwnNARM")
    class OwnScorer(RecurrentScorer):
        pass

    model.__class__ = type("OwnNARM", (type(model),), {})
    assert type(create_scorer(model)) is OwnScorer
    with pytest.raises(ValueError, match="scorer 'NARM' is registered already"):
        register_scorer("NARM")(OwnScorer)
