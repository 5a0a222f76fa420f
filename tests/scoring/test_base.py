"""The default scorer, and which scorer a model gets."""

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
    """Its cross-entropy comes with a penalty on its embeddings: no loss to be had from the scores alone."""

    model_name = "NextItNet"
    settings = {"embedding_size": 16, "block_num": 1, "dilations": [1, 2], "reg_weight": 0.1}
    loss_is_cross_entropy = False


def test_a_class_of_ones_own_gets_the_scorer_of_what_it_derives_from(make_model):
    model = make_model("BERT4Rec")

    class Mine(BERT4Rec):
        pass

    model.__class__ = Mine
    assert type(create_scorer(model)) is MaskedScorer


def test_a_scorer_can_be_registered_for_a_class_of_ones_own(make_model):
    model = make_model("NARM")

    @register_scorer("NarmThatCountsItsQuestions")
    class Counting(RecurrentScorer):
        pass

    model.__class__ = type("NarmThatCountsItsQuestions", (type(model),), {})
    assert type(create_scorer(model)) is Counting
    with pytest.raises(ValueError, match="scorer 'NARM' is registered already"):
        register_scorer("NARM")(Counting)
