import math
from fractions import Fraction

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from recbole_gro.detection.api_keys import highest_evidence, key_is_flagged, log_evidence
from recbole_gro.detection.calibration import conformal_quantile, conformal_rank

MANY = 10**7  # benign users: the rate is as good as known


def test_evidence_is_the_mean_likelihood_ratio_over_what_earlier_histories_predict():
    rate, benign, r = 0.01, 943, 9  # 9 of 944 exceed the threshold
    shares = (0.02, 0.05, 0.1, 0.3, 0.5)
    flags = [1, 0, 0, 1, 0, 1, 0, 0, 0, 0]
    products = dict.fromkeys(shares, 1.0)
    for n, flag in enumerate(flags):
        predicted = (r + sum(flags[:n])) / (benign + 1 + n)  # Polya's urn
        for p in shares:
            products[p] *= p / predicted if flag else (1 - p) / (1 - predicted)
    found = log_evidence(torch.tensor([10]), torch.tensor([3]), rate, benign)
    uniform = (
        quad(lambda p: p**3 * (1 - p) ** 7, rate, 1)[0]
        / (1 - rate)
        * math.prod(
            1 / ((r + sum(flags[:n])) / (benign + 1 + n) if flag else 1 - (r + sum(flags[:n])) / (benign + 1 + n))
            for n, flag in enumerate(flags)
        )
    )
    assert float(found) == pytest.approx(math.log((sum(products.values()) + uniform) / 6))


def test_with_many_benign_users_the_rate_is_known():
    shares = (0.02, 0.05, 0.1, 0.3, 0.5)
    uniform = quad(lambda p: p**3 * (1 - p) ** 7, 0.01, 1)[0] / 0.99 / (0.01**3 * 0.99**7)
    expected = (sum((p / 0.01) ** 3 * ((1 - p) / 0.99) ** 7 for p in shares) + uniform) / 6
    found = log_evidence(torch.tensor([10]), torch.tensor([3]), 0.01, MANY)
    assert float(found) == pytest.approx(math.log(expected), abs=1e-3)


@pytest.mark.parametrize("benign", [19, 60, 200, 943])
def test_benign_keys_are_flagged_at_the_rate_at_most_however_many_histories_they_have(benign):
    rate, keys, histories = 0.05, 1000, 2000
    draw = torch.Generator().manual_seed(1)
    scores = torch.rand(keys, benign, generator=draw, dtype=torch.float64)
    thresholds = torch.tensor([conformal_quantile(row, rate) for row in scores], dtype=torch.float64)
    seen = torch.arange(1, histories + 1)
    ever = 0
    for threshold in thresholds:
        bad = (torch.rand(histories, generator=draw, dtype=torch.float64) > threshold).long().cumsum(0)
        ever += bool(key_is_flagged(seen, bad, rate, benign).any())
    assert ever / keys <= rate + 2 * math.sqrt(rate * (1 - rate) / keys)


def test_a_key_with_more_than_the_rate_is_flagged_in_time():
    for benign in (MANY, 943):
        assert key_is_flagged(torch.tensor([300]), torch.tensor([18]), 0.01, benign).item()
        assert not key_is_flagged(torch.tensor([300]), torch.tensor([3]), 0.01, benign).item()
    assert key_is_flagged(torch.tensor([30]), torch.tensor([15]), 0.01, 99).item()


@pytest.mark.parametrize("rate", [0.3, 0.5, 0.6, 0.9])
def test_at_any_rate_the_key_with_more_flagged_histories_is_the_suspect(rate):
    found = log_evidence(torch.tensor([100, 100, 100]), torch.tensor([0, 50, 100]), rate, 1000)
    assert found.argmax() == 2
    assert key_is_flagged(torch.tensor([100, 100]), torch.tensor([20, 100]), rate, 1000).tolist() == [False, True]


@pytest.mark.parametrize("benign", [99, 943, 2000])
@pytest.mark.parametrize("share", [0.6, 0.8, 0.95, 1])
def test_a_key_stays_the_more_suspect_the_more_flagged_histories_it_has(benign, share):
    histories = torch.tensor([100, 1000, 5000, 20_000, 100_000])
    found = log_evidence(histories, (histories * share).long(), 0.01, benign)
    assert bool((found.diff() > 0).all())
    assert float(found[0]) > -math.log(0.01)


def test_the_highest_evidence_is_that_after_any_history_of_a_key():
    draw = torch.Generator().manual_seed(5)
    keys, flagged = torch.randint(4, (300,), generator=draw).sort().values, torch.rand(300, generator=draw) < 0.1
    flagged[(keys == 2).nonzero()[:6]] = True  # and then benign histories
    slow = []
    for key in range(4):
        own = flagged[keys == key]
        counts = [(torch.tensor([n]), own[:n].sum().view(1)) for n in range(1, len(own) + 1)]
        slow.append(max(float(log_evidence(*pair, 0.01, 943)) for pair in counts))
    assert highest_evidence(keys, flagged, 0.01, 943).tolist() == pytest.approx(slow)
    assert len(highest_evidence(torch.zeros(0).long(), torch.zeros(0).bool(), 0.01, 943)) == 0


def exact_log_evidence(m, x, rate, n):
    """Return the evidence in exact arithmetic: integrals of polynomials, and rising factorials of the beta-binomial."""
    above, below = n + 1 - conformal_rank(n, rate), conformal_rank(n, rate)
    null = Fraction(
        math.prod(range(above, above + x)) * math.prod(range(below, below + m - x)),
        math.prod(range(n + 1, n + 1 + m)),
    )
    half = 0.5 if rate < 0.5 else (1 + rate) / 2
    shares = {Fraction(min(half, times * rate)) for times in (2, 5, 10, 30) if min(half, times * rate) > rate}
    ratios = [p**x * (1 - p) ** (m - x) for p in shares | {Fraction(half)}]
    p = Fraction(rate)  # the integral of q^x (1 - q)^(m - x) above p is a sum over a binomial distribution
    terms = (math.comb(m + 1, j) * p**j * (1 - p) ** (m + 1 - j) for j in range(x + 1))
    ratios.append(sum(terms) / ((m + 1) * math.comb(m, x)) / (1 - p))
    mean = sum(ratios) / len(ratios) / null
    return math.log(mean.numerator) - math.log(mean.denominator)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([0.01, 0.05, 0.1, 0.3, 0.5, 0.9, 0.95]),
    st.sampled_from([99, 100, 400, 2000]),
    st.integers(0, 200),
    st.floats(0, 1),
)
@example(0.5, 2000, 196, 0.01)
@example(0.9, 100, 39, 0.36)
@example(0.3, 400, 193, 0.02)
@example(0.01, 99, 200, 0)
def test_evidence_is_that_of_exact_arithmetic_at_any_rate(rate, benign, histories, share):
    flagged = round(share * histories)
    found = log_evidence(torch.tensor([histories]), torch.tensor([flagged]), rate, benign)
    assert float(found) == pytest.approx(exact_log_evidence(histories, flagged, rate, benign), rel=1e-9, abs=1e-9)
