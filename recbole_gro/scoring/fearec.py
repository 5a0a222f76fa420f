"""FEARec, whose loss looks up whole rows of its training data."""

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_gro.scoring.base import NextItemScorer, register_scorer
from recbole_gro.utils.patching import replaced


class LazyColumn:
    """Stand in for a list column of a dataset; build each row when it is read."""

    def __init__(self, dataset: Any, field: str):
        self.dataset, self.field = dataset, field

    def __getitem__(self, row: int) -> Tensor:
        return self.dataset[int(row)][self.field]


@register_scorer("FEARec")
class FEARecScorer(NextItemScorer):
    """Give FEARec's loss whole rows of `inter_feat`; it contrasts rows with the same next item.

    The datasets of this package store pointers into the histories there, and build the lists when a row is read.
    """

    def loss(self, interaction: Interaction) -> Tensor:
        with self._rows_readable():
            return super().loss(interaction)

    @contextlib.contextmanager
    def _rows_readable(self) -> Iterator[None]:
        dataset, fields = self.model.dataset, (self.model.ITEM_SEQ, self.model.ITEM_SEQ_LEN)
        if fields[0] in dataset.inter_feat.interaction:
            yield
            return
        columns = {field: LazyColumn(dataset, field) for field in fields}
        with replaced(self.model, "dataset", SimpleNamespace(inter_feat=columns)):
            yield
