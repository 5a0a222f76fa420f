"""Ranking by keys of 64 bits against PyTorch's stable sort, on every kind of float."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_gro.utils import vector_sort
from recbole_gro.utils.patching import replaced
from recbole_gro.utils.ranking import top_k
from recbole_gro.utils.vector_sort import highest_by_groups, highest_columns, is_faster

FLOATS = st.floats(width=32) | st.sampled_from([0.5, -0.5, float("inf"), float("-inf"), float("nan"), -float("nan")])


@given(st.lists(st.lists(FLOATS, min_size=7, max_size=7), min_size=1, max_size=4), st.integers(1, 7))
def test_columns_are_those_of_a_stable_sort(rows, k):
    scores = torch.tensor(rows) + 0.0  # -0 is 0
    expected = scores.sort(dim=1, descending=True, stable=True).indices[:, :k]  # NaN first, as in torch.topk
    assert torch.equal(highest_columns(scores, k), expected)


@given(st.integers(1, 30), st.integers(0, 500), st.sampled_from([1, 5, 20]), st.integers(0, 2**20), st.data())
def test_groups_give_the_same_columns(k, more, rows, seed, data):
    scores = torch.randn(rows, k + more, generator=torch.Generator().manual_seed(seed))
    kind = data.draw(st.sampled_from(["spread", "tied", "close", "infinite", "nan", "all alike"]))
    if kind == "tied":
        scores = (3 * scores).round()
    if kind == "close":  # they differ in their last digits
        scores = 1 + 1e-6 * scores
    if kind == "infinite":
        scores[:, data.draw(st.integers(0, k + more - 1)) :] = -torch.inf
        scores[0] = torch.inf
    if kind == "nan":
        scores[:, data.draw(st.integers(0, k + more - 1)) :: data.draw(st.integers(1, 5))] = torch.nan
        scores[0] = -torch.nan
    if kind == "all alike":
        scores[:] = -2.0
    scores = scores + 0.0  # -0 is 0
    expected = scores.sort(dim=1, descending=True, stable=True).indices[:, :k]
    network = data.draw(st.sampled_from([vector_sort.NETWORK, {4: 16, 8: 32}, {4: 64, 8: 64}]))
    with replaced(vector_sort, "NETWORK", network):
        assert torch.equal(highest_by_groups(scores, k), expected)


@pytest.mark.parametrize(
    "view",
    [
        lambda table: table[:, 1:],
        lambda table: table[::2, 3:-4],
        lambda table: table[:, ::3],
        lambda table: table.t(),
        lambda table: table[:1].expand(7, -1),
    ],
)
def test_views_of_memory_are_ranked_as_copies_of_them(view):
    scores = view(torch.randn(300, 400, generator=torch.Generator().manual_seed(2)))
    assert torch.equal(highest_by_groups(scores, 20), scores.topk(20).indices)


def test_rows_of_many_equal_scores_leave_the_others_as_they_are():
    scores = torch.randn(9, 1000, generator=torch.Generator().manual_seed(3))
    scores[2], scores[5, 100:], scores[7, 3] = 0.5, -torch.inf, torch.nan
    expected = scores.sort(dim=1, descending=True, stable=True).indices[:, :50]
    assert torch.equal(highest_by_groups(scores, 50), expected)


@given(st.integers(1, 700), st.integers(0, 700), st.sampled_from([torch.int32, torch.int64]), st.integers(0, 2**20))
def test_blocks_keep_the_largest(count, more, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.rand(vector_sort.FEW_ROWS, count + more, generator=generator).argsort(1).to(dtype)
    numbers[:, 0] = torch.iinfo(dtype).min + 1  # next to what fills the blocks
    expected = numbers.sort(1).values[:, -count:]
    assert torch.equal(vector_sort._largest(numbers, count), expected)


def test_few_rows_of_spread_scores_are_ranked_as_a_whole(monkeypatch):
    whole = []
    monkeypatch.setattr(vector_sort, "highest_columns", lambda scores, k: whole.append(len(scores)))
    highest_by_groups(torch.randn(1000, 1682, generator=torch.Generator().manual_seed(1)), 100)
    assert sum(whole) <= 1


@pytest.mark.parametrize("highest", [highest_columns, highest_by_groups])
def test_scores_stay_as_they_are(highest):
    scores = torch.tensor([[1.0, -3.0, torch.nan, 2.0, *range(-90, -4)]])
    before = scores.clone()
    assert highest(scores[:, 1:], 2).tolist() == [[1, 2]]
    assert torch.equal(scores.nan_to_num(9.0), before.nan_to_num(9.0))


@pytest.mark.parametrize("highest", [highest_columns, highest_by_groups])
def test_no_rows(highest):
    assert highest(torch.empty(0, 50), 3).shape == (0, 3)


@pytest.mark.parametrize("capability", ["DEFAULT", "AVX2", "AVX512"])
@pytest.mark.parametrize("numpy_version", ["1.26.4", "2.5.0"])
def test_lists_are_the_same_on_every_cpu(capability, numpy_version, monkeypatch):
    scores = torch.randn(9, 1683, generator=torch.Generator().manual_seed(4))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(vector_sort, "NUMPY_2", numpy_version > "2")
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
