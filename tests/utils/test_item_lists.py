import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_gro.utils import item_lists
from recbole_gro.utils.item_lists import are_ids, fault_of_ids, fault_of_lists

N_ITEMS = 6
TABLES = st.integers(1, 4).flatmap(
    lambda k: st.lists(st.lists(st.integers(-1, N_ITEMS), min_size=k, max_size=k), min_size=1, max_size=5)
)


def valid(row):
    """Say whether a row is of different items, then of padding."""
    items = row[: row.index(0)] if 0 in row else row
    return set(items) <= set(range(1, N_ITEMS)) and len(set(items)) == len(items) and not any(row[len(items) :])


@given(table=TABLES, at_once=st.integers(1, 6), dtype=st.sampled_from([torch.int8, torch.int32, torch.int64]))
@settings(deadline=None, max_examples=300)
def test_lists_are_valid_if_each_is(table, at_once, dtype):
    lists = torch.tensor(table, dtype=dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(item_lists, "LISTS_AT_ONCE", at_once)
        faults = {fault_of_lists(lists, N_ITEMS), fault_of_lists(lists.unsqueeze(0), N_ITEMS)}
    assert len(faults) == 1
    assert (faults == {None}) == all(map(valid, table))


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ([[1, 2], [3, 6]], "have ids from 1 to 6; items are 1 to 5"),
        ([[1, 2], [-1, 3]], "have ids from -1 to 3; items are 1 to 5"),
        ([[1, 2], [0, 3]], "have 0 before an item; 0 pads their end"),
        ([[1, 2], [3, 3]], None),
        ([[1, 2], [0, 0]], None),
    ],
)
def test_ids_may_repeat(table, fault):
    assert fault_of_ids(torch.tensor(table), N_ITEMS) == fault


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint32, torch.int16, torch.int64])
def test_integers_of_any_width_are_ids(dtype):
    ids = torch.tensor([[1, 2], [5, 0], [3, 3]]).to(dtype)
    assert are_ids(ids)
    assert fault_of_ids(ids, N_ITEMS) is None
    assert fault_of_lists(ids, N_ITEMS) == "have an item twice; the items of a list differ"


@pytest.mark.parametrize(
    "values", [torch.ones(2), torch.ones(2, dtype=torch.bool), torch.ones(2) * 1j, [1], np.ones(2)]
)
def test_what_is_no_tensor_of_integers_are_no_ids(values):
    assert not are_ids(values)
