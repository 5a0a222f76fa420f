"""Models that score all prefixes in one forward pass."""

from unittest import mock

import torch
from scoring.cases import ScorerCases, WholeSequenceCases, random_sequences

from recbole_gro.scoring import CausalScorer


class TestSASRec(WholeSequenceCases):
    model_name = "SASRec"
    kind = CausalScorer

    def test_a_sequence_is_read_once_for_all_its_prefixes(self, scorer):
        sequences, _ = random_sequences([6] * 3, scorer.n_items, width=6)
        encoder = scorer.model.trm_encoder
        with mock.patch.object(encoder, "forward", side_effect=encoder.forward) as read:
            scorer.prefix_scores(sequences, torch.tensor([[1, 2, 4, 6]] * 3))
        assert [call.args[0].shape[:2] for call in read.call_args_list] == [(3, 6)]


class TestSASRecOnPrefixes(ScorerCases):
    model_name = "SASRec"
    kind = CausalScorer
    settings = {"train_rows": "prefixes"}


class TestPairwiseSASRec(ScorerCases):
    model_name = "SASRec"
    kind = CausalScorer
    settings = {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform"}}
    loss_is_cross_entropy = False
