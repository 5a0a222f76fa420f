"""Statistics of ranks: metrics per user, spread over seeds, paired tests over users, bootstrap ratios.

Two things vary: the sample of test users and the seed of a training. Ratios here cover the users, given the trained
models; the deviation over seeds covers the training, and the interval and the test of a difference cover both.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

RESAMPLES = 2000
FEW = 30  # users: where fewer have a value, resamples of them reach too low, above all at the upper end
LEVEL = 0.95
LOWEST_LOG_P = -600.0
FLOAT_NOISE = 1e-12  # means over the same seeds in another order differ by less
WEIGHTS_AT_ONCE = 2**22  # 32 MiB of int64


class Spread(NamedTuple):
    """Mean over seeds, sample standard deviation (nan for one seed), and number of seeds."""

    mean: float
    deviation: float
    seeds: int


class Interval(NamedTuple):
    """A value with the two ends of its confidence interval; nan where undefined."""

    value: float
    low: float
    high: float


def spread(values: ArrayLike) -> Spread:
    """Return mean and deviation of one value per seed.

    >>> spread([1.0, 3.0])
    Spread(mean=2.0, deviation=1.4142135623730951, seeds=2)
    """
    measured = np.asarray(values, dtype=float)
    deviation = float(measured.std(ddof=1)) if len(measured) > 1 else np.nan
    return Spread(float(measured.mean()), deviation, len(measured))


def sign_test(values: np.ndarray, others: np.ndarray) -> float:
    """Return the two-sided p of McNemar's exact test: as many users gain as lose.

    For hits of one seed, whose differences are -1, 0 or 1. Means over seeds would not do: where one model's hits vary
    from seed to seed and the other's do not, many users gain a little and few lose much at equal means.

    Args:
        values: [U] whether each user's item is hit, 0 or 1.
        others: [U] the same users' values of the other model.

    Returns:
        p; nan where no user differs: such a test can never reject, and no correction needs to count it (Tarone 1990).
    """
    differences = _differences(values, others)
    gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else np.nan


def paired_p(values: np.ndarray, others: np.ndarray) -> float:
    """Return the two-sided p of the mean difference over users and seeds: the level whose interval ends at 0.

    The interval is that of `paired_difference`; with one seed this is the paired t-test over users. It tests what the
    tables show, a mean; the rank test of Wilcoxon tests symmetry about 0, and most of its sample would be users without
    a hit in either list. Differences of NDCG are far from normal, their mean over hundreds of users is near enough: the
    tests compare it with flipping signs at random.

    Args:
        values: [S, U] one value per seed and user.
        others: [S, U] those of the other model, paired by seed and user.

    Returns:
        p; nan where no user differs, as with the same target on both sides, and for one user and one seed.
    """
    differences = _differences(values, others, 2)
    errors = _standard_errors(differences)
    if not differences.any() or not errors:
        return np.nan
    value = abs(float(differences.mean()))
    if value == 0 or not any(error for error, _ in errors):
        return float(value == 0)

    def margin_beyond(log_p: float) -> float:
        margins = [stats.t.isf(np.exp(log_p) / 2, freedom) * error for error, freedom in errors]
        return math.hypot(*margins) - value  # their squares overflow at the lowest p

    return float(np.exp(optimize.brentq(margin_beyond, LOWEST_LOG_P, 0.0))) if margin_beyond(LOWEST_LOG_P) > 0 else 0.0


def paired_difference(values: np.ndarray, others: np.ndarray, level: float = LEVEL) -> Interval:
    """Return the mean difference, with a t interval for other users and other seeds.

    Users and seeds are crossed: the variance of the mean is that of the users' means over U plus that of the seeds'
    means over S. The margins of both t intervals are added in quadrature, which keeps the level where one variance is
    estimated from few seeds (Banerjee, Sankhya 1960). The interaction of user and seed counts twice, so the interval is
    rather too wide, above all where seeds differ little. With one seed it covers the users alone.

    Args:
        values: [S, U] one value per seed and user.
        others: [S, U] those of the other model, paired by seed and user.
        level: confidence level of the interval.

    Returns:
        The difference and the ends of its interval, nan for one user and one seed.
    """
    differences = _differences(values, others, 2)
    margins = [stats.t.ppf((1 + level) / 2, freedom) * error for error, freedom in _standard_errors(differences)]
    value, margin = float(differences.mean()), float(np.linalg.norm(margins)) if margins else np.nan
    return Interval(value, value - margin, value + margin)


def ratio_of_ratios(
    values: np.ndarray,
    denominators: np.ndarray,
    others: np.ndarray,
    other_denominators: np.ndarray,
    level: float = LEVEL,
) -> Interval:
    """Return one ratio of means over another, with a t interval for other users and other seeds.

    With surrogate and target of a defense, then those of a control: what the surrogate keeps over what the target
    keeps. Below 1 the surrogate lost more. The logarithm is linear in the four means near their values (delta method),
    so its interval is that of `paired_difference` for the users' shares of these means.

    Args:
        values: [S, U] one value per seed and user, not negative.
        denominators: [S, U] those under `values`.
        others: [S, U] as `values`, of the control.
        other_denominators: [S, U] those under `others`.
        level: confidence level of the interval.

    Returns:
        The ratio and the ends of its interval; nan where a mean is 0.
    """
    means = [of.mean() for of in (values, denominators, others, other_denominators)]
    if not min(means) > 0:
        return Interval(np.nan, np.nan, np.nan)
    value = (means[0] / means[1]) / (means[2] / means[3])
    gains = values / means[0] + other_denominators / means[3]
    _, low, high = paired_difference(gains, denominators / means[1] + others / means[2], level)
    return Interval(float(value), float(value * np.exp(low)), float(value * np.exp(high)))


def holm(p_values: ArrayLike) -> np.ndarray:
    """Return p-values [n] corrected by Holm's method, which bounds the family-wise error rate.

    nan stands for no test: it stays nan and does not count.

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    raw = np.asarray(p_values, dtype=float)
    corrected = np.full_like(raw, np.nan)
    tested = np.flatnonzero(~np.isnan(raw))
    order = tested[np.argsort(raw[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * raw[order]), 1)
    return corrected


def bootstrap_ratio(
    numerators: np.ndarray,
    denominators: np.ndarray,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    *,
    signed: bool = False,
) -> Interval:
    """Return the mean of one value over the mean of the other, with a percentile interval from resampled users.

    A resample draws U users with replacement and takes both values of each, so variance that the two models share does
    not widen the interval. Values are means over seeds, of which there are too few to resample.

    Where fewer than FEW users have one of the values, such as hits of a surrogate that extracted little, a t interval
    on the logarithm takes its place (delta method, as in `ratio_of_ratios`). In simulations with 5 hits among 943 users
    the percentiles held the true ratio in 90 % of cases in place of 95, and lay below it in 9 %; the t interval held it
    in 95. Of a mean that may be negative there is no logarithm: the interval reaches as far as the percentiles or the t
    interval of the ratio itself does, whichever is farther. For a surrogate with about one chance hit among 300 or
    1,000 users, as many as the untrained one has, 0 lay below it in no case of 400; below the logarithm's in 10 %.

    Users with the same two values form one group, and the sizes of the groups in a resample are multinomial: the same
    distribution as drawing users, at a fraction of the draws, as ranks give few distinct values.

    Args:
        numerators: [U] one value per user, mean over seeds.
        denominators: [U] the same users' values of the denominator.
        generator: source of the draws.
        resamples: number of bootstrap samples.
        level: confidence level of the interval.
        signed: whether the means may be negative, as differences may, even where no value is.

    Returns:
        The ratio and the ends of its interval. nan where a denominator is 0 or less: the ratio, if that of all users
        is; the ends, if that of any resample is, if all numerators are 0, of which resamples show no spread, or if one
        user alone has a numerator or a denominator.
    """
    _differences(numerators, denominators)  # the same users
    are_few = _are_few(numerators, denominators)
    if are_few and not signed and min(numerators.min(), denominators.min()) >= 0:
        return _log_ratio(numerators, denominators, level)
    pairs, sizes = np.unique(np.stack([numerators, denominators], axis=1), axis=0, return_counts=True)
    totals = sizes @ pairs
    if not totals[1] > 0:
        return Interval(np.nan, np.nan, np.nan)
    at_once = max(1, WEIGHTS_AT_ONCE // len(sizes))
    chunks = [min(at_once, resamples - start) for start in range(0, resamples, at_once)]
    share = sizes / sizes.sum()
    sums = np.concatenate([generator.multinomial(sizes.sum(), share, size=chunk) @ pairs for chunk in chunks])
    value = float(totals[0] / totals[1])
    if not numerators.any() or not (sums[:, 1] > 0).all():
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [(1 - level) / 2, (1 + level) / 2])
    if are_few:
        _, less, more = paired_difference(
            (numerators / denominators.mean())[None], (value * denominators / denominators.mean())[None], level
        )
        low, high = min(low, value + less), max(high, value + more)
    return Interval(value, float(low), float(high))


def _are_few(numerators: np.ndarray, denominators: np.ndarray) -> bool:
    """Return whether some users, but few, have one of two values."""
    return 0 < min(np.count_nonzero(numerators), np.count_nonzero(denominators)) < FEW


def _log_ratio(numerators: np.ndarray, denominators: np.ndarray, level: float) -> Interval:
    value = float(numerators.mean() / denominators.mean())
    if min(np.count_nonzero(numerators), np.count_nonzero(denominators)) < 2:
        return Interval(value, np.nan, np.nan)
    shares = numerators / numerators.mean(), denominators / denominators.mean()
    _, low, high = paired_difference(shares[0][None], shares[1][None], level)
    return Interval(value, float(value * np.exp(low)), float(value * np.exp(high)))


def _standard_errors(differences: np.ndarray) -> list[tuple[float, int]]:
    """Return standard error and degrees of freedom of the mean of [S, U], over users and over seeds, where several."""
    means = [of for of in (differences.mean(axis=0), differences.mean(axis=1)) if len(of) > 1]
    return [(float(of.std(ddof=1) / np.sqrt(len(of))), len(of) - 1) for of in means]


def _differences(values: np.ndarray, others: np.ndarray, axes: int = 1) -> np.ndarray:
    if values.ndim != axes or values.shape != others.shape:
        raise ValueError(f"both must hold values of the same users, not shapes {values.shape} and {others.shape}")
    differences = values - others
    return np.where(np.abs(differences) < FLOAT_NOISE, 0.0, differences)
