"""The authors' filter of rare items and users: one pass per column."""

from collections.abc import Callable, Mapping

import pandas as pd


def dropped_once(interactions: pd.DataFrame, fits: Mapping[str, Callable[[pd.Series], pd.Series]]) -> pd.Index:
    """Return the rows to drop when each column is filtered once, in the order of `fits`.

    A later pass may leave fewer interactions of an item or user than an earlier one requires; RecBole's filter repeats
    until every count fits.

    Args:
        interactions: one per row, with a unique index.
        fits: {column: function from the counts of its values to whether they may stay}.

    Returns:
        The index of the rows to drop, in ascending order.
    """
    left = interactions
    for column, fit in fits.items():
        left = left[fit(left.groupby(column, observed=True)[column].transform("size"))]
    return interactions.index.difference(left.index)
