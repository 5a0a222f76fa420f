"""Sequences that extend those of the last query."""

import pytest
import torch
from scoring.cases import LONGEST, random_sequences, record_reads

from recbole_gro import create_scorer
from recbole_gro.serving.session import Session


@pytest.fixture(params=["NARM", "GRU4Rec"])
def scorer(request, make_model):
    return create_scorer(make_model(request.param))


def test_a_sequence_that_grew_by_one_item_costs_that_item(scorer, monkeypatch):
    scorer.model.eval()
    reads = record_reads(scorer.gru, monkeypatch)
    session, (sequences, _) = Session(scorer), random_sequences([LONGEST] * 3, scorer.n_items)
    for t in range(1, LONGEST + 1):
        lengths = torch.full((3,), t)
        scores = session.scores(sequences[:, :t], lengths)
        assert reads.pop() == (3, 1)
        assert torch.allclose(scores, scorer.next_item_scores(sequences[:, :t], lengths), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("change", ["an item", "the rows", "the weights", "two items more"])
def test_state_is_not_kept_over_a_change(scorer, change):
    scorer.model.eval()
    session, (sequences, _) = Session(scorer), random_sequences([6] * 3, scorer.n_items, width=6)
    session.scores(sequences[:, :3], torch.full((3,), 3))
    query = sequences[:, : 5 if change == "two items more" else 4].clone()
    if change == "an item":
        query[1, 0] = query[1, 0] % (scorer.n_items - 1) + 1
    elif change == "the rows":
        query = query[:2]
    elif change == "the weights":
        with torch.no_grad():
            scorer.gru.weight_hh_l0.add_(0.1)
    lengths = torch.full((len(query),), query.shape[1])
    assert torch.allclose(session.scores(query, lengths), scorer.next_item_scores(query, lengths), atol=1e-5)


def test_padded_and_long_sequences_are_scored_without_state(scorer):
    scorer.model.eval()
    session = Session(scorer)
    for lengths in ([3, 5], [LONGEST + 2] * 2, [LONGEST + 3] * 2):
        sequences, lengths = random_sequences(lengths, scorer.n_items, width=max(lengths))
        scores = session.scores(sequences, lengths)
        assert torch.allclose(scores, scorer.next_item_scores(sequences, lengths), atol=1e-5)


def test_a_model_without_a_gru_has_no_state(make_model):
    scorer = create_scorer(make_model("SASRec"))
    session, (sequences, lengths) = Session(scorer), random_sequences([4, 4], scorer.n_items, width=4)
    assert torch.equal(session.scores(sequences, lengths), scorer.next_item_scores(sequences, lengths))
