import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from recbole_gro.evaluator.ranks import hits, ndcg
from recbole_gro.experiment import statistics
from recbole_gro.experiment.statistics import (
    bootstrap_ratio,
    holm,
    paired_difference,
    paired_p,
    ratio_of_ratios,
    sign_test,
    spread,
)

RANKS = arrays(np.int32, st.integers(1, 40), elements=st.integers(0, 100))
P_VALUES = st.lists(st.floats(0, 1) | st.just(np.nan), max_size=12)


def test_spread_over_seeds():
    assert spread([1.0, 2.0, 4.0]) == pytest.approx((7 / 3, np.sqrt(7 / 3), 3))
    one = spread([5.0])
    assert (one.mean, one.seeds) == (5, 1)
    assert np.isnan(one.deviation)


def test_paired_tests_find_a_difference_that_an_unpaired_one_misses():
    draw = np.random.default_rng(0)
    undefended = draw.random(300)
    defended = undefended - draw.uniform(0, 0.04, 300)
    assert stats.ttest_ind(defended, undefended).pvalue > 0.3
    assert paired_p(defended[None], undefended[None]) < 1e-9
    assert sign_test(defended, undefended) < 1e-9


def test_p_of_two_seeds_is_found_without_a_warning():
    draw = np.random.default_rng(4)
    values = 0.1 + 0.1 * draw.normal(size=(2, 60))
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        p = paired_p(values, np.zeros_like(values))
    interval = paired_difference(values, np.zeros_like(values), 1 - p)  # the level whose interval ends at 0
    assert 0 < p < 0.5
    assert interval.low == pytest.approx(0, abs=1e-9)


def test_seeds_in_another_order_differ_for_no_user():
    by_seed = np.random.default_rng(3).random((3, 500))
    values, others = by_seed.mean(0), by_seed[[2, 0, 1]].mean(0)
    assert (values != others).any()
    assert np.isnan([paired_p(values[None], others[None]), sign_test(values, others)]).all()


@pytest.mark.parametrize("share", [0.24, 0.2, 0.16])
def test_paired_t_agrees_with_flipped_signs(share):
    draw = np.random.default_rng(4)
    places = np.where(draw.random((2, 400)) < [[0.25], [share]], draw.integers(1, 11, (2, 400)), 0)
    values, others = ndcg(places, 10)
    flipped = draw.choice([-1.0, 1.0], (10_000, 400)) @ (values - others)
    by_flips = (np.abs(flipped) >= abs((values - others).sum())).mean()
    assert paired_p(values[None], others[None]) == pytest.approx(by_flips, abs=0.02)


def test_without_a_difference_p_is_uniform():
    draw = np.random.default_rng(1)
    ranks = np.where(draw.random((400, 2, 300)) < 0.2, draw.integers(1, 11, (400, 2, 300)), 0)
    by_t = [paired_p(*ndcg(pair[:, None], 10)) for pair in ranks]
    by_sign = np.array([sign_test(*hits(pair, 10)) for pair in ranks])
    assert stats.kstest(by_t, "uniform").pvalue > 0.01
    assert (by_sign <= 0.05).mean() < 0.08  # exact, so at most 0.05, and 0.03 for the draw


def test_sign_test_is_mcnemars_with_one_seed():
    values = np.array([1.0] * 9 + [0.0] * 2 + [1.0] * 5)
    others = np.array([0.0] * 9 + [1.0] * 2 + [1.0] * 5)
    exact = 2 * sum(stats.binom.pmf(i, 11, 0.5) for i in range(3))
    assert sign_test(values, others) == pytest.approx(exact)


def test_where_nothing_differs_there_is_no_test():
    same = np.array([0.0, 1.0, 0.5])
    assert np.isnan([paired_p(same[None], same[None]), sign_test(same, same)]).all()
    assert np.isnan(paired_p(same[None, :1], same[None, 1:2]))
    assert np.isnan(sign_test(same[:0], same[:0]))


def test_with_one_seed_the_interval_of_a_difference_is_that_of_the_paired_t_test():
    values, others = np.random.default_rng(2).random((2, 1, 50))
    expected = stats.ttest_1samp((values - others)[0], 0.0).confidence_interval(0.95)
    found = paired_difference(values, others)
    assert found == pytest.approx(((values - others).mean(), expected.low, expected.high))


def test_with_seeds_that_differ_alone_it_is_that_of_the_t_test_over_seeds():
    others = np.random.default_rng(2).random((4, 50))
    by_seed = np.array([0.3, 0.1, 0.2, 0.5])
    expected = stats.ttest_1samp(by_seed, 0.0).confidence_interval(0.95)
    assert paired_difference(others + by_seed[:, None], others) == pytest.approx((0.275, expected.low, expected.high))


@pytest.mark.parametrize("deviations", [(1.0, 0.0, 0.0), (0.3, 0.05, 0.3), (0.3, 0.3, 0.3), (0.0, 0.0, 1.0)])
def test_it_covers_other_users_and_other_seeds(deviations):
    draw = np.random.default_rng(5)
    of_user, of_seed, of_both = deviations

    def covered():
        differences = 0.1 + of_user * draw.normal(size=(1, 60)) + of_seed * draw.normal(size=(3, 1))
        found = paired_difference(differences + of_both * draw.normal(size=(3, 60)), np.zeros((3, 60)))
        return found.low <= 0.1 <= found.high

    assert np.mean([covered() for _ in range(1000)]) > 0.94


def test_a_difference_without_variance_has_an_interval_of_no_width():
    same = np.ones((2, 3))
    assert paired_difference(same, same) == (0, 0, 0)
    assert np.isnan(paired_difference(same[:1, :1], same[:1, :1])[1:]).all()


@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_p_is_below_a_level_where_the_interval_of_that_level_excludes_0(seeds):
    draw = np.random.default_rng(6)
    for effect in (0.0, 0.02, 0.1, 0.4):
        values = effect + draw.normal(size=(seeds, 40)) + 0.1 * draw.normal(size=(seeds, 1))
        p, others = paired_p(values, np.zeros_like(values)), np.zeros_like(values)
        for level in (0.5, 0.9, 0.95, 0.999, 1 - 1.01 * p, 1 - 0.99 * p):
            if 0 < level < 1:
                found = paired_difference(values, others, level)
                assert (p < 1 - level) == (found.low > 0 or found.high < 0)


@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_p_keeps_its_level_where_the_hits_of_one_model_alone_vary_between_seeds(seeds):
    """Equal means, but most users gain a little and few lose much: a sign test of means would reject."""
    draw = np.random.default_rng(7)

    def p_of_equal_models():
        stable = np.broadcast_to(draw.random(900) < 0.1, (seeds, 900))
        chance = np.where(draw.random(900) < 0.1, 0.55, 0.05)
        return paired_p((draw.random((seeds, 900)) < chance).astype(float), stable.astype(float))

    assert np.mean([p_of_equal_models() < 0.05 for _ in range(300)]) < 0.1


@pytest.mark.parametrize("compare", [paired_p, sign_test])
def test_values_of_other_users_are_refused(compare):
    with pytest.raises(ValueError, match="same users"):
        compare(np.zeros(3), np.zeros(1))


def step_by_step(p_values):
    """Holm's procedure: the smallest p first, times the number of tests left, never below the one before."""
    corrected, before = [np.nan] * len(p_values), 0.0
    left = [place for place, p in enumerate(p_values) if not np.isnan(p)]
    while left:
        place = min(left, key=lambda place: p_values[place])
        before = max(before, min(1, len(left) * p_values[place]))
        corrected[place] = before
        left.remove(place)
    return corrected


@given(p_values=P_VALUES)
def test_holm_equals_the_stepwise_procedure(p_values):
    corrected = holm(p_values)
    np.testing.assert_allclose(corrected, step_by_step(p_values))
    tested = ~np.isnan(corrected)
    assert (corrected[tested] >= np.array(p_values)[tested]).all()
    assert (corrected[tested] <= 1).all()


def some_users(n, draw, share=0.5):
    """Return values of n users: denominators of mean 0.3, numerators of about `share` of that."""
    denominators = (draw.random(n) < 0.4) * draw.choice([0.5, 1.0], n)
    return denominators * (draw.random(n) < share), denominators


def test_the_bootstrap_by_groups_equals_resampled_users():
    draw = np.random.default_rng(2)
    numerators, denominators = some_users(150, draw)
    ratios = []
    for _ in range(6000):
        users = draw.integers(0, 150, 150)
        ratios.append(numerators[users].mean() / denominators[users].mean())
    slow = np.quantile(ratios, [0.025, 0.975])
    quick = bootstrap_ratio(numerators, denominators, np.random.default_rng(3), resamples=6000)
    assert quick.value == pytest.approx(numerators.mean() / denominators.mean())
    assert quick[1:] == pytest.approx(slow, abs=0.012)


def test_the_interval_covers_the_true_ratio_at_its_level():
    draw = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        interval = bootstrap_ratio(*some_users(400, draw), draw, resamples=400)
        covered += interval.low <= 0.5 <= interval.high
    assert 0.9 <= covered / 200 <= 0.99


@pytest.mark.parametrize("share", [0.02, 0.06])
def test_the_interval_of_few_hits_covers_the_true_ratio_and_errs_at_both_ends(share):
    """As of a surrogate that extracted little: with percentiles the truth lay above the interval in 9 % of cases."""
    draw, intervals = np.random.default_rng(6), []
    for _ in range(1000):
        target = (draw.random(500) < 0.5) * 1.0
        intervals.append(bootstrap_ratio((draw.random(500) < 0.5 * share) * 1.0, target, draw, resamples=100))
    intervals = [interval for interval in intervals if not np.isnan(interval.low)]
    assert len(intervals) > 950
    assert np.mean([interval.high < share for interval in intervals]) < 0.05
    assert np.mean([interval.low <= share <= interval.high for interval in intervals]) > 0.93


def test_pairing_narrows_the_interval():
    numerators, denominators = some_users(500, np.random.default_rng(6), share=0.9)
    paired = bootstrap_ratio(numerators, denominators, np.random.default_rng(0))
    mixed = bootstrap_ratio(np.random.default_rng(1).permutation(numerators), denominators, np.random.default_rng(0))
    assert paired.high - paired.low < 0.5 * (mixed.high - mixed.low)


@settings(deadline=None, max_examples=25)
@given(
    ranks=arrays(np.int32, st.tuples(st.just(2), st.integers(2, 60)), elements=st.integers(0, 12)),
    seed=st.integers(0, 99),
)
def test_the_bootstrap_ignores_order_and_scale(ranks, seed):
    numerators, denominators = ndcg(ranks, 10)
    plain = bootstrap_ratio(numerators, denominators, np.random.default_rng(seed), resamples=50)
    if np.isnan(plain.value):
        assert not denominators.any()
        return
    order = np.random.default_rng(seed).permutation(len(numerators))
    shuffled = bootstrap_ratio(numerators[order], denominators[order], np.random.default_rng(seed), resamples=50)
    np.testing.assert_allclose(shuffled, plain)
    halved = bootstrap_ratio(numerators / 2, denominators, np.random.default_rng(seed), resamples=50)
    np.testing.assert_allclose(np.multiply(halved, 2), plain)
    assert np.isnan(plain.low) or plain.low <= plain.high


def test_chunks_do_not_change_the_bootstrap(monkeypatch):
    users = some_users(180, np.random.default_rng(7))
    whole = bootstrap_ratio(*users, np.random.default_rng(8))
    monkeypatch.setattr(statistics, "WEIGHTS_AT_ONCE", 100)
    assert bootstrap_ratio(*users, np.random.default_rng(8)) == whole


def test_a_ratio_to_zero_is_undefined():
    generator = np.random.default_rng(0)
    assert np.isnan(bootstrap_ratio(np.ones(3), np.zeros(3), generator)).all()
    rare = bootstrap_ratio(np.array([1.0, 0, 0]), np.array([1.0, 0, 0]), generator)
    assert rare.value == 1
    assert np.isnan(rare[1:]).all()
    none = bootstrap_ratio(np.zeros(3), np.ones(3), generator)  # no spread is seen, which is no certainty
    assert none.value == 0
    assert np.isnan(none[1:]).all()


def kept_and_lost(draw, users=300, seeds=3):
    """A surrogate that keeps 0.6 where its target keeps 0.9, users and seeds drawn anew; each [seeds, users]."""
    skill, luck = draw.random(users), draw.normal(0, 0.05, (4, seeds, 1))
    rates = np.array([0.5 * 0.6, 0.8 * 0.9, 0.5, 0.8])[:, None, None] * np.exp(luck) * skill
    return (draw.random(rates.shape) < rates).astype(float)


def test_the_ratio_of_ratios_by_hand():
    means = [np.full((2, 5), mean) for mean in (0.2, 0.5, 0.6, 0.75)]
    assert ratio_of_ratios(*means) == pytest.approx((0.5, 0.5, 0.5))
    assert np.isnan(ratio_of_ratios(np.zeros((2, 5)), *means[1:])).all()


def test_the_interval_of_the_ratio_of_ratios_covers_other_users_and_seeds():
    draw = np.random.default_rng(11)
    truth, intervals = 0.6 / 0.9, [ratio_of_ratios(*kept_and_lost(draw)) for _ in range(200)]
    assert np.mean([interval.low <= truth <= interval.high for interval in intervals]) >= 0.93


def test_over_users_alone_it_agrees_with_the_bootstrap():
    both = kept_and_lost(np.random.default_rng(12), users=800, seeds=1)
    drawn = np.random.default_rng(0).integers(800, size=(1000, 800))
    means = both[:, 0][:, drawn].mean(axis=2)
    slow = np.quantile(means[0] / means[1] / (means[2] / means[3]), [0.025, 0.975])
    assert ratio_of_ratios(*both)[1:] == pytest.approx(slow, abs=0.02)


def test_a_ratio_of_a_negative_mean_has_an_interval():
    """As the gain of a surrogate, what it has beyond an untrained one: about 0 it is negative in half of the cases."""
    draw, intervals = np.random.default_rng(4), []
    for _ in range(300):
        surrogate, untrained = ((draw.random(300) < 0.05) * draw.random(300) for _ in range(2))
        target = (draw.random(300) < 0.3) * draw.random(300)
        intervals.append(bootstrap_ratio(surrogate - untrained, target - untrained, draw, resamples=300))
    assert min(one.value for one in intervals) < 0 < max(one.value for one in intervals)
    assert not np.isnan([[*one] for one in intervals]).any()
    assert np.mean([one.low <= 0 <= one.high for one in intervals]) > 0.9
    assert np.isnan(bootstrap_ratio(np.zeros(9), np.ones(9), draw)[1:]).all()  # of no hit resamples show no spread


def test_the_interval_of_a_few_signed_values_reaches_to_the_farther_end(monkeypatch):
    """Few users in the denominator: the t interval reaches farther down, the percentiles farther up."""
    values = np.concatenate([[1.0, 1.0, 1.0, -0.2], np.zeros(296)])
    denominators = np.repeat([0.0, 1.0], [290, 10])
    ratio = values.mean() / denominators.mean()
    by_t = paired_difference(*(part[None] / denominators.mean() for part in (values, ratio * denominators)))
    found = bootstrap_ratio(values, denominators, np.random.default_rng(5), signed=True)
    monkeypatch.setattr(statistics, "FEW", 0)
    percentiles = bootstrap_ratio(values, denominators, np.random.default_rng(5), signed=True)
    assert ratio + by_t.low < percentiles.low < ratio + by_t.high < percentiles.high
    assert found == pytest.approx((ratio, ratio + by_t.low, percentiles.high))


def test_a_few_chance_hits_are_no_gain():
    draw, above = np.random.default_rng(6), []
    for _ in range(200):
        surrogate, untrained, target = ((draw.random(400) < share) * 1.0 for share in (0.003, 0.003, 0.1))
        above.append(bootstrap_ratio(surrogate - untrained, target, draw, resamples=200, signed=True).low > 0)
    assert np.mean(above) <= 0.025
    two_hits = np.concatenate([[1.0, 0.43], np.zeros(998)])
    gain = bootstrap_ratio(two_hits, np.repeat([1.0, 0.0], [100, 900]), draw, signed=True)
    assert gain.low <= 0 < gain.value < gain.high
