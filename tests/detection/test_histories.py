import torch

from recbole_gro.detection.histories import maximal, padded, versions_read


def test_prefixes_of_the_same_key_are_one_history():
    histories = [[1], [5], [1, 2], [1, 2, 3], [5], [1, 9], [2, 1]]
    kept, of = maximal(histories, torch.zeros(7).long())
    assert kept.tolist() == [1, 3, 5, 6]
    assert of.tolist() == [3, 1, 3, 3, 1, 5, 6]


def test_another_key_has_its_own_history():
    kept, of = maximal([[1], [1, 2], [1, 2]], torch.tensor([1, 0, 1]))
    assert (kept.tolist(), of.tolist()) == ([1, 2], [2, 1, 2])


def test_many_random_histories_are_told_apart():
    items = torch.randint(1, 1000, (5000, 3), generator=torch.Generator().manual_seed(1))
    kept, _ = maximal(items.tolist(), torch.arange(5000) % 3)
    assert len(kept) == len({(*row, n % 3) for n, row in enumerate(items.tolist())})


def test_the_most_recent_items_are_kept():
    assert padded([[1, 2, 3], [4]], 2).tolist() == [[2, 3], [4, 0]]


def test_histories_are_those_that_a_slow_search_finds():
    draw = torch.Generator().manual_seed(2)
    lengths, keys = torch.randint(1, 5, (300,), generator=draw), torch.randint(2, (300,), generator=draw)
    histories = [torch.randint(1, 4, (int(n),), generator=draw).tolist() for n in lengths]
    kept, of = maximal(histories, keys)
    named = [(int(key), tuple(row)) for key, row in zip(keys, histories, strict=True)]

    def extends(one, other):
        return one[0] == other[0] and one[1][: len(other[1])] == other[1]

    slow = [row for row, one in enumerate(named) if one not in named[:row]
            and not any(other != one and extends(other, one) for other in named)]  # fmt: skip
    assert kept.tolist() == slow
    assert all(row in slow and extends(named[row], one) for row, one in zip(of.tolist(), named, strict=True))


def test_the_longest_version_that_is_read_as_a_whole_counts_and_each_longer_one():
    histories = [[1], [1, 2], [7], [1, 2, 3], [1, 2, 3, 4], [1, 2]]
    kept, of_kept = maximal(histories, torch.zeros(6).long())
    assert kept.tolist() == [2, 4]
    number = (of_kept == 4).long()  # of the history that each is a version of
    read, history = versions_read(histories, torch.zeros(6).long(), number, 2)
    assert read.tolist() == [2, 1, 3, 4]
    assert history.tolist() == [0, 1, 1, 1]
