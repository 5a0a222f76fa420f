import math
from fractions import Fraction

import pytest
import torch
from detection.cases import Thresholds, law_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from recbole_gro.detection.api_keys import (
    KeyCounts,
    highest_evidence,
    key_evidence,
    log_evidence,
    look_evidence,
    threshold_of,
)
from recbole_gro.detection.conformal import (
    WITHOUT_LIMIT,
    ShareLaw,
    conformal_quantile,
    conformal_rank,
    most_counted,
    share_law,
)
from recbole_gro.detection.looks import LOOKS, NOT_REACHED

MANY = 10**7  # benign users: the rate is as good as known


def key_is_flagged(histories, flagged, rate, benign):
    return log_evidence(histories, flagged, rate, law_of(benign, rate)) > threshold_of(rate)


def test_evidence_is_the_mean_likelihood_ratio_over_what_earlier_histories_predict():
    rate, benign, r = 0.01, 943, 9  # 9 of 944 exceed the threshold
    shares = (0.05, 0.1, 0.3, 0.5)
    flags = [1, 0, 0, 1, 0, 1, 0, 0, 0, 0]
    products = dict.fromkeys(shares, 1.0)
    for n, flag in enumerate(flags):
        predicted = (r + sum(flags[:n])) / (benign + 1 + n)  # Polya's urn
        for p in shares:
            products[p] *= p / predicted if flag else (1 - p) / (1 - predicted)
    found = log_evidence(torch.tensor([10]), torch.tensor([3]), rate, law_of(benign, rate))
    uniform = (
        quad(lambda p: p**3 * (1 - p) ** 7, 0.05, 1)[0]
        / 0.95
        * math.prod(
            1 / ((r + sum(flags[:n])) / (benign + 1 + n) if flag else 1 - (r + sum(flags[:n])) / (benign + 1 + n))
            for n, flag in enumerate(flags)
        )
    )
    assert float(found) == pytest.approx(math.log((sum(products.values()) + uniform) / 5))


def test_with_many_benign_users_the_rate_is_known():
    shares = (0.05, 0.1, 0.3, 0.5)
    uniform = quad(lambda p: p**3 * (1 - p) ** 7, 0.05, 1)[0] / 0.95 / (0.01**3 * 0.99**7)
    expected = (sum((p / 0.01) ** 3 * ((1 - p) / 0.99) ** 7 for p in shares) + uniform) / 5
    found = log_evidence(torch.tensor([10]), torch.tensor([3]), 0.01, law_of(MANY, 0.01))
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
    found = log_evidence(torch.tensor([100, 100, 100]), torch.tensor([0, 50, 100]), rate, law_of(1000, rate))
    assert found.argmax() == 2
    assert key_is_flagged(torch.tensor([100, 100]), torch.tensor([20, 100]), rate, 1000).tolist() == [False, True]


@pytest.mark.parametrize("benign", [99, 943, 2000])
@pytest.mark.parametrize("share", [0.6, 0.8, 0.95, 1])
def test_a_key_stays_the_more_suspect_the_more_flagged_histories_it_has(benign, share):
    histories = torch.tensor([100, 1000, 5000, 20_000, 100_000])
    found = log_evidence(histories, (histories * share).long(), 0.01, law_of(benign, 0.01))
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
        slow.append(max(float(log_evidence(*pair, 0.01, law_of(943, 0.01))) for pair in counts))
    none = torch.full((300, len(LOOKS)), NOT_REACHED)
    assert highest_evidence(keys, flagged, none, Thresholds(943), 0.01).tolist() == pytest.approx(slow)
    assert len(highest_evidence(torch.zeros(0).long(), torch.zeros(0).bool(), none[:0], Thresholds(943), 0.01)) == 0


def test_the_evidence_of_a_key_is_the_mean_over_flags_and_the_looks_with_enough_users():
    draw = torch.Generator().manual_seed(6)
    keys, flagged = torch.randint(3, (90,), generator=draw).sort().values, torch.rand(90, generator=draw) < 0.05
    looks = torch.randint(-1, 2, (90, len(LOOKS)), generator=draw)
    detector, slow = Thresholds(400, (50, 300, 8, 99, 9, 0), 0.05), []  # 8 are too few
    for key in range(3):
        best = -math.inf
        for n in range(1, int((keys == key).sum()) + 1):
            rows = (keys == key).nonzero()[:n, 0]
            parts = [math.exp(log_evidence(torch.tensor([n]), flagged[rows].sum().view(1), 0.05, law_of(400, 0.05)))]
            for place, users in ((0, 50), (1, 300), (3, 99), (4, 9)):
                reached, unusual = ((looks[rows, place] != -1).sum(), (looks[rows, place] == 1).sum())
                parts.append(math.exp(look_evidence(reached.view(1), unusual.view(1), law_of(users, 0.1))))
            best = max(best, math.log(sum(parts) / 5))
        slow.append(best)
    assert highest_evidence(keys, flagged, looks, detector, 0.05).tolist() == pytest.approx(slow)


@pytest.mark.parametrize(("reached", "unusual", "benign"), [(0, 0, 400), (30, 12, 400), (200, 21, 99), (50, 50, 9)])
def test_evidence_at_a_look_is_the_mean_likelihood_ratio_of_shares_above_three_times_that_of_benign_users(
    reached, unusual, benign
):
    rank = conformal_rank(benign, 0.1)
    own = quad(lambda p: p**unusual * (1 - p) ** (reached - unusual), 0.3, 1, epsabs=0)[0] / 0.7
    null = math.prod(range(benign + 1 - rank, benign + 1 - rank + unusual)) * math.prod(
        range(rank, rank + reached - unusual)
    )
    expected = math.log(own) + math.log(math.prod(range(benign + 1, benign + 1 + reached))) - math.log(null)
    found = look_evidence(torch.tensor([reached]), torch.tensor([unusual]), law_of(benign, 0.1))
    assert float(found) == pytest.approx(expected, abs=1e-6)


@pytest.mark.no_cover
@pytest.mark.parametrize("benign", [9, 30, 943])
def test_benign_keys_are_flagged_at_the_rate_at_most_with_all_looks(benign):
    rate, keys, histories = 0.05, 1000, 2000
    draw = torch.Generator().manual_seed(2)
    detector = Thresholds(MANY, benign, rate)
    scores = torch.rand(keys, benign, generator=draw, dtype=torch.float64)
    thresholds = torch.tensor([conformal_quantile(row, 0.1) for row in scores], dtype=torch.float64)
    seen = torch.arange(1, histories + 1)
    none = torch.zeros_like(seen)
    ever = 0
    for threshold in thresholds:
        bad = (torch.rand(histories, len(LOOKS), generator=draw, dtype=torch.float64) > threshold).long().cumsum(0)
        counts = KeyCounts(seen, none, seen.unsqueeze(1).expand(-1, len(LOOKS)), bad)
        ever += bool((key_evidence(counts, detector, rate) > threshold_of(rate)).any())
    assert ever / keys <= rate + 2 * math.sqrt(rate * (1 - rate) / keys)


def test_a_key_with_up_to_twice_the_unusual_histories_of_benign_users_gathers_no_evidence():
    for histories in (20, 200, 2000):
        for share in (0.1, 0.15, 0.18):
            counts = torch.tensor([histories]), torch.tensor([int(share * histories)])
            assert float(look_evidence(*counts, law_of(MANY, 0.1))) < 0


def test_a_key_with_up_to_twice_the_flagged_histories_of_benign_users_gathers_no_evidence():
    for histories in (50, 500, 5000):
        flagged = torch.tensor([0, int(0.01 * histories), int(0.02 * histories)])
        found = log_evidence(torch.tensor([histories] * 3), flagged, 0.01, law_of(2000, 0.01))
        assert bool((found < 0).all())


def test_beyond_the_limit_of_its_law_a_number_of_items_is_no_evidence_and_what_came_before_stands():
    detector = Thresholds(943, 943)
    detector.look_laws[1] = law_of(943, 0.1, limit=50)
    looks = torch.full((80, len(LOOKS)), NOT_REACHED)
    keys, none = torch.arange(3).repeat_interleave(80), torch.zeros(240).bool()
    early, late, elsewhere = looks.clone(), looks.clone(), looks.clone()
    early[:, 1], late[:, 1], elsewhere[:, 2] = torch.arange(80) < 50, torch.arange(80) >= 50, torch.arange(80) >= 50
    found = highest_evidence(keys, none, torch.cat([early, late, elsewhere]), detector, 0.01) > threshold_of(0.01)
    assert found.tolist() == [True, False, True]


def test_fewer_flagged_histories_than_benign_ones_are_no_evidence_though_these_exceed_the_rate():
    """As where users' short histories coincide, and many of the different ones are flagged."""
    for flagged in (0, 4, 16):
        found = log_evidence(torch.tensor([40]), torch.tensor([flagged]), 0.05, ShareLaw(84, 97, WITHOUT_LIMIT))
        assert float(found) < 0


def test_flags_are_no_evidence_where_a_key_has_more_histories_of_some_length_than_their_law_holds_for():
    detector = Thresholds(943)
    detector.history_limits[1] = 30  # of those with 2 items
    histories, flagged = torch.tensor([60, 60, 60]), torch.tensor([30, 30, 30])
    reached = torch.tensor([[60, 60, 30, 0, 0, 0], [60, 60, 29, 0, 0, 0], [60, 0, 0, 0, 0, 0]])
    counts = KeyCounts(histories, flagged, reached, torch.zeros_like(reached))
    assert (key_evidence(counts, detector, 0.01) > threshold_of(0.01)).tolist() == [True, False, True]


def distinct(items):
    """Return the first row of each item."""
    return sorted({item: row for row, item in reversed([*enumerate(items.tolist())])}.values())


def key_of_coinciding_users(draw, limited):
    """Return the highest evidence of a key of 20,000 users, of whom many have the same histories, which are usual."""
    frequency = torch.arange(1, 20_001).double() ** -1.3
    scores = -frequency.log() + 0.5 * torch.randn(20_000, generator=draw, dtype=torch.double)
    benign = torch.multinomial(frequency, 400, replacement=True, generator=draw)
    of_key = torch.multinomial(frequency, 20_000, replacement=True, generator=draw)
    of_benign = scores[benign[distinct(benign)]]
    threshold = conformal_quantile(of_benign, 0.1)
    detector = Thresholds(MANY, (len(of_benign), 0, 0, 0, 0, 0))
    law = share_law(of_benign, threshold, most_counted(400, len(of_benign)))
    detector.look_laws[0] = law if limited else law._replace(limit=WITHOUT_LIMIT)
    looks = torch.full((len(kept := distinct(of_key)), len(LOOKS)), NOT_REACHED)
    looks[:, 0] = scores[of_key[kept]] > threshold
    none = torch.zeros(len(kept))
    return float(highest_evidence(none.long(), none.bool(), looks, detector, 0.01)[0])


@pytest.mark.parametrize(("limited", "flagged"), [(True, 0), (False, 20)])
def test_a_key_of_users_whose_histories_coincide_is_flagged_beyond_the_limit_alone(limited, flagged):
    """Equal histories count once, so that of ever more users the rare ones do."""
    draw = torch.Generator().manual_seed(8)
    found = [key_of_coinciding_users(draw, limited) > threshold_of(0.01) for _ in range(40)]
    assert sum(found) <= flagged if limited else sum(found) >= flagged


@pytest.mark.parametrize("share", [0.35, 0.6, 1.0])
def test_a_key_of_unusual_histories_is_flagged_though_none_of_them_is(share):
    none = torch.zeros(1, dtype=torch.long)
    for histories in (60, 1000, 100_000):
        unusual = torch.tensor([[0, int(share * histories), 0, 0, 0, 0]])
        counts = KeyCounts(torch.tensor([histories]), none, torch.tensor([[0, histories, 0, 0, 0, 0]]), unusual)
        assert float(key_evidence(counts, Thresholds(943, 943), 0.01)) > threshold_of(0.01)


def exact_log_evidence(m, x, rate, n):
    """Return the evidence in exact arithmetic: integrals of polynomials, and rising factorials of the beta-binomial."""
    above, below = n + 1 - conformal_rank(n, rate), conformal_rank(n, rate)
    null = Fraction(
        math.prod(range(above, above + x)) * math.prod(range(below, below + m - x)),
        math.prod(range(n + 1, n + 1 + m)),
    )
    half = 0.5 if rate < 0.5 else (1 + rate) / 2
    shares = {Fraction(min(half, times * rate)) for times in (5, 10, 30) if min(half, times * rate) > rate}
    ratios = [p**x * (1 - p) ** (m - x) for p in shares | {Fraction(half)}]
    p = min(
        shares | {Fraction(half)}
    )  # the integral of q^x (1 - q)^(m - x) above p is a sum over a binomial distribution
    terms = (math.comb(m + 1, j) * p**j * (1 - p) ** (m + 1 - j) for j in range(x + 1))
    ratios.append(sum(terms) / ((m + 1) * math.comb(m, x)) / (1 - p))
    mean = sum(ratios) / len(ratios) / null
    return math.log(mean.numerator) - math.log(mean.denominator)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([0.01, 0.05, 0.1, 0.3, 0.5, 0.9, 0.95]),
    st.sampled_from([99, 100, 400, 2000]),
    st.integers(0, 150),  # at a rate of 0.95 more of them, none flagged, leave no floats
    st.floats(0, 1),
)
@example(0.5, 2000, 146, 0.01)
@example(0.9, 100, 39, 0.36)
@example(0.3, 400, 143, 0.02)
@example(0.01, 99, 150, 0)
def test_evidence_is_that_of_exact_arithmetic_at_any_rate(rate, benign, histories, share):
    flagged = round(share * histories)
    found = log_evidence(torch.tensor([histories]), torch.tensor([flagged]), rate, law_of(benign, rate))
    assert float(found) == pytest.approx(exact_log_evidence(histories, flagged, rate, benign), rel=1e-9, abs=1e-9)
