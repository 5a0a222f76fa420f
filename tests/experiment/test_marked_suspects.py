from fractions import Fraction

import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_gro.attack.query_log import QueryLog
from recbole_gro.experiment.marked_suspects import OFTENER, of_unusual_histories, share_of_positions

N_ITEMS = 9
LISTS = st.lists(st.permutations(range(1, N_ITEMS)).map(lambda row: row[:3]), min_size=1, max_size=12)


def log_of(lists):
    """A query log of sequences of one item."""
    rows = torch.tensor(lists)
    return QueryLog(torch.ones(len(rows), 1, dtype=torch.long), rows.unsqueeze(1))


@given(LISTS, LISTS)
def test_items_of_unusual_histories_are_those_of_a_slow_count(unusual, usual):
    found = of_unusual_histories(log_of(unusual), log_of(usual), N_ITEMS)
    for item in range(1, N_ITEMS):
        often = Fraction(sum(item in row for row in unusual), len(unusual))
        seldom = Fraction(sum(item in row for row in usual) + 1, len(usual))
        assert bool(found[item]) == (often >= OFTENER * seldom)
    assert not found[0]


def test_padding_is_no_position_of_a_list():
    log = log_of([[1, 2, 0], [3, 0, 0]])
    assert share_of_positions(log, torch.tensor([1, 3])) == 2 / 3
