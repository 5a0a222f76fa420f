"""Models around a GRU: all prefixes from one forward pass."""

import torch
from scoring.cases import LONGEST, ScorerCases, random_sequences, record_reads

from recbole_gro.scoring.recurrent import PREFIXES_AT_ONCE, GRU4RecScorer, NARMScorer


class RecurrentCases(ScorerCases):
    """The suite of the scorer of a model around a GRU."""

    def test_a_sequence_is_read_once_for_all_its_prefixes(self, scorer, monkeypatch):
        reads = record_reads(scorer.gru, monkeypatch)
        sequences, _ = random_sequences([6] * 3, scorer.n_items, width=6)
        scorer.prefix_scores(sequences, torch.tensor([[1, 2, 4, 6]] * 3))
        assert reads == [(3, 6)]


class TestNARM(RecurrentCases):
    model_name = "NARM"
    kind = NARMScorer

    def test_more_prefixes_than_one_call_takes(self, scorer):
        scorer.model.eval()
        sequences, _ = random_sequences([LONGEST] * 3, scorer.n_items)
        n = 2 * PREFIXES_AT_ONCE + 3
        lengths = torch.randint(1, LONGEST + 1, (3, n), generator=torch.Generator().manual_seed(1))
        cut = sequences.repeat_interleave(n, 0) * (torch.arange(LONGEST) < lengths.flatten().unsqueeze(1))
        alone = scorer.next_item_scores(cut, lengths.flatten())
        assert torch.allclose(scorer.prefix_scores(sequences, lengths), alone, rtol=1e-4, atol=1e-5)


class TestGRU4Rec(RecurrentCases):
    model_name = "GRU4Rec"
    kind = GRU4RecScorer


class TestPairwiseGRU4Rec(RecurrentCases):
    model_name = "GRU4Rec"
    kind = GRU4RecScorer
    settings = {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform"}}
    loss_is_cross_entropy = False
