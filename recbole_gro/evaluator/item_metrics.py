"""RecBole's metrics of the items in lists (coverage, popularity, diversity), without the 0 that pads short lists.

RecBole's lists always have k items. Those of a service may have fewer: `truncate`, `exclude_seen` and a user's own
history leave some, and RecBole's metrics would count their padding as an item. Of full lists both give the same.
"""

from typing import Any

import numpy as np
from recbole.evaluator import metrics, register


class ItemCoverage(metrics.ItemCoverage):
    """RecBole's ItemCoverage of the items in lists."""

    def get_coverage(self, item_matrix: np.ndarray, num_items: int) -> float:
        """Return the share of `num_items` ids, padding among them as in RecBole, that lists [N, k] have."""
        return super().get_coverage(_in_one_row(item_matrix), num_items)


class ShannonEntropy(metrics.ShannonEntropy):
    """RecBole's ShannonEntropy of the items in lists."""

    def get_entropy(self, item_matrix: np.ndarray) -> float:
        """Return the entropy of the items of lists [N, k], as RecBole defines it; 0 without an item."""
        items = _in_one_row(item_matrix)
        return super().get_entropy(items) if items.size else 0.0


class GiniIndex(metrics.GiniIndex):
    """RecBole's GiniIndex of the items in lists."""

    def get_gini(self, item_matrix: np.ndarray, num_items: int) -> float:
        """Return the Gini index of the items of lists [N, k]; 0 without an item."""
        items = _in_one_row(item_matrix)
        return super().get_gini(items, num_items) if items.size else 0.0


class MeanOfListed:
    """Divide the sums of a metric by the number of items in each list; an empty list counts 0."""

    def calculate_metric(self, dataobject: Any) -> dict[str, float]:
        """Return the metric at each k of `topk`."""
        items = dataobject.get("rec.items").numpy()
        self._listed = np.maximum((items != 0).cumsum(axis=1), 1)
        return super().calculate_metric(dataobject)  # type: ignore[misc]

    def metric_info(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of values [N, k] over the first 1 to k items of each list."""
        return values.cumsum(axis=1) / self._listed


class AveragePopularity(MeanOfListed, metrics.AveragePopularity):
    """RecBole's AveragePopularity of the items in lists."""


class TailPercentage(MeanOfListed, metrics.TailPercentage):
    """RecBole's TailPercentage of the items in lists."""

    def get_tail(self, item_matrix: np.ndarray, count_items: dict[int, int]) -> np.ndarray:
        """Return whether each item of lists [N, k] is in the tail, 0 or 1."""
        # RecBole searches the whole tail for each entry: minutes for 100,000 lists of 20,000 items
        items, place = np.unique(item_matrix, return_inverse=True)
        in_tail = super().get_tail(items[np.newaxis], count_items)[0]
        return in_tail[place].reshape(item_matrix.shape)


def _in_one_row(lists: np.ndarray) -> np.ndarray:
    """Return the items [1, n] of lists [N, k]."""
    return lists[lists != 0][np.newaxis]


for metric in (ItemCoverage, ShannonEntropy, GiniIndex, AveragePopularity, TailPercentage):
    register.metrics_dict[metric.__name__.lower()] = metric
