"""Packing of sequences into rows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_gro.scoring import packing
from recbole_gro.scoring.packing import pack

ANY_LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=300)


@given(ANY_LENGTHS)
def test_no_two_sequences_share_a_cell_and_none_is_outside(lengths):
    packed = pack(torch.tensor(lengths))
    if packed is None:
        return
    rows, slots, columns = packed.shape
    taken = torch.zeros(rows, columns, dtype=torch.long)
    for row, start, length in zip(packed.row.tolist(), packed.start.tolist(), lengths, strict=True):
        assert start + length <= columns
        taken[row, start : start + length] += 1
    assert taken.max() == 1
    assert len(set(zip(packed.row.tolist(), packed.slot.tolist(), strict=True))) == len(lengths)
    assert 0 <= packed.slot.min() <= packed.slot.max() < slots


@given(ANY_LENGTHS)
def test_packed_rows_save_their_minimum(lengths):
    packed = pack(torch.tensor(lengths))
    if packed is not None:
        rows, _, columns = packed.shape
        assert rows * columns <= packing.WORTH_IT * len(lengths) * max(lengths)


def test_uniform_lengths_leave_little_padding():
    lengths = torch.randint(1, 51, (256,), generator=torch.Generator().manual_seed(1))
    rows, _, columns = pack(lengths).shape
    assert rows * columns < 1.1 * int(lengths.sum())


def test_one_long_sequence_does_not_widen_all_rows():
    rows, _, columns = pack(torch.tensor([50] + [5] * 200)).shape
    assert rows * columns < 0.2 * 201 * 50


@pytest.mark.parametrize("lengths", [[50] * 64, [50] * 60 + [20] * 4, [7]])
def test_nearly_full_rows_are_not_packed(lengths):
    assert pack(torch.tensor(lengths)) is None


def test_lengths_on_another_device_are_not_read():
    assert pack(torch.ones(500, dtype=torch.long, device="meta")) is None
