"""The default scorer, and the choice of a scorer for a model."""

import pytest
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.sequential_recommender import STAMP, BERT4Rec, GRU4Rec, SASRec
from scoring.cases import ScorerCases

from recbole_gro import UserError, create_scorer, register_scorer
from recbole_gro.scoring import CausalScorer, MaskedScorer, NextItemScorer, RecurrentScorer, scorer_class


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


class BothWays(GRU4Rec):
    """A bidirectional GRU: what it reads before an item depends on that item."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        sizes = self.embedding_size, self.hidden_size // 2
        self.gru_layers = torch.nn.GRU(*sizes, bias=False, batch_first=True, bidirectional=True)


class Doubled(SASRec):
    """Scores that are twice those of SASRec, by a forward pass of its own."""

    def forward(self, sequences, lengths):
        return 2 * super().forward(sequences, lengths)


class TwiceMasked(BERT4Rec):
    def forward(self, sequences):
        return super().forward(sequences)


class Renamed(SASRec):
    def message(self):
        return "nothing that scores"


@pytest.mark.parametrize("model_class", [BothWays, Doubled])
def test_a_model_that_computes_otherwise_is_scored_by_its_own_methods(make_model, model_class):
    model = make_model(model_class).eval()
    assert scorer_class(model_class) is NextItemScorer
    sequences, lengths = torch.randint(1, 31, (4, 8)), torch.tensor([8, 8, 8, 8])
    query = {model.ITEM_SEQ: sequences, model.ITEM_SEQ_LEN: lengths}
    with torch.no_grad():
        own = model.full_sort_predict(query)
        prefixes = create_scorer(model).prefix_scores(sequences, torch.tensor([[3, 8]] * 4))
    assert torch.allclose(prefixes[1::2], own, atol=1e-4)


def test_a_masked_model_that_computes_otherwise_needs_a_scorer_of_its_own():
    with pytest.raises(UserError, match=r"^model: TwiceMasked overrides forward of .*; register a scorer"):
        scorer_class(TwiceMasked)


def test_a_model_that_overrides_nothing_of_it_keeps_the_scorer():
    assert scorer_class(Renamed) is CausalScorer


def test_a_registered_scorer_is_taken_as_it_is():
    class Registered(Doubled):
        pass

    register_scorer("Registered")(CausalScorer)
    assert scorer_class(Registered) is CausalScorer


def test_a_model_whose_loss_fails_keeps_its_mode(make_loaders):
    class Failing(STAMP):
        def calculate_loss(self, interaction):
            raise ValueError("no loss")

    config, train, *_ = make_loaders("STAMP")
    model = Failing(config, train._dataset).eval()
    with pytest.raises(ValueError, match="no loss"):
        create_scorer(model).loss_and_scores(next(iter(train)))
    assert not model.training


def test_a_users_class_with_the_name_of_one_of_recboles_has_its_own_code_run():
    masked = type("BERT4Rec", (BERT4Rec,), {"forward": lambda self, *args: -BERT4Rec.forward(self, *args)})
    with pytest.raises(UserError, match=r"^model: BERT4Rec overrides forward of .*; register a scorer"):
        scorer_class(masked)
    assert scorer_class(type("SASRec", (SequentialRecommender,), {})) is NextItemScorer
    assert scorer_class(type("GRU4Rec", (GRU4Rec,), {"forward": lambda self, *args: None})) is NextItemScorer
    assert scorer_class(type("GRU4Rec", (GRU4Rec,), {})) is scorer_class(GRU4Rec)
