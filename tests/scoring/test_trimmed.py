"""Rows of similar length run through the model together."""

import pytest
import torch
from scoring.cases import LONGEST, random_sequences, record_reads

from recbole_gro import create_scorer
from recbole_gro.scoring import TrimmedScorer
from recbole_gro.scoring import sequences as grouping


@pytest.fixture
def scorer(make_model, monkeypatch):
    monkeypatch.setattr(grouping, "ROWS_PER_GROUP", 2)
    return create_scorer(make_model("GRU4Rec"))


def test_each_group_is_as_wide_as_its_longest_row(scorer, monkeypatch):
    reads = record_reads(scorer.gru, monkeypatch)
    sequences, lengths = random_sequences([1, 8, 2, 8], scorer.n_items)
    scores = scorer.next_item_scores(sequences, lengths)
    assert isinstance(scorer, TrimmedScorer)
    assert sorted(reads) == [(2, 2), (2, 8)]
    assert torch.allclose(scores, TrimmedScorer._scores_after(scorer, sequences, lengths), atol=1e-5)


def test_the_loss_of_groups_is_the_mean_over_all_rows(scorer, make_loaders, monkeypatch):
    batch = next(iter(make_loaders("GRU4Rec", train_rows="prefixes")[1]))
    whole = scorer.model.calculate_loss(batch)
    reads = record_reads(scorer.gru, monkeypatch)
    assert torch.allclose(scorer.loss(batch), whole, rtol=1e-4)
    assert len(reads) > 1
    assert sum(rows for rows, _ in reads) == len(batch)
    assert min(width for _, width in reads) < LONGEST
