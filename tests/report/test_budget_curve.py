import math

import numpy as np
import pytest

from recbole_gro.report.budget_curve import lists_needed


@pytest.mark.parametrize(
    ("shares", "level", "expected"),
    [
        ([0.2, 0.4, 0.6], 0.5, 10**4.5),  # half-way between 10,000 and 100,000 on the logarithmic axis
        ([0.2, 0.4, 0.6], 0.4, 10_000),
        ([0.5, 0.4, 0.6], 0.4, 1000),  # the first budget suffices
        ([0.2, 0.4, 0.6], 0.7, math.inf),
        ([0.2, 0.6, 0.1], 0.4, 10**3.5),  # a later drop does not count
    ],
)
def test_lists_needed_are_read_off_the_curve(shares, level, expected):
    lists = np.array([1000.0, 10_000.0, 100_000.0])
    assert lists_needed(lists, np.array(shares), level) == pytest.approx(expected)
