"""Ranking by keys of 64 bits against PyTorch's stable sort, on every kind of float."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_gro.utils import vector_sort
from recbole_gro.utils.ranking import top_k
from recbole_gro.utils.vector_sort import highest_columns, is_faster

FLOATS = st.floats(width=32) | st.sampled_from([0.5, -0.5, float("inf"), float("-inf"), float("nan"), -float("nan")])


@given(st.lists(st.lists(FLOATS, min_size=7, max_size=7), min_size=1, max_size=4), st.integers(1, 7))
def test_columns_are_those_of_a_stable_sort(rows, k):
    scores = torch.tensor(rows) + 0.0  # -0 is 0
    expected = scores.sort(dim=1, descending=True, stable=True).indices[:, :k]  # NaN first, as in torch.topk
    assert torch.equal(highest_columns(scores, k), expected)


def test_scores_stay_as_they_are():
    scores = torch.tensor([[1.0, -3.0, torch.nan, 2.0]])
    before = scores.clone()
    assert highest_columns(scores[:, 1:], 2).tolist() == [[1, 2]]
    assert torch.equal(scores.nan_to_num(9.0), before.nan_to_num(9.0))


def test_no_rows():
    assert highest_columns(torch.empty(0, 5), 3).shape == (0, 3)


@pytest.mark.parametrize("capability", ["DEFAULT", "AVX2", "AVX512"])
@pytest.mark.parametrize("numpy_version", ["1.26.4", "2.5.0"])
def test_lists_are_the_same_on_every_cpu(capability, numpy_version, monkeypatch):
    scores = torch.randn(9, 1683, generator=torch.Generator().manual_seed(4))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(vector_sort.numpy, "__version__", numpy_version)
    vector_sort._cpu_can.cache_clear()
    try:
        assert torch.equal(top_k(scores, 100), scores[:, 1:].topk(100).indices + 1)
        expected = capability == "AVX512" or (capability == "AVX2" and numpy_version > "2")
        assert vector_sort._cpu_can() == expected
    finally:
        vector_sort._cpu_can.cache_clear()


@pytest.mark.parametrize("scores", [torch.ones(2, 3).double(), torch.ones(2, 3).bfloat16()])
def test_other_types_are_left_to_torch(scores):
    assert not is_faster(scores)
