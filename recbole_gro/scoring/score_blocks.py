"""Scores and cross-entropy over a large catalogue on a CPU, some training positions at a time.

A table of 512 positions by 20,000 items has 40 MiB. Cross-entropy and its gradient write and read several of them; the
scores of a block are read again while they are at hand, by the lists and swap targets of GRO too.

PyTorch's own `linear_cross_entropy` in chunks (2.13) does not replace it: it gives no scores to those readers, takes
the gradient for a constant where that is to have a gradient, and is not in the older versions that the package takes.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from recbole_gro.scoring.picked_scores import Product, gradients_of

LARGE = 2**12  # items from which on blocks are used; with fewer they save little (benchmarks/score_blocks.py)
AT_ONCE = 128  # positions of a block


def blocks_are_faster(n_items: int, device: torch.device) -> bool:
    """Return whether to compute losses of a model in blocks: large catalogues, on a CPU, in full precision."""
    return n_items >= LARGE and device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def score_blocks(*products: Product) -> Iterator[tuple[slice, list[Tensor]]]:
    """Yield blocks of positions, and the scores [n, n_items] there by each product, in memory that the next ones take.

    Args:
        products: operands for the same N positions, in float32.
    """
    n = len(products[0].outputs)
    tables = [product.outputs.new_empty(min(AT_ONCE, n), len(product.weights)) for product in products]
    for first in range(0, n, AT_ONCE):
        rows = slice(first, min(first + AT_ONCE, n))
        with torch.no_grad():
            scores = [
                torch.mm(product.outputs[rows], product.weights.t(), out=table[: rows.stop - first])
                for product, table in zip(products, tables, strict=True)
            ]
            for table, product in zip(scores, products, strict=True):
                if product.bias is not None:
                    table += product.bias
        yield rows, scores


class CrossEntropy:
    """Add up the cross-entropy of scores = outputs @ weights.T + bias and its gradient, block by block.

    Args:
        product: the operands, which the gradient goes to.
        positives: [N] item ids.
    """

    def __init__(self, product: Product, positives: Tensor):
        self.product, self.positives = product, positives.unsqueeze(1)
        with torch.no_grad():
            self._loss = product.outputs.new_zeros(())
            bias = None if product.bias is None else torch.zeros_like(product.bias)
            self._gradients = Product(torch.zeros_like(product.outputs), torch.zeros_like(product.weights), bias)

    @torch.no_grad()
    def add(self, rows: slice, scores: Tensor) -> None:
        """Add a block.

        Args:
            rows: its positions.
            scores: [n, n_items] of `score_blocks`, which are overwritten.
        """
        outputs, weights, _ = self.product
        self._loss += _to_gradient(scores, self.positives[rows], len(outputs))
        of_outputs, of_weights, of_bias = self._gradients
        torch.mm(scores, weights, out=of_outputs[rows])
        of_weights.addmm_(scores.t(), outputs[rows])
        if of_bias is not None:
            of_bias += scores.sum(0)

    def mean(self) -> Tensor:
        """Return the mean [] over the positions, differentiable."""
        return _WithGradients.apply(self._loss, self.positives.squeeze(1), *self._gradients, *self.product)


def cross_entropy_in_blocks(product: Product, positives: Tensor) -> Tensor:
    """Return what `functional.cross_entropy` does of scores = outputs @ weights.T + bias.

    >>> torch.manual_seed(1)
    <torch._C.Generator object at ...>
    >>> outputs, weights, positives = torch.randn(4, 8), torch.randn(9, 8), torch.tensor([1, 8, 3, 1])
    >>> ours = cross_entropy_in_blocks(Product(outputs, weights), positives)
    >>> torch.allclose(ours, torch.nn.functional.cross_entropy(outputs @ weights.T, positives))
    True

    Args:
        product: the operands, in float32 on a CPU; gradients go to them.
        positives: [N] item ids, N at least 1.
    """
    total = CrossEntropy(product, positives)
    for rows, (scores,) in score_blocks(product):
        total.add(rows, scores)
    return total.mean()


class _WithGradients(torch.autograd.Function):
    """Cross-entropy with gradients that were computed along with it."""

    @staticmethod
    def forward(ctx, value, *parts):  # positives, gradients of outputs, weights and bias, and these
        ctx.save_for_backward(*parts)
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        positives, *parts = ctx.saved_tensors
        gradients, product = parts[:3], parts[3:]
        if torch.is_grad_enabled():  # the gradient is to have a gradient of its own, which needs all scores
            gradients = gradients_of(
                lambda *given: functional.cross_entropy(functional.linear(*given), positives), product
            )
        return *[None] * 5, *(None if part is None else part * gradient for part in gradients)


def _to_gradient(scores: Tensor, positives: Tensor, total: int) -> Tensor:
    """Replace scores [n, n_items] by the gradient of their cross-entropy, which is returned; of a mean over `total`."""
    highest = scores.amax(1, keepdim=True)
    of_positives = scores.gather(1, positives)
    exponentials = scores.sub_(highest).exp_()
    summed = exponentials.sum(1, keepdim=True)
    share = scores.new_full((1, 1), -1 / total).expand_as(positives)
    exponentials.mul_(1 / (summed * total)).scatter_add_(1, positives, share)
    return (summed.log() + highest - of_positives).sum() / total
