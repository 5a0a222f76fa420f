"""RecBole's collection of what its metrics need, in one ranking per batch."""

from typing import Any

import torch
from recbole.evaluator.collector import Collector
from torch import Tensor

from recbole_gro.utils.ranking import top_columns

OF_RANKS = ("rec.items", "rec.topk")
OF_SCORES = ("rec.meanrank", "rec.score", "data.label")


class RankCollector(Collector):
    """Collect the values that RecBole's collector does.

    RecBole ranks all items for each kind of value, and marks the relevant item of a row in a table as large as the
    scores. Where metrics need ranks alone, a batch is ranked once and the ranking is compared with the relevant items.
    """

    def eval_batch_collect(
        self, scores_tensor: Tensor, interaction: Any, positive_u: Tensor | None, positive_i: Tensor | None
    ):
        """Collect a batch of scores [N, n_items]; in row positive_u[i] item positive_i[i] is relevant.

        Where labels are evaluated (mode `labeled`) the scores [N] are those of the rows' own items, and both are None.
        """
        of_scores = any(map(self.register.need, OF_SCORES))
        if of_scores or positive_u is None or positive_i is None or not _one_per_row(positive_u, len(scores_tensor)):
            super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)
        elif any(map(self.register.need, OF_RANKS)):
            self.collect_ranked(top_columns(scores_tensor, max(self.topk)), positive_i)

    def collect_ranked(self, ranked: Tensor, relevant: Tensor) -> None:
        """Collect ranked items [N, max(topk)], best first, of rows with one relevant item [N] each."""
        found = ranked == relevant.to(ranked.device).unsqueeze(1)
        values = {"rec.items": ranked, "rec.topk": torch.cat([found, torch.ones_like(found[:, :1])], 1).long()}
        for name in filter(self.register.need, OF_RANKS):
            self.data_struct.update_tensor(name, values[name])


def _one_per_row(positive_u: Tensor, rows: int) -> bool:
    return torch.equal(positive_u, torch.arange(rows, device=positive_u.device))
