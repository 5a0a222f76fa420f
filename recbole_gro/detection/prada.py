"""The detector of unnatural distances between successive queries."""

import torch
from torch import Tensor

from recbole_gro.detection.base import Detector, register_detector
from recbole_gro.detection.traces import Traces

FEWEST = 5  # distances that a test of normality takes
AT_ONCE = 2**22  # entries of distance matrices
EQUAL = 1e-4  # distance of queries that differ in rounding alone, in deviations of benign ones


@register_detector("prada")
class PRADADetector(Detector):
    """Test whether the distance of each query to the nearest one before it is normally distributed.

    The queries are those of the prefixes of a history, or those of the histories of a window, in their order. Equal
    queries of a window count once: the benign windows that give thresholds are drawn with replacement. The score
    is 1 - W' of Shapiro and Francia's test, which has the correlation of the ordered distances with normal scores in
    place of Shapiro and Wilk's W; outliers are not removed. Source: PRADA (Juuti et al., EuroS&P 2019, arXiv
    1805.02628), there with the distances of images of a predicted class.
    """

    def fit(self, benign: Traces) -> None:
        queries = benign.embeddings[benign.items != 0]
        # distances keep their digits near 0 alone
        self.mean, self.scale = queries.mean(0), queries.std(0).clamp(min=1e-6)

    def scores(self, traces: Traces) -> Tensor:
        length = traces.items.shape[1]
        scores = torch.zeros(len(traces), length)
        rows = max(1, AT_ONCE // length**2)
        nearest = torch.cat([_nearest((part - self.mean) / self.scale) for part in traces.embeddings.split(rows)])
        for n in range(FEWEST, length):  # of a history's positions, not of its rows
            scores[:, n] = abnormality(nearest[:, :n])
        return scores

    def window_scores(self, traces: Traces, size: int) -> Tensor:
        queries = ((traces.embeddings[:, 0] - self.mean) / self.scale).unflatten(0, (-1, size))
        scores = []
        for part in queries.split(max(1, AT_ONCE // size**2)):
            nearest = _nearest(part)
            scores.append(abnormality(nearest, nearest > EQUAL))
        return torch.cat(scores)


def _nearest(queries: Tensor) -> Tensor:
    """Return the distance [B, n - 1] of each of queries [B, n, D] but the first to the nearest one before it."""
    # products of matrices, which cdist takes for more than 25 queries, padding included, lose the digits near 0
    distances = torch.cdist(queries, queries, compute_mode="donot_use_mm_for_euclid_dist")
    later = torch.ones(distances.shape[1:], dtype=torch.bool).triu()
    return distances.masked_fill(later, torch.inf)[:, 1:].amin(2)


def abnormality(values: Tensor, counted: Tensor | None = None) -> Tensor:
    """Return 1 - W' [B] of values [B, n]: 0 where their order statistics are those of a normal distribution.

    W' is the squared correlation of the ordered values with Blom's normal scores; 1 - W' is 1 where all are equal.

    Args:
        values: in any order.
        counted: [B, n] which of them count; all by default. Fewer than FEWEST give 0.
    """
    counted = torch.ones(values.shape, dtype=torch.bool) if counted is None else counted
    n = counted.sum(1, keepdim=True)
    number = torch.arange(1, values.shape[1] + 1)
    kept = number <= n
    place = ((number - 0.375).double() / (n + 0.25)).where(kept, 0.5)  # the score of 0.5 is 0
    normal = torch.special.ndtri(place)
    ordered = values.double().masked_fill(~counted, torch.inf).sort(1).values.where(kept, 0.0)
    ordered = (ordered - ordered.sum(1, keepdim=True) / n.clamp(min=1)).where(kept, 0.0)
    spread = ordered.square().sum(1) * normal.square().sum(1)
    return (1 - (ordered * normal).sum(1).square() / spread.clamp(min=1e-12)).where(n[:, 0] >= FEWEST, 0.0).float()
