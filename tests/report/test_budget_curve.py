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
        ([0.2, 0.6, 0.1], 0.4, math.inf),  # reached, but lost at the largest budget
        ([0.6, 0.2, 0.6], 0.4, 10**4.5),  # the first budget reaches it by chance, the second does not
        ([0.2, 0.6, math.nan], 0.4, math.inf),
        ([0.2, 0.6, 0.5], 0.4, 10**3.5),  # a drop that stays above
        ([0.2, math.nan, 0.6], 0.4, 100_000),  # nothing is known between the two
        ([math.nan, math.inf, 0.6], 0.4, 10_000),
        ([0.2, math.inf, math.inf], 0.4, 10_000),
        ([math.nan, math.nan, math.nan], 0.4, math.inf),
    ],
)
def test_lists_needed_are_read_off_the_curve(shares, level, expected):
    lists = np.array([1000.0, 10_000.0, 100_000.0])
    assert lists_needed(lists, np.array(shares), level) == pytest.approx(expected)


def test_a_curve_that_falls_below_half_and_rises_again_has_its_half_behind_the_last_budget_below_it():
    lists, agreement = np.array([20.0, 40, 90, 180, 400]), np.array([0.152, 0.042, 0.128, 0.160, 0.245])
    half = lists_needed(lists, agreement, 0.1225)
    part = (0.1225 - 0.042) / (0.128 - 0.042)
    assert half == pytest.approx(40 * (90 / 40) ** part)
    assert 40 < half < 90
    most = lists_needed(lists, agreement, 0.8 * 0.245)
    assert most == pytest.approx(180 * (400 / 180) ** ((0.196 - 0.16) / (0.245 - 0.16)))
