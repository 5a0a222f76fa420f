"""BERT4Rec: masked positions, and a mask at the end as the next item."""

import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model.layers import MultiHeadAttention
from scoring.cases import LONGEST, ScorerCases, random_sequences

from recbole_gro.scoring import MaskedScorer, masked

MANY, FEW = 10**6, 1  # values of masked.FEW with which keys and values are computed, or not


class TestBERT4Rec(ScorerCases):
    model_name = "BERT4Rec"
    kind = MaskedScorer
    settings = {"window_shift": 0.0}
    lengths_alike = (LONGEST,)  # RecBole drops the oldest item of every sequence, here only of a full one

    def targets(self, batch):
        return batch["Pos_item_id"][batch["MASK_INDEX"] > 0]

    def users(self, scorer, batch):
        return [
            user
            for user, index in zip(batch["user_id"].tolist(), batch["MASK_INDEX"], strict=True)
            for _ in range(int((index > 0).sum()))
        ]

    def test_a_sequence_that_leaves_room_for_the_mask_loses_no_item(self, model, scorer):
        sequences, lengths = random_sequences([1, 3, LONGEST - 1], model.n_items)
        masked = sequences.scatter(1, lengths.unsqueeze(1), model.mask_token)
        hidden = model(masked)[torch.arange(3), lengths]
        expected = hidden @ model.item_embedding.weight[: model.n_items].T + model.output_bias
        assert torch.allclose(scorer.next_item_scores(sequences, lengths), expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("lengths", [[1], [1, 2, 1], [*range(1, LONGEST + 1)], [LONGEST]])
    def test_evaluation_drops_the_oldest_item_as_recbole_does(self, model, scorer, lengths):
        sequences, lengths = random_sequences(lengths, model.n_items)
        rows = Interaction({"item_id_list": sequences, "item_length": lengths})
        assert torch.allclose(scorer.evaluation_scores(rows), model.full_sort_predict(rows), rtol=1e-4, atol=1e-4)

    def test_filler_of_the_mask_index_is_no_training_position(self, scorer, batch):
        n = int((batch["Mask_item_id_list"] == scorer.n_items).sum())
        assert scorer.position_scores(batch).shape == (n, scorer.n_items)
        assert (batch["MASK_INDEX"] == 0).any()

    def test_a_batch_without_a_masked_item_has_loss_0_and_moves_nothing(self, model, scorer, batch):
        batch.update(Interaction({"MASK_INDEX": torch.zeros_like(batch["MASK_INDEX"])}))
        loss = scorer.loss(scorer.part_of_batch(batch, slice(None)))
        loss.backward()
        assert loss == 0
        assert not any(weights.grad is not None and weights.grad.any() for weights in model.parameters())


class TestPairwiseBERT4Rec(TestBERT4Rec):
    settings = {"window_shift": 0.0, "loss_type": "BPR"}
    loss_is_cross_entropy = False


class TestBERT4RecOnRecBolesMasks(TestBERT4Rec):
    settings = {"train_rows": "prefixes", "ft_ratio": 0.0, "mask_ratio": 0.5}

    def test_filler_of_the_mask_index_is_no_training_position(self, scorer, batch):
        # RecBole masks first places too and can not tell them from filler
        assert len(scorer.position_scores(batch)) == int((batch["MASK_INDEX"] > 0).sum())


@pytest.mark.parametrize(("n_queries", "training"), [(1, False), (1, True), (5, True)])
def test_attention_without_keys_and_values_is_that_with_them(n_queries, training, monkeypatch):
    torch.manual_seed(1)
    attention = MultiHeadAttention(4, 12, 0.3, 0.4, 1e-12).train(training)
    for weights in attention.parameters():
        torch.nn.init.normal_(weights, std=0.5)
    items = torch.randn(3, 7, 12, requires_grad=True)
    queries = torch.randn(3, n_queries, 12, requires_grad=True)
    visible = torch.where(torch.rand(3, 1, n_queries, 7) < 0.7, 0.0, masked.HIDDEN)
    results = []
    for few in (MANY, FEW):
        monkeypatch.setattr(masked, "FEW", few)
        torch.manual_seed(2)
        block = masked.attend(attention, queries, items, visible)
        found = torch.autograd.grad(block.pow(3).sum(), [items, queries, *attention.parameters()])
        results.append((block, *found))
    for slow, fast in zip(*results, strict=True):
        assert torch.allclose(slow, fast, rtol=1e-4, atol=1e-4)


def test_one_query_for_every_item_is_the_models_own_attention():
    attention = MultiHeadAttention(2, 8, 0.5, 0.5, 1e-12).eval()
    items = torch.randn(2, 9, 8)
    own = attention(items, torch.zeros(2, 1, 1, 9))
    for place in range(9):  # one query for nine items: few
        block = masked.attend(attention, items[:, [place]], items, torch.zeros(2, 1, 1, 9))
        assert torch.allclose(block[:, 0], own[:, place], atol=1e-6)
