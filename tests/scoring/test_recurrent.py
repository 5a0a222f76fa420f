"""Models around a GRU: all prefixes from one forward pass."""

import torch
from scoring.cases import ScorerCases, WholeSequenceCases, random_sequences, record_reads

from recbole_gro.scoring.recurrent import GRU4RecScorer, NARMScorer

PREFIXES = {"train_rows": "prefixes"}


class ReadOnce:
    """The tests of the scorer of a model around a GRU."""

    def test_a_sequence_is_read_once_for_all_its_prefixes(self, scorer, monkeypatch):
        reads = record_reads(scorer.gru, monkeypatch)
        sequences, _ = random_sequences([6] * 3, scorer.n_items, width=6)
        scorer.prefix_scores(sequences, torch.tensor([[1, 2, 4, 6]] * 3))
        assert reads == [(3, 6)]

    def test_a_batch_of_sequences_is_read_once(self, scorer, make_loaders, monkeypatch):
        batch = next(iter(make_loaders(self.model_name, train_rows="sequences")[1]))
        scorer.loss_and_scores(batch)
        reads = record_reads(scorer.gru, monkeypatch)
        scorer.loss_and_scores(batch)
        assert reads == [tuple(batch["item_id_list"].shape)]


class TestNARM(ReadOnce, WholeSequenceCases):
    model_name = "NARM"
    kind = NARMScorer


class TestNARMOnPrefixes(ScorerCases):
    model_name = "NARM"
    kind = NARMScorer
    settings = PREFIXES


class TestGRU4Rec(ReadOnce, WholeSequenceCases):
    model_name = "GRU4Rec"
    kind = GRU4RecScorer


class TestGRU4RecOnPrefixes(ScorerCases):
    model_name = "GRU4Rec"
    kind = GRU4RecScorer
    settings = PREFIXES


class TestPairwiseGRU4Rec(ScorerCases):
    model_name = "GRU4Rec"
    kind = GRU4RecScorer
    settings = {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform"}}
    loss_is_cross_entropy = False
