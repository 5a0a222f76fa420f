import torch
from attack.cases import AttackerCases

from recbole_gro.attack.filtered import shared_with_neighbours


class TestFiltered(AttackerCases):
    name = "filtered"


def slowly_shared(lists):
    """The definition, one item at a time."""
    filtered = []
    for sequence in lists:
        rows = []
        for t, row in enumerate(sequence):
            near = {item for n in (t - 1, t + 1) if 0 <= n < len(sequence) for item in sequence[n]}
            kept = [item for item in row if item and (item in near or len(sequence) == 1)]
            rows.append(kept + [0] * (len(row) - len(kept)))
        filtered.append(rows)
    return filtered


def test_shared_items_are_those_of_the_definition():
    generator = torch.Generator().manual_seed(1)
    for length in (1, 2, 7):
        lists = torch.rand(50, length, 40, generator=generator).argsort(2)[:, :, :8] + 1
        lists *= torch.arange(8) < torch.randint(0, 9, (50, length, 1), generator=generator)
        assert shared_with_neighbours(lists).tolist() == slowly_shared(lists.tolist())


def test_decoys_are_removed_and_the_rest_keeps_its_order():
    true = torch.arange(1, 6).expand(20, 4, 5)
    decoys = 10 + torch.arange(20 * 4 * 2).view(20, 4, 2)  # no item twice
    lists = torch.cat([decoys[..., :1], true[..., :3], decoys[..., 1:], true[..., 3:]], 2)
    assert torch.equal(shared_with_neighbours(lists)[..., :5], true)
    assert not shared_with_neighbours(lists)[..., 5:].any()


def test_items_of_every_list_stay():
    lists = torch.tensor([[[1, 9], [2, 9], [3, 9]]])
    assert shared_with_neighbours(lists).tolist() == [[[9, 0], [9, 0], [9, 0]]]
