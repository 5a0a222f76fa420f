"""Sequences read, cut and grouped by length."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_gro.scoring import keep_recent, length_groups, pad_sequences
from recbole_gro.scoring.sequences import outputs_after, rows_at


@pytest.mark.parametrize("longest", [1, 2, 5])
def test_keep_recent_cuts_from_the_left_and_pads_on_the_right(longest):
    rows = [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4, 5]]
    sequences, lengths = pad_sequences(rows)
    kept, kept_lengths = keep_recent(sequences, lengths, longest, width=6)
    for row, ids, length in zip(rows, kept.tolist(), kept_lengths.tolist(), strict=True):
        assert length == min(len(row), longest)
        assert ids == row[-longest:] + [0] * (6 - length)


def test_lists_and_tensors_of_ids_are_read_alike():
    ids, lengths = pad_sequences([[3, 1, 2], [5], [4, 4]])
    assert ids.tolist() == [[3, 1, 2], [5, 0, 0], [4, 4, 0]]
    assert lengths.tolist() == [3, 1, 2]
    again, same_lengths = pad_sequences(ids)
    assert torch.equal(again, ids)
    assert torch.equal(same_lengths, lengths)


@pytest.mark.parametrize(
    ("sequences", "reason"),
    [
        ([[1, 2], []], "an empty sequence has no next item"),
        (torch.tensor([[1, 2], [0, 0]]), "an empty sequence has no next item"),
        ([[0, 1]], "padded on the right"),
        (torch.tensor([[1, 2], [0, 3]]), "padded on the right"),
        ([[1, 0, 2]], "padded on the right"),
        ([], "at least one"),
        (torch.zeros(0, 4, dtype=torch.long), "at least one"),
        ([1, 2], "a list of id lists"),
        (torch.tensor([1, 2]), "a list of id lists"),
    ],
)
def test_sequences_without_a_next_item_are_refused(sequences, reason):
    with pytest.raises(ValueError, match=reason):
        pad_sequences(sequences)


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=400), widest=st.integers(1, 60))
def test_each_row_is_in_one_group_that_is_wide_enough(lengths, widest):
    lengths = torch.tensor(lengths)
    groups = length_groups(lengths, widest)
    every = torch.arange(len(lengths))
    rows = [every[rows] for rows, _ in groups]
    assert torch.equal(torch.cat(rows).sort().values, every)
    for part, (_, width) in zip(rows, groups, strict=True):
        assert width == min(int(lengths[part].max()), widest)


def test_groups_save_most_of_the_padding():
    lengths = torch.arange(1, 51).repeat(8)
    computed = sum(len(rows) * width for rows, width in length_groups(lengths, 50))
    assert computed < 1.2 * int(lengths.sum())
    assert len(length_groups(lengths, 50)) <= 8


@pytest.mark.parametrize("lengths", [[50] * 300, [49, 50] * 100, [3] * 5 + [4] * 20, [7]])
def test_rows_of_one_length_stay_one_batch(lengths):
    ((rows, width),) = length_groups(torch.tensor(lengths), 50)
    assert rows == slice(None)
    assert width == max(lengths)


def test_lengths_on_another_device_are_not_read():
    assert length_groups(torch.ones(500, dtype=torch.long, device="meta"), 50) == [(slice(None), 50)]


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_at_and_outputs_after_are_indices(threads):
    outputs = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
    rows, places = torch.tensor([0, 3, 3, 1]), torch.tensor([4, 0, 0, 2])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for found, expected in (
            (outputs_after(outputs, rows, places), outputs[rows, places]),
            (rows_at(outputs[:, :2], rows), outputs[rows, :2]),
        ):
            assert torch.equal(found, expected)
            ours, theirs = (torch.autograd.grad(part.square().sum(), outputs)[0] for part in (found, expected))
            assert torch.allclose(ours, theirs)
    finally:
        torch.set_num_threads(before)
