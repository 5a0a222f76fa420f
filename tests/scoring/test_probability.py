"""Models that predict probabilities."""

import pytest
import torch
from recbole.data.interaction import Interaction
from scoring.cases import ScorerCases, random_sequences

from recbole_gro import UserError
from recbole_gro.config.models import sequential_models
from recbole_gro.scoring import ProbabilityScorer, create_scorer
from recbole_gro.scoring.probability import SoftmaxCPRScorer

with_cpr = pytest.mark.skipif("SASRecCPR" not in sequential_models(), reason="RecBole 1.2.0 has no CPR models")


class ProbabilityCases(ScorerCases):
    kind = ProbabilityScorer

    def own_scores(self, model, query):
        some_item = torch.ones_like(query["item_length"])
        return super().own_scores(model, {**query, "item_id": some_item}).add(1e-8).log()

    def test_scores_are_log_probabilities(self, scorer):
        scores = scorer.next_item_scores(*random_sequences([1, 5, 8], scorer.n_items))
        assert torch.allclose(scores.exp().sum(1), torch.ones(3), atol=1e-4)


class TestRepeatNet(ProbabilityCases):
    """Its loss is the log-likelihood, but it has no `loss_type`."""

    model_name = "RepeatNet"
    settings = {"embedding_size": 16, "hidden_size": 16}
    loss_is_cross_entropy = False

    def items_of(self, scorer):
        return scorer.model.item_matrix


@with_cpr
class TestGRU4RecCPR(ProbabilityCases):
    model_name = "GRU4RecCPR"
    kind = SoftmaxCPRScorer
    settings = {"embedding_size": 16, "hidden_size": 16, "reranker_CAN_NUM": 10}


@with_cpr
class TestSASRecCPR(ProbabilityCases):
    model_name = "SASRecCPR"
    kind = SoftmaxCPRScorer
    settings = {"hidden_size": 16, "inner_size": 32, "reranker_CAN_NUM": 10}


@with_cpr
def test_more_candidates_than_items_are_refused(make_model):
    with pytest.raises(UserError, match=r"^reranker_CAN_NUM: 100 candidates of 30 items; set a smaller number$"):
        create_scorer(make_model("SASRecCPR", hidden_size=16, inner_size=32, reranker_CAN_NUM=100))


@with_cpr
def test_items_of_the_sequence_are_left_out_where_the_model_leaves_them_out(make_model):
    model = make_model("SASRecCPR", hidden_size=16, inner_size=32, reranker_CAN_NUM=10)
    model.post_remove_context = True
    sequences, lengths = random_sequences([3], model.n_items)
    scores = SoftmaxCPRScorer(model).next_item_scores(sequences, lengths)
    assert scores[0, sequences[0, :3]].max() < scores.min(1).values + 1e-3
    query = Interaction({"item_id_list": sequences, "item_length": lengths, "item_id": torch.tensor([1])})
    assert torch.allclose(scores, (model.full_sort_predict(query) + 1e-8).log(), atol=1e-5)
