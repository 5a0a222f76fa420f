"""Ensembles score with the mean of their members."""

import pytest
import torch
from pipeline import same_weights, weights_of

from recbole_gro import Service, create_scorer
from recbole_gro.scoring.ensemble import Ensemble, build_untrained, joined_checkpoints


@pytest.fixture(params=["GRU4Rec", "BERT4Rec", "STAMP", "FPMC"])
def members(request, make_model):
    """Two models of one class with different weights."""
    one, other = (make_model(request.param) for _ in range(2))
    with torch.no_grad():
        for weights in other.parameters():
            weights.mul_(0.7)
    return [one, other]


def test_scores_are_the_mean_of_the_members(members):
    ensemble, (one, other) = create_scorer(Ensemble(members)), map(create_scorer, members)
    sequences, lengths = torch.tensor([[3, 1, 4], [5, 9, 0]]), torch.tensor([3, 2])
    expected = (one.next_item_scores(sequences, lengths) + other.next_item_scores(sequences, lengths)) / 2
    assert not torch.allclose(expected, one.next_item_scores(sequences, lengths))
    assert torch.allclose(ensemble.next_item_scores(sequences, lengths), expected)
    both = torch.tensor([[1, 3]])
    expected = (one.prefix_scores(sequences[:1], both) + other.prefix_scores(sequences[:1], both)) / 2
    assert torch.allclose(ensemble.prefix_scores(sequences[:1], both), expected)


def test_an_ensemble_of_equal_members_serves_their_lists(members):
    one = members[0]
    sequences = torch.tensor([[3, 1, 4, 1, 5], [5, 9, 2, 6, 5]])
    assert torch.equal(Service(Ensemble([one, one]), 10).recommend(sequences), Service(one, 10).recommend(sequences))


def test_checkpoints_of_members_are_joined_and_loaded(members, make_model):
    checkpoints = [{"state_dict": weights_of(member), "other_parameter": {"n": i}} for i, member in enumerate(members)]
    checkpoint = joined_checkpoints(checkpoints)
    ensemble = build_untrained(lambda: make_model(type(members[0]).__name__), checkpoint)
    ensemble.load_state_dict(checkpoint["state_dict"])
    ensemble.load_other_parameter(checkpoint["other_parameter"])
    assert len(ensemble.members) == 2
    for i, member in enumerate(ensemble.members):
        assert same_weights(member.state_dict(), checkpoints[i]["state_dict"])
        assert member.n == i


def test_a_checkpoint_of_one_model_is_no_ensemble(members):
    assert build_untrained(lambda: members[0], {"state_dict": {}}) is members[0]
