"""The authors' filter of rare items and users, which looks at each column once."""

from collections.abc import Callable, Mapping

import pandas as pd


def dropped_once(interactions: pd.DataFrame, fits: Mapping[str, Callable[[pd.Series], pd.Series]]) -> pd.Index:
    """Which interactions go when each column is filtered once, in the order of `fits`.

    A later pass may leave fewer interactions of an item or user than an earlier one asked for, where RecBole's filter
    goes on until every count fits.

    Args:
        interactions: one a row, with an index that has no value twice.
        fits: column -> which counts of its values may stay, a truth for each of them.

    Returns:
        the index of the rows to drop, in ascending order.
    """
    left = interactions
    for column, fit in fits.items():
        left = left[fit(left.groupby(column)[column].transform("size"))]
    return interactions.index.difference(left.index)
