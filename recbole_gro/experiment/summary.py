"""Settings: the cells of all seeds together, and each setting compared with its baselines."""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recbole_gro.evaluator.ranks import by_user, hits, ndcg
from recbole_gro.experiment.cells import Cell
from recbole_gro.experiment.plan import Experiment, in_words
from recbole_gro.experiment.statistics import (
    Interval,
    Spread,
    bootstrap_ratio,
    paired_difference,
    paired_p,
    ratio_of_ratios,
    sign_test,
    spread,
)
from recbole_gro.quick_start.references import UNTRAINED

SIDES = ("target", "surrogate")
BOTH = "surrogate / target"
METRICS = {"hit": hits, "ndcg": ndcg}
CUT_OFFS = (1, 5, 10, 20, 50, 100)
HEADLINE_K = 10
BOOTSTRAP_SEED = 1


@dataclass
class Setting:
    """The cells of one setting, one per seed.

    Attributes:
        values: of the varied keys.
        cells: in the order of seeds; all of the same test rows in the same order.
    """

    values: dict[str, Any]
    cells: list[Cell]

    def __str__(self) -> str:
        return in_words(self.values)

    @property
    def seeds(self) -> list[int]:
        """Seeds of the cells."""
        return [cell.seed for cell in self.cells]

    @property
    def users(self) -> int:
        """Number of test users."""
        owners = self.cells[0].row_users
        return self.rows if owners is None else len(np.unique(owners))

    @property
    def rows(self) -> int:
        """Number of test rows: one per user, unless the split leaves a user several test items."""
        return len(self.cells[0].target_ranks)

    @property
    def served_k(self) -> int:
        """Length of the shortest list served."""
        return min(cell.facts["served_k"] for cell in self.cells)

    def with_seeds(self, seeds: Sequence[int]) -> "Setting":
        """Return the setting with the cells of these seeds only."""
        return Setting(self.values, [cell for cell in self.cells if cell.seed in seeds])

    def measured(self, metric: str, side: str, k: int) -> np.ndarray:
        """Return a metric [S, U] per seed and user, as of `by_user`.

        Args:
            metric: `hit` or `ndcg`.
            side: `target`, `surrogate` or the name of a reference.
            k: cut-off of the lists.

        Raises:
            ValueError: the cells differ in their number of users.
        """
        ranks = [cell.ranks[side] for cell in self.cells]
        if any(len(of_seed) != self.rows for of_seed in ranks):
            raise ValueError(f"{self}: the cells differ in their test users")
        values, owners = METRICS[metric](np.stack(ranks), k), self.cells[0].row_users
        return values if owners is None else by_user(values, owners)

    def same_rows(self, other: "Setting") -> bool:
        """Return whether another setting has the same test rows."""
        own, others = ({cell.test_rows for cell in setting.cells} for setting in (self, other))
        return own == others

    def of_users(self, metric: str, side: str, k: int) -> np.ndarray:
        """Return a metric [U] per user, mean over seeds; arguments as of `measured`."""
        return self.measured(metric, side, k).mean(axis=0)

    def spread(self, metric: str, side: str, k: int) -> Spread:
        """Return a metric over seeds, mean over users; arguments as of `measured`."""
        return spread(self.measured(metric, side, k).mean(axis=1))

    def agreement(self, k: int) -> Spread:
        """Return agreement@k over the seeds."""
        return spread([cell.agreement[k] for cell in self.cells])

    @property
    def has_untrained(self) -> bool:
        """Whether every cell has the untrained surrogate, which a gain is measured from."""
        return all(UNTRAINED in cell.reference_ranks for cell in self.cells)

    def ratio(self, k: int) -> Interval:
        """Return NDCG@k of the surrogate over that of the target."""
        surrogate, target = (self.of_users("ndcg", side, k) for side in ("surrogate", "target"))
        return bootstrap_ratio(surrogate, target, np.random.default_rng(BOOTSTRAP_SEED))

    def gain(self, k: int) -> Interval:
        """Return NDCG@k that the surrogate has beyond the untrained one, over what the target has beyond that."""
        surrogate, target, untrained = (self.of_users("ndcg", side, k) for side in ("surrogate", "target", UNTRAINED))
        beyond = surrogate - untrained, target - untrained
        return bootstrap_ratio(*beyond, np.random.default_rng(BOOTSTRAP_SEED), signed=True)


@dataclass(kw_only=True)
class BaselineComparison:
    """A setting compared with a baseline: same users, same seeds.

    Attributes:
        setting: with the seeds of both.
        baseline: the value of the varied key in which the two differ.
        side: `target`, `surrogate` or BOTH, the surrogate's ratio over the target's.
        differences: {metric: mean of the setting minus mean of the baseline}, over users and seeds; none for BOTH.
        p_values: {metric: two-sided p of its test, not corrected}; none for BOTH.
        ratios: {metric: mean of the setting over mean of the baseline}, the interval over users; for BOTH over users
            and seeds.
        values_digest: of the values that are compared; equal where two rows of a table have the same test, as those
            of a target that several attacks were run on.
        longest: difference of NDCG at the longest cut-off, where a tail defense shows; of the target alone.
    """

    setting: Setting
    baseline: str
    side: str
    differences: dict[str, Interval]
    p_values: dict[str, float]
    ratios: dict[str, Interval]
    values_digest: str = ""
    longest: Interval | None = None


def gather(experiment: Experiment, cells: Sequence[Cell]) -> list[Setting]:
    """Return the settings that have cells, in the experiment's order.

    Args:
        experiment: the plan of the cells.
        cells: in any order.

    Raises:
        ValueError: a cell of another experiment, or two of a setting with the same seed.
    """
    planned = experiment.settings()
    settings = [Setting(values, []) for values in planned]
    for cell in sorted(cells, key=lambda cell: cell.seed):
        if cell.values not in planned:
            raise ValueError(f"experiment {experiment.name} has no setting {cell.values}")
        setting = settings[planned.index(cell.values)]
        if cell.seed in setting.seeds:
            raise ValueError(f"{setting}: two cells of seed {cell.seed}")
        setting.cells.append(cell)
    return [setting for setting in settings if setting.cells]


def headline_k(settings: Sequence[Setting]) -> int:
    """Return the cut-off of the tables: 10, or the length of the shortest served list if that is less."""
    return min(HEADLINE_K, *(setting.served_k for setting in settings))


def cut_offs(experiment: Experiment) -> list[int]:
    """Return the cut-offs of results.csv: those of every experiment, and those of `topk` in any of its settings."""
    given = [experiment.given(values, 0).get("topk", []) for values in experiment.settings()]
    return sorted({*CUT_OFFS, *(k for topk in given for k in ([topk] if isinstance(topk, int) else topk))})


def longest_k(experiment: Experiment, settings: Sequence[Setting], k: int) -> int | None:
    """Return the largest cut-off of results.csv that all served lists have, or None where it is not above k."""
    shortest = min(setting.served_k for setting in settings)
    return max((cut_off for cut_off in cut_offs(experiment) if k < cut_off <= shortest), default=None)


def agreement_k(settings: Sequence[Setting], k: int) -> int | None:
    """Return the largest cut-off <= k for which every cell has the agreement, or None."""
    common = set.intersection(*(set(cell.agreement) for setting in settings for cell in setting.cells))
    return max((measured for measured in common if measured <= k), default=None)


def comparisons(
    settings: Sequence[Setting], against: Mapping[str, list], k: int, longest: int | None = None
) -> list[BaselineComparison]:
    """Compare target and surrogate of each setting with those of its baselines.

    A baseline differs in the value of one varied key. Baselines are compared with those before them. Settings without a
    baseline, without a common seed or with other test rows, as of other data, are left out.

    Args:
        settings: of one experiment.
        against: {varied key: its values that are baselines}.
        k: cut-off of the metrics.
        longest: of the target's NDCG besides; None: not measured.
    """
    compared = []
    for setting, (key, baselines) in itertools.product(settings, against.items()):
        own = setting.values.get(key)
        for baseline in baselines[: baselines.index(own)] if own in baselines else baselines:
            other = next((other for other in settings if other.values == {**setting.values, key: baseline}), None)
            if other is None or not setting.same_rows(other):
                continue
            if seeds := [seed for seed in setting.seeds if seed in other.seeds]:
                pair = setting.with_seeds(seeds), other.with_seeds(seeds)
                target, surrogate = (_compare(*pair, str(baseline), side, k) for side in SIDES)
                if longest:
                    own_values, other_values = (one.measured("ndcg", "target", longest) for one in pair)
                    target.longest = paired_difference(own_values, other_values)
                compared += [target, surrogate]
                compared.append(
                    BaselineComparison(
                        setting=pair[0],
                        baseline=str(baseline),
                        side=BOTH,
                        differences={},
                        p_values={},
                        ratios=_beyond_cost(*pair, k),
                    )
                )
    return compared


def _beyond_cost(setting: Setting, other: Setting, k: int) -> dict[str, Interval]:
    def ratio(metric: str) -> Interval:
        surrogate, target = (setting.measured(metric, side, k) for side in ("surrogate", "target"))
        return ratio_of_ratios(
            surrogate, target, other.measured(metric, "surrogate", k), other.measured(metric, "target", k)
        )

    return {metric: ratio(metric) for metric in METRICS}


def _p_value(metric: str, values: np.ndarray, others: np.ndarray) -> float:
    """Return the p of a difference; of hits of one seed that of an exact test, where each user has one test row."""
    hit_or_not = metric == "hit" and len(values) == 1 and bool(np.isin([values, others], (0, 1)).all())
    return sign_test(values[0], others[0]) if hit_or_not else paired_p(values, others)


def _compare(setting: Setting, other: Setting, baseline: str, side: str, k: int) -> BaselineComparison:
    measured = {metric: (setting.measured(metric, side, k), other.measured(metric, side, k)) for metric in METRICS}
    users = {metric: (values.mean(axis=0), others.mean(axis=0)) for metric, (values, others) in measured.items()}
    digest = hashlib.sha256(b"".join(values.tobytes() for both in measured.values() for values in both))
    return BaselineComparison(
        setting=setting,
        baseline=baseline,
        side=side,
        differences={metric: paired_difference(*both) for metric, both in measured.items()},
        p_values={metric: _p_value(metric, *both) for metric, both in measured.items()},
        ratios={
            metric: bootstrap_ratio(*both, np.random.default_rng(BOOTSTRAP_SEED)) for metric, both in users.items()
        },
        values_digest=digest.hexdigest(),
    )
