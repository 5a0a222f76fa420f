import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_gro.detection.benign import MOST, SLIDING, BenignHistories, ends_of_windows
from recbole_gro.detection.traces import Tracer


@pytest.fixture
def tracer(make_model):
    return Tracer(make_model("GRU4Rec", MAX_ITEM_LIST_LENGTH=15), 5)


def histories(*lengths):
    draw = torch.Generator().manual_seed(3)
    return [torch.randint(1, 31, (n,), generator=draw).tolist() for n in lengths]


@given(n=st.integers(1, 60), more=st.integers(1, 3000), step=st.integers(1, 20))
def test_windows_are_evenly_spaced_from_the_first_to_the_last(n, more, step):
    ends = ends_of_windows(n + more, n, step)
    gaps = [after - before for before, after in itertools.pairwise(ends)]
    assert (ends[0], ends[-1]) == (n, n + more)
    assert len(ends) <= MOST + 1
    assert max(gaps) - min(gaps) <= 1
    assert max(gaps) <= step or len(ends) == MOST + 1
    assert min(gaps) >= 1


def test_windows_are_those_of_clients_that_send_all_or_recent_items(tracer):
    listed = histories(3, 12, 40)
    benign = BenignHistories(tracer, listed)
    found = {0: set(), 1: set(), 2: set()}
    for traces, users in benign.windows():
        for row, user in zip(traces.items.tolist(), users.tolist(), strict=True):
            found[user].add(tuple(item for item in row if item))
    assert found[0] == {tuple(listed[0]), tuple(listed[0][-2:])}
    slid = {tuple(listed[1][end - SLIDING : end]) for end in (10, 12)}
    assert found[1] == {tuple(listed[1]), *slid, tuple(listed[1][-2:]), tuple(listed[1][-5:])}
    assert {len(window) for window in found[2]} == {2, 5, SLIDING, 15}
    assert tuple(listed[2][:SLIDING]) in found[2]
    assert tuple(listed[2][:15]) in found[2]
    assert tuple(listed[2][-15:]) in found[2]


def test_windows_along_a_history_are_a_fifth_of_their_length_apart(make_model):
    tracer, [history] = Tracer(make_model("GRU4Rec", MAX_ITEM_LIST_LENGTH=20), 5), histories(60)
    found = {tuple(row) for traces, _ in BenignHistories(tracer, [history]).windows() for row in traces.items.tolist()}
    for n, step in {SLIDING: 2, 20: 4}.items():
        ends = range(n, 61, step)
        assert {window for window in found if len(window) == n} == {tuple(history[end - n : end]) for end in ends}


def test_the_highest_score_is_that_of_the_worst_window(tracer):
    listed = histories(4, 40, 25)
    listed[1][5] = listed[2][20] = 30
    benign = BenignHistories(tracer, listed)
    highest = benign.highest({"item": lambda traces, _: traces.items.float()})["item"]
    assert highest.tolist() == [max(history) for history in listed]


def test_traces_are_of_the_most_recent_items(tracer):
    listed = histories(3, 40)
    benign = BenignHistories(tracer, listed)
    assert benign.whole.items[1].tolist() == listed[1][-15:]
    assert benign.recent[5].items.tolist() == [[*listed[0], 0, 0], listed[1][-5:]]
    assert set(benign.recent) == {1, 2, 3, 5, 10}
