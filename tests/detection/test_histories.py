import pytest
import torch

from recbole_gro.detection.histories import continued, logged_histories, maximal, padded, versions_read


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
    keys = torch.zeros(6).long()
    logged = logged_histories(histories, keys)
    assert logged.rows.tolist() == [4, 2]  # in the order in which they began
    read, history = versions_read(histories, keys, logged, 2)
    assert read.tolist() == [1, 3, 4, 2]
    assert history.tolist() == [0, 0, 0, 1]


def sliding(history, n):
    return [history[max(0, end - n) : end] for end in range(1, len(history) + 1)]


@pytest.mark.parametrize("n", [5, 10])
def test_windows_that_slide_along_a_history_are_versions_of_it(n):
    one, other = list(range(1, 31)), list(range(101, 131))
    sent = [query for both in zip(sliding(one, n), sliding(other, n), strict=True) for query in both]
    logged = logged_histories(sent, torch.zeros(60).long())
    assert logged.rows.tolist() == [58, 59]
    assert logged.history.tolist() == [0, 1] * 30
    assert logged.dropped[[0, 2 * n - 2, 2 * n, 58]].tolist() == [0, 0, 1, 30 - n]
    read, history = versions_read(sent, torch.zeros(60).long(), logged, 20)
    assert [sent[row] for row in read[history == 0].tolist()] == sliding(one, n)[n - 1 :]


def test_windows_longer_than_the_model_reads_are_all_judged():
    sent = sliding(list(range(1, 31)), 10)
    logged = logged_histories(sent, torch.zeros(30).long())
    read, history = versions_read(sent, torch.zeros(30).long(), logged, 6)
    assert [sent[row] for row in read.tolist()] == sent[5:]
    assert set(history.tolist()) == {0}


def test_short_windows_and_those_of_another_key_are_histories_by_themselves():
    short = sliding(list(range(1, 9)), 4)
    assert len(logged_histories(short, torch.zeros(8).long()).rows) == 5
    windows = [[1, 2, 3, 4, 5], [2, 3, 4, 5, 6]]
    assert len(logged_histories(windows, torch.tensor([0, 1])).rows) == 2
    assert len(logged_histories(windows[::-1], torch.tensor([0, 0])).rows) == 2  # the earlier one came later
    assert len(logged_histories([[7] * 5, [7] * 5], torch.tensor([0, 0])).rows) == 1


def test_a_window_has_one_next_window():
    ends = [[1, 2, 3, 4, 5], *([2, 3, 4, 5, n] for n in range(6, 16))]
    last, dropped = continued(ends, torch.zeros(11).long())
    assert last.tolist() == [1, *range(1, 11)]
    assert dropped.tolist() == [0, 1, *[0] * 9]


def test_continued_windows_are_those_that_a_slow_search_finds():
    draw = torch.Generator().manual_seed(3)
    sent = [torch.randint(1, 3, (5 + n % 2,), generator=draw).tolist() for n in range(60)]
    sent = [row for place, row in enumerate(sent) if row not in sent[:place]]
    first, dropped, open_ends = list(range(len(sent))), [0] * len(sent), {}
    for place, row in enumerate(sent):
        before = open_ends.pop(tuple(row[:-1]), None)
        if before is not None:
            first[place], dropped[place] = first[before], dropped[before] + 1
        open_ends[tuple(row[1:])] = place
    last = {begin: place for place, begin in enumerate(first)}
    assert max(dropped) > 2
    of, n = continued(sent, torch.zeros(len(sent)).long())
    assert (of.tolist(), n.tolist()) == ([last[begin] for begin in first], dropped)


def test_histories_stand_in_the_order_in_which_they_began():
    """Not in that of their last queries, which says how long each went on."""
    sent = [[1], [2], [3], [1, 4], [3, 4], [1, 4, 5]]
    logged = logged_histories(sent, torch.zeros(6).long())
    assert logged.rows.tolist() == [5, 1, 4]
