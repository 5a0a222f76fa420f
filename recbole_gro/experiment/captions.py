"""Captions of an experiment's tables: what the columns hold, and how their intervals and tests are computed."""

from collections.abc import Sequence

from recbole_gro.experiment.reference_rows import meanings
from recbole_gro.experiment.statistics import FEW, LEVEL, RESAMPLES
from recbole_gro.experiment.summary import BOTH, Setting

UNDEFINED = "n/a"


def results_caption(
    settings: Sequence[Setting],
    k: int,
    *,
    longest: int | None,
    agreement_at: int | None,
    gained: bool,
    references: Sequence[str],
) -> str:
    """Return the caption of the table of results.

    Args:
        settings: its rows.
        k: cut-off of its metrics.
        longest: cut-off of the target's other NDCG; None where it has none.
        agreement_at: number of items that agreement is measured on; None where it is not.
        gained: whether it has the gain.
        references: names of those that it has rows of.
    """
    splits = dict.fromkeys(cell.facts["split"] for setting in settings for cell in setting.cells)
    caption = (
        "Target and surrogate on the test items, one row per setting. Percent, mean ± sample standard deviation over "
        f"seeds ({UNDEFINED}: not defined for one seed), full ranking over all items, {', '.join(splits)}, of the "
        f"served list. The ratio has a {LEVEL:.0%} bootstrap interval: {RESAMPLES} resamples of the users, the same "
        f"for both, of their means over seeds, or a t interval of its logarithm where fewer than {FEW} users have the "
        f"metric of one; it does not cover the variance between seeds. {UNDEFINED} in its place: in some resample the "
        "target's metric is 0, or at most one user has the surrogate's."
    )
    if longest:
        caption += f" NDCG@{longest} of the target: what users pay for a defense that changes lists below {k}."
    if gained:
        caption += (
            f" Gain: NDCG@{k} that the surrogate has beyond the untrained one, over what the target has beyond that, "
            "with the same kind of interval; where it includes 0, the surrogate gained no more than noise. "
            f"{UNDEFINED} there: in some resample the target has nothing beyond the untrained one, or the surrogate "
            "has the same as that for each user."
        )
    if any(setting.users < setting.rows for setting in settings):
        caption += " The test items of a user count together wherever users are compared or resampled."
    if agreement_at:
        caption += (
            f" Agreement: share of the first {agreement_at} served items among the surrogate's first {agreement_at}."
        )
    if references:
        caption += (
            f" The last rows are references, their agreement is with the undefended target. {meanings(references)}."
        )
    return caption


def comparison_caption(baselines: str, n_tests: int, longest: int | None) -> str:
    """Return the caption of the table of paired comparisons.

    Args:
        baselines: what each setting is compared with, in words.
        n_tests: number of different p-values.
        longest: cut-off of the target's other NDCG; None where the table has none.
    """
    caption = (
        f"Each setting less its baselines ({baselines}) with the same other values, seeds and users; settings without "
        f"one are left out. Percentage points with a {LEVEL:.0%} t interval for other users and other seeds (for other "
        "users alone, with one seed), not corrected for the number of rows. Two-sided p-values of tests for the same, "
        "below 0.05 where the interval excludes 0 (HR with one seed and one test row per user: McNemar's exact test); "
        f"all {n_tests} different ones corrected by Holm, {UNDEFINED} where no user "
        f"differs, as with the same target on both sides. Ratio: of the means, {LEVEL:.0%} bootstrap interval as "
        f"above. {BOTH}: the surrogate's ratio over the target's, with a t interval for the same; below 1 "
        "the surrogate lost more than the target did."
    )
    if longest:
        caption += f" NDCG@{longest}: of the target alone, and without a test; a defense of the tail shows there."
    return caption
