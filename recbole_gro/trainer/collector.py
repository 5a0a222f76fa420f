"""RecBole's collection of what its metrics need, in one ranking per batch."""

from typing import Any

import torch
from recbole.evaluator.collector import Collector, DataStruct
from torch import Tensor

from recbole_gro.utils.ranking import top_columns

OF_RANKS = ("rec.items", "rec.topk")
JOINED_AT_ONCE = 64  # batches; small tensors that stay between large ones that are freed leave gaps in memory
OF_SCORES = ("rec.meanrank", "rec.score", "data.label")


class RankCollector(Collector):
    """Collect the values that RecBole's collector does.

    RecBole ranks all items for each kind of value, and marks the relevant item of a row in a table as large as the
    scores. Where metrics need ranks alone, a batch is ranked once and the ranking is compared with the relevant items.
    Batches are joined many at a time; RecBole copies all earlier ones for each.

    Args:
        config: RecBole's Config or ours.
    """

    def __init__(self, config: Any):
        super().__init__(config)
        self._ranked: list[tuple[Tensor, Tensor]] = []

    def eval_batch_collect(self, scores_tensor: Tensor, interaction: Any, positive_u: Tensor, positive_i: Tensor):
        """Collect a batch of scores [N, n_items]; in row positive_u[i] item positive_i[i] is relevant."""
        one_per_row = torch.equal(positive_u, torch.arange(len(scores_tensor), device=positive_u.device))
        if not one_per_row or any(map(self.register.need, OF_SCORES)):
            self._join()
            super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)
        elif any(map(self.register.need, OF_RANKS)):
            self.collect_ranked(top_columns(scores_tensor, max(self.topk)), positive_i)

    def collect_ranked(self, ranked: Tensor, relevant: Tensor) -> None:
        """Collect ranked items [N, max(topk)], best first, of rows with one relevant item [N] each."""
        self._ranked.append((ranked, relevant.to(ranked.device)))
        if len(self._ranked) == JOINED_AT_ONCE:
            self._join()

    def get_data_struct(self) -> DataStruct:
        """Return what has been collected, and forget the rows."""
        self._join()
        return super().get_data_struct()

    def _join(self) -> None:
        if not self._ranked:
            return
        ranked, relevant = (torch.cat(parts) for parts in zip(*self._ranked, strict=True))
        self._ranked = []
        found = ranked == relevant.unsqueeze(1)
        values = {"rec.items": ranked, "rec.topk": torch.cat([found, torch.ones_like(found[:, :1])], 1).long()}
        for name in filter(self.register.need, OF_RANKS):
            self.data_struct.update_tensor(name, values[name])
