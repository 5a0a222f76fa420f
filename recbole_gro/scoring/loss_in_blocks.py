"""A model's own cross-entropy, computed in blocks of positions without a change of its code."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from recbole_gro.scoring.picked_scores import Product, product_of
from recbole_gro.scoring.score_blocks import cross_entropy_in_blocks


class LossInBlocks(TorchFunctionMode):
    """Compute the cross-entropy of a model's loss without a table of all scores, inside a `with` block.

    RecBole's models multiply N outputs and the embeddings of all items, and take the cross-entropy of the table. With
    its gradient, this is a large part of a training step where there are many items. Here the product waits until
    something reads it. If that is `cross_entropy`, it is computed by `score_blocks`; if it is anything else, all scores
    are computed, as without this block.

    For models of RecBole's. What PyTorch does not call by `__torch_function__`, such as an autograd.Function or code
    that keeps its scores, would read a table of zeros.

    Args:
        n_items: columns of the scores, padding included.
    """

    def __init__(self, n_items: int):
        super().__init__()
        self.n_items = n_items
        self._waiting: dict[int, tuple[Product, Tensor]] = {}  # by the id of what stands for the scores
        self._computed: dict[int, Tensor] = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        key = id(args[0]) if args else None
        if func is functional.cross_entropy and key in self._waiting and key not in self._computed:
            waiting, _ = self._waiting[key]
            if _is_mean_of_positives(waiting, args, kwargs):
                return cross_entropy_in_blocks(waiting, args[1])
        if self._waiting:
            args, kwargs = tree_map(self._scores, (args, kwargs))
        product = None if kwargs or not torch.is_grad_enabled() else product_of(func, args, self.n_items)
        if product is None or any(part.dtype != torch.float32 for part in product if part is not None):
            return func(*args, **kwargs)
        stands_for = product.outputs.new_zeros(1, 1).expand(len(product.outputs), self.n_items)
        self._waiting[id(stands_for)] = product, stands_for  # which is kept, so that no other tensor gets its id
        return stands_for

    def _scores(self, value: Any) -> Any:
        """Return the scores that a value stands for, or the value."""
        return self._table(id(value)) if id(value) in self._waiting else value

    def _table(self, key: int) -> Tensor:
        """Return all scores of a product, computed once: a loss may write to them."""
        if key not in self._computed:
            self._computed[key] = functional.linear(*self._waiting[key][0])
        return self._computed[key]


def _is_mean_of_positives(product: Product, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Return whether a call of `functional.cross_entropy` is the mean over rows, with one positive item in each."""
    plain = {"reduction": "mean", "ignore_index": -100, "label_smoothing": 0.0}
    if len(args) != 2 or any(isinstance(v, Tensor) or v != plain.get(name) for name, v in kwargs.items()):
        return False
    positives = args[1]
    return positives.shape == (len(product.outputs),) and len(positives) > 0 and bool((positives >= 0).all())
