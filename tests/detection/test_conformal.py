import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_gro.detection.conformal import (
    WITHOUT_LIMIT,
    conformal_quantile,
    conformal_rank,
    different,
    most_counted,
    share_law,
)


@given(st.integers(9, 300), st.sampled_from([0.01, 0.1, 0.3]))
def test_the_law_of_the_share_above_a_conformal_threshold_is_that_of_its_rank(n, rate):
    scores = torch.randn(n, generator=torch.Generator().manual_seed(n))
    law, rank = share_law(scores, conformal_quantile(scores, rate)), conformal_rank(n, rate)
    assert (law.over, law.below) == ((n + 1 - rank, rank) if rank <= n else (1, n))
    assert law.limit == WITHOUT_LIMIT


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=40))
def test_the_first_one_of_equal_histories_counts(histories):
    found = different(torch.tensor(histories)).tolist()
    assert sorted(found) == sorted({one: row for row, one in reversed([*enumerate(histories)])}.values())


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_the_more_histories_coincide_the_fewer_of_a_key_count(n, m):
    few, many = sorted((n, m))
    limit = most_counted(many, few)
    assert limit == WITHOUT_LIMIT if few == many else limit == math.floor(few / (1 - few / many) + 1e-9)
    assert most_counted(many + 1, few) <= limit
    assert limit >= few
