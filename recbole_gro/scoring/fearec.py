"""FEARec, whose loss looks up whole rows of its training data."""

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
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

    The datasets of this package store pointers into the histories there, and build the lists when a row is read. FEARec
    of RecBole 1.2.0 draws rows until one has another history, for ever where all with the same next item have the same:
    of these it is given one, which it then takes.
    """

    _rows_by_item: dict[int, np.ndarray] | None = None

    def loss(self, interaction: Interaction) -> Tensor:
        with self._rows_readable():
            if self._rows_by_item is None:
                self._rows_by_item = self._with_other_histories()
            with replaced(self.model, "same_item_index", self._rows_by_item):
                return super().loss(interaction)

    def _with_other_histories(self) -> dict[int, np.ndarray]:
        """Return FEARec's {item: rows whose next item it is}, with one row where all have the same history."""
        histories = self.model.dataset.inter_feat[self.model.ITEM_SEQ]
        found = {}
        for item, rows in self.model.same_item_index.items():
            first = histories[rows[0]]
            differ = any(not torch.equal(first, histories[row]) for row in rows[1:])
            found[item] = rows if differ else rows[:1]
        return found

    @contextlib.contextmanager
    def _rows_readable(self) -> Iterator[None]:
        dataset, fields = self.model.dataset, (self.model.ITEM_SEQ, self.model.ITEM_SEQ_LEN)
        if fields[0] in dataset.inter_feat.interaction:
            yield
            return
        columns = {field: LazyColumn(dataset, field) for field in fields}
        with replaced(self.model, "dataset", SimpleNamespace(inter_feat=columns)):
            yield
