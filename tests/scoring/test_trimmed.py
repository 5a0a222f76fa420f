"""Rows of similar length go through the model together."""

import pytest
import torch
from scoring.cases import LONGEST, random_sequences

from recbole_gro import create_scorer
from recbole_gro.scoring import TrimmedScorer
from recbole_gro.scoring import sequences as grouping


@pytest.fixture
def scorer(make_model, monkeypatch):
    monkeypatch.setattr(grouping, "ROWS_A_GROUP", 2)
    return create_scorer(make_model("GRU4Rec"))


def widths_read(scorer):
    read = []
    scorer.gru.register_forward_pre_hook(lambda _, inputs: read.append(tuple(inputs[0].shape[:2])))
    return read


def test_each_group_is_as_wide_as_its_longest_row(scorer):
    read = widths_read(scorer)
    sequences, lengths = random_sequences([1, 8, 2, 8], scorer.n_items)
    scores = scorer.next_item_scores(sequences, lengths)
    assert isinstance(scorer, TrimmedScorer)
    assert sorted(read) == [(2, 2), (2, 8)]
    assert torch.allclose(scores, TrimmedScorer._scores_after(scorer, sequences, lengths), atol=1e-5)


def test_the_loss_of_groups_is_the_mean_over_all_rows(scorer, make_loaders):
    batch = next(iter(make_loaders("GRU4Rec")[1]))
    whole = scorer.model.calculate_loss(batch)
    read = widths_read(scorer)
    assert torch.allclose(scorer.loss(batch), whole, rtol=1e-4)
    assert len(read) > 1
    assert sum(rows for rows, _ in read) == len(batch)
    assert min(width for _, width in read) < LONGEST
