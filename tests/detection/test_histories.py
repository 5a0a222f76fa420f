import torch

from recbole_gro.detection.histories import maximal, padded


def test_prefixes_of_the_same_key_are_one_history():
    histories = [[1], [5], [1, 2], [1, 2, 3], [5], [1, 9], [2, 1]]
    assert maximal(padded(histories, 9), torch.zeros(7).long()).tolist() == [1, 3, 5, 6]


def test_another_key_has_its_own_history():
    assert maximal(padded([[1], [1, 2], [1, 2]], 9), torch.tensor([1, 0, 1])).tolist() == [1, 2]


def test_many_random_histories_are_told_apart():
    items = torch.randint(1, 1000, (5000, 3), generator=torch.Generator().manual_seed(1))
    kept = maximal(items, torch.arange(5000) % 3)
    assert len(kept) == len({(*row, n % 3) for n, row in enumerate(items.tolist())})


def test_the_most_recent_items_are_kept():
    assert padded([[1, 2, 3], [4]], 2).tolist() == [[2, 3], [4, 0]]
