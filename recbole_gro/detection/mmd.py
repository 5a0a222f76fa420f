"""The detector of a shifted distribution: maximum mean discrepancy between queries and benign traffic."""

import torch
from torch import Tensor

from recbole_gro.detection.base import Detector, register_detector
from recbole_gro.detection.traces import Traces

REFERENCE = 2000  # benign queries that others are compared with
AT_ONCE = 2**22  # entries of a kernel matrix


@register_detector("mmd")
class MMDDetector(Detector):
    """Test whether queries have the distribution of benign ones: the squared maximum mean discrepancy of embeddings.

    MMD^2 = mean k(x, x') - 2 mean k(x, y) + mean k(y, y') over queries x and benign queries y, with a Gaussian kernel
    whose width is the median distance of benign queries. The queries are those of the prefixes of a history, or those
    of the histories of a window. Source: Liu, Guo and Dong, arXiv 2606.05725, there with a text encoder.
    """

    def fit(self, benign: Traces) -> None:
        queries = benign.embeddings[benign.items != 0]
        draw = torch.Generator().manual_seed(0)
        queries = queries[torch.randperm(len(queries), generator=draw)[:REFERENCE]]
        self.centre, self.scale = queries.mean(0), queries.std(0).clamp(min=1e-6)
        self.reference = (queries - self.centre) / self.scale
        distances = torch.pdist(self.reference)
        self.width = float(distances.median().clamp(min=1e-6)) if len(distances) else 1.0
        self.within = float(self._mean_kernel(self.reference).mean())

    def _kernel(self, queries: Tensor, others: Tensor) -> Tensor:
        return (torch.cdist(queries, others).square() / (-2 * self.width**2)).exp()

    def _mean_kernel(self, queries: Tensor) -> Tensor:
        """Return the mean kernel [n] of queries [n, D] with the reference."""
        parts = queries.split(max(1, AT_ONCE // len(self.reference)))
        return torch.cat([self._kernel(part, self.reference).mean(1) for part in parts])

    def scores(self, traces: Traces) -> Tensor:
        length = traces.items.shape[1]
        number = torch.arange(1, length + 1)
        scores = []
        for rows in traces.embeddings.split(max(1, AT_ONCE // length**2)):
            queries = (rows - self.centre) / self.scale
            sums = self._kernel(queries, queries).cumsum(1).cumsum(2).diagonal(dim1=1, dim2=2)
            across = self._mean_kernel(queries.flatten(0, 1)).view(len(rows), length).cumsum(1)
            scores.append(sums / number**2 - 2 * across / number + self.within)
        return torch.cat(scores)

    def window_scores(self, traces: Traces, size: int) -> Tensor:
        queries = (traces.embeddings[:, 0] - self.centre) / self.scale
        across = self._mean_kernel(queries).view(-1, size).mean(1)
        windows = queries.unflatten(0, (-1, size)).split(max(1, AT_ONCE // size**2))
        within = torch.cat([self._kernel(part, part).mean((1, 2)) for part in windows])
        return within - 2 * across + self.within
