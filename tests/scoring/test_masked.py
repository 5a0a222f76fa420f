"""BERT4Rec: masked positions, and a mask at the end as the next item."""

import torch
from scoring.cases import LONGEST, ScorerCases, random_sequences

from recbole_gro.scoring import MaskedScorer


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

    def test_filler_of_the_mask_index_is_no_training_position(self, scorer, batch):
        n = int((batch["Mask_item_id_list"] == scorer.n_items).sum())
        assert scorer.position_scores(batch).shape == (n, scorer.n_items)
        assert (batch["MASK_INDEX"] == 0).any()


class TestPairwiseBERT4Rec(TestBERT4Rec):
    settings = {"window_shift": 0.0, "loss_type": "BPR"}
    loss_is_cross_entropy = False


class TestBERT4RecOnRecBolesMasks(TestBERT4Rec):
    settings = {"train_rows": "prefixes", "ft_ratio": 0.0, "mask_ratio": 0.5}

    def test_filler_of_the_mask_index_is_no_training_position(self, scorer, batch):
        # RecBole masks first places too and can not tell them from filler
        assert len(scorer.position_scores(batch)) == int((batch["MASK_INDEX"] > 0).sum())
