"""The ranking by groups against ranking everything."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_gro.utils.ranking import top_k


@given(st.integers(1, 40), st.integers(0, 400), st.integers(1, 6), st.integers(0, 2**20), st.booleans())
def test_the_highest_items_come_first(k, more, rows, seed, tied):
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, 1 + k + more, generator=draw)
    if tied:
        scores = (3 * scores).round()
    scores[:, 0] = 99.0  # padding
    listed = top_k(scores, k)
    assert listed.shape == (rows, k)
    assert torch.equal(scores.gather(1, listed), scores[:, 1:].sort(descending=True).values[:, :k])
    assert all(len(set(row)) == k for row in listed.tolist())
    assert listed.min() >= 1
    assert torch.equal(top_k(scores, k), listed)


@pytest.mark.parametrize(("n_items", "k"), [(1682, 100), (1683, 100), (1684, 100), (18_344, 100), (50, 3), (50_000, 7)])
def test_same_list_as_by_ranking_everything(n_items, k):
    scores = torch.randn(5, n_items + 1, generator=torch.Generator().manual_seed(1))
    assert torch.equal(top_k(scores, k), scores[:, 1:].topk(k).indices + 1)


def test_what_is_left_out_of_the_groups_is_ranked_too():
    scores = torch.zeros(1, 1 + 4 * 100 + 3)
    scores[0, -3:] = torch.tensor([1.0, 3.0, 2.0])
    assert top_k(scores, 100)[0, :3].tolist() == [402, 403, 401]


def test_half_precision_is_ranked():
    scores = torch.randn(3, 600).bfloat16()
    assert torch.equal(scores.gather(1, top_k(scores, 20)), scores[:, 1:].topk(20).values)
