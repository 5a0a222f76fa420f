import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_gro.utils.ranking import completed, first_different, random_others


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_first_different_is_what_a_reader_of_the_row_notes_down(data):
    n_items, rows = data.draw(st.integers(3, 9)), data.draw(st.integers(1, 4))
    columns = data.draw(st.integers(1, 12))
    items = torch.tensor(
        data.draw(
            st.lists(
                st.lists(st.integers(1, n_items - 1), min_size=columns, max_size=columns), min_size=rows, max_size=rows
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
