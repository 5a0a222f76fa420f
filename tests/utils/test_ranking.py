"""Lists from scores: the ranking by groups against ranking everything, random items, searches, agreement."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_gro.utils import ranking
from recbole_gro.utils.ranking import (
    agreement_per_list,
    completed,
    first_different,
    found_in,
    keep_items,
    random_others,
    top_columns,
    top_k,
)


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


@pytest.mark.parametrize(
    ("n_items", "k"),
    [(1682, 100), (1683, 100), (1684, 100), (8_200, 100), (18_344, 100), (50, 3), (50_000, 7), (90_001, 100)],
)
def test_same_list_as_by_ranking_everything(n_items, k):
    scores = torch.randn(5, n_items + 1, generator=torch.Generator().manual_seed(1))
    assert torch.equal(top_k(scores, k), scores[:, 1:].topk(k).indices + 1)


def test_what_is_left_out_of_the_groups_is_ranked_too():
    scores = torch.zeros(1, 1 + 4 * 100 + 3)
    scores[0, -3:] = torch.tensor([1.0, 3.0, 2.0])
    assert top_k(scores, 100)[0, :3].tolist() == [402, 403, 401]


@given(st.integers(1, 9), st.integers(0, 400), st.integers(0, 2**20), st.integers(1, 300), st.booleans())
def test_groups_of_groups_hold_the_highest_items(k, more, seed, large, tied):
    scores = torch.randn(3, 1 + k + more, generator=torch.Generator().manual_seed(seed))
    scores = (3 * scores).round() if tied else scores
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ranking, "LARGE", large)
        listed = top_k(scores, k)
    assert torch.equal(scores.gather(1, listed), scores[:, 1:].sort(descending=True).values[:, :k])
    assert all(len(set(row)) == k for row in listed.tolist())


def test_half_precision_is_ranked():
    scores = torch.randn(3, 600).bfloat16()
    assert torch.equal(scores.gather(1, top_k(scores, 20)), scores[:, 1:].topk(20).values)


@given(st.integers(1, 20), st.integers(0, 400), st.integers(0, 2**20), st.sampled_from(["", "tied", "nan", "padded"]))
def test_columns_are_those_of_torch(k, more, seed, kind):
    scores = torch.randn(4, k + more, generator=torch.Generator().manual_seed(seed))
    if kind == "tied":
        scores = (5 * scores).round()
    if kind == "nan":
        scores[2, ::3] = torch.nan
    if kind == "padded":
        scores[:, 0] = -torch.inf
        scores[1] = -torch.inf
    assert torch.equal(top_columns(scores, k), scores.topk(k).indices)


# random items


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_first_different_is_what_a_reader_of_the_row_notes_down(data):
    n_items, rows = data.draw(st.integers(3, 9) | st.integers(400, 500)), data.draw(st.integers(1, 4))
    columns = data.draw(st.integers(1, 12))
    items = torch.tensor(
        data.draw(
            st.lists(
                st.lists(st.integers(1, min(9, n_items - 1)), min_size=columns, max_size=columns),
                min_size=rows,
                max_size=rows,
            )
        )
    )
    noted = [list(dict.fromkeys(row)) for row in items.tolist()]
    count = min(map(len, noted))
    assert first_different(items, count, n_items).tolist() == [row[:count] for row in noted]


@pytest.mark.parametrize("n_items", [11, 12, 40, 41, 42, 500])
def test_others_are_different_and_none_of_the_head(n_items):
    head = torch.rand(300, n_items - 1).argsort(1)[:, :3] + 1
    others = random_others(head, 7, n_items, lambda n: torch.randint(2**62, (300, n)))
    lists = torch.cat([head, others], 1)
    assert others.shape == (300, 7)
    assert all(len(set(row)) == 10 for row in lists.tolist())
    assert (int(lists.min()), int(lists.max())) == (1, n_items - 1)


def test_a_list_is_filled_also_where_all_draws_are_the_same():
    others = random_others(torch.tensor([[2, 9]]), 3, 100, lambda n: torch.full((1, n), 6))
    assert others.tolist() == [[7, 1, 3]]


@pytest.mark.parametrize("n_items", [12, 40, 500])
def test_a_list_is_completed_after_its_last_item(n_items):
    lists = torch.rand(300, n_items - 1).argsort(1)[:, :10] + 1
    lists[:100, 4:] = 0
    lists[100:200, 1:] = 0
    full = completed(lists, n_items, lambda n: torch.randint(2**62, (300, n)))
    assert torch.equal(full.where(lists != 0, 0), lists)
    assert all(len(set(row)) == 10 and 0 not in row for row in full.tolist())


def test_lists_without_padding_need_no_draw():
    lists = torch.tensor([[2, 1, 3]])
    assert completed(lists, 9, lambda n: pytest.fail("nothing is missing")) is lists


# searches


def test_items_are_found_where_they_stand_in_the_other_list():
    generator = torch.Generator().manual_seed(1)
    items, others = (torch.rand(40, 5, 20, generator=generator).argsort(2)[..., :k] for k in (6, 9))
    expected = (items.unsqueeze(-1) == others.unsqueeze(-2)).any(-1) & (items != 0)
    assert torch.equal(found_in(items, others), expected)


def test_padding_is_found_nowhere():
    assert not found_in(torch.zeros(1, 2, dtype=torch.long), torch.zeros(1, 3, dtype=torch.long)).any()


@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=4, max_size=4), min_size=1, max_size=5))
def test_kept_items_move_to_the_front_in_their_order(rows):
    lists, kept = torch.tensor([list(zip(*row, strict=True)) for row in rows]).unbind(1)
    expected = [[item for item, stays in row if stays] for row in rows]
    left = keep_items(lists, kept.bool())
    assert left.tolist() == [row + [0] * (4 - len(row)) for row in expected]
    assert torch.equal(keep_items(lists[:, None], kept[:, None].bool()), left[:, None])


# agreement


def slow_agreement(row, reference, k):
    one, other = (set(items[:k]) - {0} for items in (row, reference))
    return len(one & other) / len(other) if other else math.nan


def test_agreement_by_hand():
    lists = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8], [1, 2, 3, 4]])
    reference = torch.tensor([[4, 3, 9, 10], [8, 7, 6, 5], [11, 12, 13, 14]])
    assert agreement_per_list(lists, reference, 4).tolist() == [0.5, 1.0, 0.0]
    assert agreement_per_list(lists, reference, 2).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("k", [1, 4, 6, 9])
def test_agreement_is_a_share_of_the_reference_and_nan_without_one(k):
    draw = torch.Generator().manual_seed(0)
    items = torch.rand(2, 200, 9, generator=draw).argsort(2)[:, :, :6] + 1
    lists, reference = items * (torch.arange(6) < torch.randint(0, 7, (2, 200, 1), generator=draw))
    slow = [slow_agreement(*rows, k) for rows in zip(lists.tolist(), reference.tolist(), strict=True)]
    assert agreement_per_list(lists, reference, k).tolist() == pytest.approx(slow, nan_ok=True)
    assert {0.0, 1.0} < set(slow)
    assert any(math.isnan(share) for share in slow)
