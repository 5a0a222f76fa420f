"""Checks of the items that query strategies and functions of users choose for query sequences."""

from typing import Any

import torch
from torch import Tensor

from recbole_gro.utils.errors import UserError, kind_of
from recbole_gro.utils.item_lists import are_ids


def checked_items(chosen: Any, n_sequences: int, n_items: int, source: str) -> Tensor:
    """Return the next item [S] of each sequence, as int64.

    Args:
        chosen: a tensor, or what torch makes one of.
        n_sequences: S.
        n_items: size of the id space; items are 1 .. n_items - 1.
        source: names the setting and the function in the message.

    Raises:
        UserError: it is no item of the catalogue per sequence.
    """
    items = _ids(chosen)
    if items is None or items.shape != (n_sequences,):
        wrong = kind_of(chosen) if items is None else f"{list(items.shape)} for {n_sequences} sequences"
    elif n_sequences and not 0 < int(items.min()) <= int(items.max()) < n_items:
        wrong = f"ids from {items.min()} to {items.max()}"
    else:
        return items.long()
    raise UserError(f"{source} must return one item id of 1 to {n_items - 1} per sequence; it returned {wrong}")


def checked_prefixes(chosen: Any, shape: tuple[int, int], n_items: int, source: str) -> Tensor:
    """Return the items [S, L] that sequences start with, as int64; 0 where a next one is to be chosen.

    How many sequences there may be is left to the budget.

    Args:
        chosen: a tensor, or what torch makes one of.
        shape: (S, L).
        n_items: size of the id space; items are 1 .. n_items - 1.
        source: names the setting and the function in the message.

    Raises:
        UserError: it has another shape, a sequence without a first item, or ids outside the catalogue.
    """
    items = _ids(chosen)
    if items is None or items.dim() != 2 or len(items) == 0 or items.shape[1] != shape[1]:
        wrong = kind_of(chosen) if items is None else str(list(items.shape))
    elif not 0 <= int(items.min()) <= int(items.max()) < n_items:
        wrong = f"ids from {items.min()} to {items.max()}"
    elif bool((items[:, 0] == 0).any()):
        wrong = "a sequence without a first item"
    else:
        return items.long()
    raise UserError(
        f"{source} must return item ids {list(shape)} of 1 to {n_items - 1}, at least the first of each sequence, and "
        f"0 where a next one is to be chosen; it returned {wrong}"
    )


def _ids(chosen: Any) -> Tensor | None:
    """Return whole numbers as a tensor of the CPU; None for anything else."""
    try:
        items = torch.as_tensor(chosen)
    except (TypeError, ValueError, RuntimeError):
        return None
    return items.cpu() if are_ids(items) else None
