"""Check what others return as lists of item ids: defenses, attackers, references and scripts."""

from typing import Any

import torch
from torch import Tensor

LISTS_AT_ONCE = 2**15  # lists that are sorted at a time


def are_ids(values: Any) -> bool:
    """Say whether values are a tensor of integers; truth values are none."""
    is_tensor = isinstance(values, Tensor)
    return is_tensor and not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)


def fault_of_ids(ids: Tensor, n_items: float) -> str | None:
    """Return what is wrong with item ids [.., k] that 0 pads at the end, for a message; None if nothing is.

    Args:
        ids: integers, at least one.
        n_items: size of the id space, padding included.
    """
    if ids.dtype in (torch.uint16, torch.uint32, torch.uint64):
        ids = ids.long()  # torch finds no minimum of these
    if not 0 <= int(ids.min()) <= int(ids.max()) < n_items:
        return f"have ids from {ids.min()} to {ids.max()}; items are 1 to {n_items - 1}"
    if bool(((ids[..., 1:] != 0) & (ids[..., :-1] == 0)).any()):
        return "have 0 before an item; 0 pads their end"
    return None


def fault_of_lists(lists: Tensor, n_items: float) -> str | None:
    """Return what is wrong with lists [.., k] of different items that 0 pads at the end; None if nothing is.

    Args:
        lists: integers, at least one.
        n_items: size of the id space, padding included.
    """
    if fault := fault_of_ids(lists, n_items):
        return fault
    if any(map(has_item_twice, lists.flatten(0, -2).split(LISTS_AT_ONCE))):
        return "have an item twice; the items of a list differ"
    return None


def has_item_twice(lists: Tensor) -> bool:
    """Say whether a list [B, k] has an item twice; 0, which pads lists, is none."""
    in_order = lists.sort(1).values
    return bool(((in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] != 0)).any())
