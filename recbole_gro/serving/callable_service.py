"""A service around any function from item sequences to lists."""

from collections.abc import Callable, Mapping, Set
from typing import Any

import torch
from torch import Tensor

from recbole_gro.serving.service import check_k, histories_of, is_whole
from recbole_gro.utils.errors import UserError


class CallableService:
    """Serve the lists of a function, such as a recommender that is no RecBole model.

    Args:
        function: maps a list of B item id lists, most recent item last, to B lists of item ids, best first; a list may
            have fewer than k items.
        n_items: size of the id space; item ids are 1 .. n_items - 1.
        k: length of a list.

    Raises:
        UserError: no whole number of items, or lists longer than the catalogue.
    """

    def __init__(self, function: Callable[[list[list[int]]], Any], n_items: int, k: int = 100):
        if not is_whole(n_items) or n_items < 2:
            raise UserError(f"n_items: {n_items!r} is no size of an id space; take the number of items plus 1")
        check_k(k, n_items)
        self.function, self.n_items, self.k = function, n_items, k

    def recommend(self, sequences: Any) -> Tensor:
        """Return lists [B, k] of item ids, best first; 0 pads those that have fewer.

        Args:
            sequences: [B, L] item ids padded right with 0, or a list of id lists.

        Raises:
            ValueError: no integers, an empty sequence, padding before an item, or an id outside the catalogue
                (InvalidQuery).
            UserError: the function returned anything but one list of different items per sequence.
        """
        padded, lengths = histories_of(sequences, self.n_items)
        rows = [row[:length] for row, length in zip(padded.tolist(), lengths.tolist(), strict=True)]
        returned = self.function([*map(list, rows)])  # which may change its argument
        try:
            lists = [[_whole(item) for item in _ordered(row)][: self.k] for row in _ordered(returned)]
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(
                f"service: the function must return lists of item ids, one per sequence: {error}"
            ) from error
        if len(lists) != len(rows):
            raise UserError(f"service: the function returned {len(lists)} lists for {len(rows)} sequences")
        table = torch.zeros(len(lists), self.k, dtype=torch.long)
        for number, row in enumerate(lists):
            if len(set(row)) < len(row) or any(not 0 < item < self.n_items for item in row):
                raise UserError(
                    f"service: list {number} of the function is not of different items between 1 and {self.n_items - 1}"
                )
            table[number, : len(row)] = torch.tensor(row, dtype=torch.long)
        return table


def _ordered(row: Any) -> Any:
    """Return what has its parts in an order of its own, unlike a set or a mapping, and is no text."""
    if isinstance(row, str | bytes | Set | Mapping):
        raise TypeError(f"{type(row).__name__} is no list")
    return row


def _whole(item: Any) -> int:
    """Return an item id as an int; a text of digits is one too."""
    if isinstance(item, bool) or (isinstance(item, str) and not item.isdecimal()):
        raise ValueError(f"{item!r} is no item id")
    number = int(item)
    if not isinstance(item, str) and number != item:
        raise ValueError(f"{item} is no item id")
    return number
