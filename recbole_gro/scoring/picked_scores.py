"""Scores of a few items per row, at the cost of these items where a model multiplies outputs by all embeddings."""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

FEW = 4  # items are few where a catalogue has this many times as many; at 8 times little is gained, at 100 much
VIEWS = {"ViewBackward0", "ReshapeAliasBackward0", "UnsafeViewBackward0"}
PRODUCTS = {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm}


class Product(NamedTuple):
    """Operands of scores = outputs @ weights.T + bias.

    Attributes:
        outputs: [N, H] of a model after N histories.
        weights: [n_items, H] embeddings of the items.
        bias: [n_items], or None.
    """

    outputs: Tensor
    weights: Tensor
    bias: Tensor | None = None


def product_of(func: Any, args: tuple[Any, ...], n_items: int) -> Product | None:
    """Return the operands of a call of PyTorch if it is a product of `n_items` columns, else None."""
    if func in PRODUCTS and all(arg.ndim == 2 for arg in args) and args[1].shape[1] == n_items:
        return Product(args[0], args[1].t())
    if func is functional.linear and args[0].ndim == 2 and args[1].shape[:-1] == (n_items,):
        return Product(*args)
    return None


def picked_by(product: Product, items: Tensor, values: Tensor | None = None) -> Tensor:
    """Return the scores [N, j] of some items of each row by a product, differentiable.

    Args:
        product: the operands, in float32 on a CPU.
        items: [N, j] ids.
        values: these scores, where they are known; None: compute them.
    """
    return _Picked.apply(items, values, *product)


class ScoreRecorder(TorchFunctionMode):
    """Record the operands of the matrix product that scores all items, inside a `with` block.

    RecBole's models score a batch by one product of their outputs and the embeddings of all items. Eq. 4 reads those of
    the listed items and of their negatives alone: the other columns need no gradient and, where nothing else reads
    them, need not be computed. On a CPU this is a fraction of the cost; on other devices nothing is recorded.

    Args:
        n_items: columns of the scores, padding included.
        device: of the scores.
        computed: False: put zeros in place of the product, for a model of which `recognizes` was true before.
    """

    def __init__(self, n_items: int, device: torch.device, computed: bool = True):
        super().__init__()
        self.n_items, self.computed, self.enabled = n_items, computed, device.type == "cpu"
        self._products: list[tuple[Product, Tensor]] = []

    def __enter__(self):
        # every call of PyTorch in the block costs some microseconds, which a GPU would wait for
        return super().__enter__() if self.enabled else self

    def __exit__(self, *error):
        if self.enabled:
            super().__exit__(*error)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        product = None if kwargs else product_of(func, args, self.n_items)
        if product is None:
            return func(*args, **(kwargs or {}))
        outputs = product.outputs
        result = func(*args) if self.computed else outputs.new_zeros(1, 1).expand(len(outputs), self.n_items)
        self._products.append((product, result))
        return result

    def recognizes(self, scores: Tensor) -> bool:
        """Return whether scores [N, n_items] are the only such product of the block, as it was computed, in float32."""
        if len(self._products) != 1:
            return False
        product, result = self._products[0]
        return (
            _is_unchanged(scores, result)
            and scores._version == 0  # nobody wrote to them
            and all(part.dtype == torch.float32 for part in (scores, *product) if part is not None)
        )

    def product(self, scores: Tensor) -> Product | None:
        """Return the operands of scores [N, n_items] if `recognizes` is true of them, else None."""
        return self._products[0][0] if self.recognizes(scores) else None

    def pick(self, scores: Tensor, items: Tensor, read: bool = True) -> Tensor:
        """Return the scores [N, j] of some items of each row, differentiable, as `scores.gather(1, items)`.

        Args:
            scores: [N, n_items] of the block.
            items: [N, j] ids.
            read: take them from `scores`; False: compute them from the operands, if `recognizes` is true.
        """
        product = self.product(scores)
        if FEW * items.shape[1] > self.n_items or product is None:
            return scores.gather(1, items)
        return picked_by(product, items, scores.detach().gather(1, items) if read else None)


class PickedScores:
    """Compute the scores of a few items per row, and no others where the model allows it.

    Args:
        n_items: columns of the scores, padding included.
        device: of the scores.
        scores_are_read: whether the model may read or change its scores before it returns them, as one of a user's own
            may: all are then computed, and those of the items taken from them. Gradients are of these alone either way.
    """

    def __init__(self, n_items: int, device: torch.device, scores_are_read: bool = False):
        self.n_items, self.device, self.scores_are_read = n_items, device, scores_are_read
        self._one_product = False  # whether the last batch's scores were one product

    def __call__(self, score: Callable[[], Tensor], items: Tensor) -> Tensor:
        """Return scores [N, j] of items [N, j], differentiable.

        Args:
            score: returns a model's scores [N, n_items]; called again, from the same random state, where the first call
                shows that they are not one product.
            items: ids.
        """
        left_out = self._one_product and FEW * items.shape[1] <= self.n_items and not self.scores_are_read
        state = torch.get_rng_state() if left_out else None
        with ScoreRecorder(self.n_items, self.device, computed=not left_out) as recorder:
            scores = score()
        self._one_product = recorder.recognizes(scores)
        if state is not None and not self._one_product:
            torch.set_rng_state(state)
            return self(score, items)
        # mostly not from the scores, so that they are the same to the last bit whether all were computed or not
        return recorder.pick(scores, items, read=self.scores_are_read)


def _is_unchanged(scores: Tensor, result: Tensor) -> bool:
    """Return whether scores are the result of a product or a view of all of it, with the same gradient."""
    if scores._backward_hooks or result._backward_hooks:
        return False
    if scores is result:
        return True
    by, of = scores.grad_fn, result.grad_fn
    is_view = by is None or (type(by).__name__ in VIEWS and by.next_functions[0][0] is of)
    return is_view and all(getter(scores) == getter(result) for getter in (Tensor.data_ptr, Tensor.size, Tensor.stride))


class _Picked(torch.autograd.Function):
    """Scores of some items per row; the gradient is computed from these alone."""

    @staticmethod
    def forward(ctx, items, values, *product):
        outputs, weights, bias = product
        ctx.save_for_backward(outputs, weights, items, bias)
        if values is not None:
            return values.clone()
        picked = _products(outputs, weights, items)
        return picked if bias is None else picked + bias[items]

    @staticmethod
    def backward(ctx, gradient):
        outputs, weights, items, bias = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to have a gradient of its own, which needs all scores
            dense = gradients_of(
                lambda *given: functional.linear(*given).gather(1, items), (outputs, weights, bias), gradient
            )
            return None, None, *dense
        of_outputs = functional.embedding_bag(items, weights, per_sample_weights=gradient.contiguous(), mode="sum")
        entries = gradient.numpy().ravel(), items.numpy().ravel(), np.arange(0, items.numel() + 1, items.shape[1])
        of_scores = csr_matrix(entries, (len(items), len(weights)))
        of_weights = torch.from_numpy(of_scores.T @ outputs.numpy())
        of_bias = None
        if bias is not None:
            of_bias = gradient.new_zeros(len(weights)).index_add_(0, items.flatten(), gradient.flatten())
        return None, None, of_outputs, of_weights, of_bias


def gradients_of(
    function: Callable[..., Tensor], parts: Sequence[Tensor | None], gradient: Tensor | None = None
) -> list[Tensor | None]:
    """Return differentiable gradients of a function of some parts with respect to them, None where there is none."""
    given = [part for part in parts if part is not None and part.requires_grad]
    found = iter(torch.autograd.grad(function(*parts), given, gradient, create_graph=True))
    return [next(found) if part is not None and part.requires_grad else None for part in parts]


def _products(outputs: Tensor, weights: Tensor, items: Tensor) -> Tensor:
    """Return the products [N, j] of outputs [N, H] and the weights [n_items, H] of items [N, j]."""
    _no_beta_warning()
    starts = torch.arange(0, items.numel() + 1, items.shape[1])
    zeros = outputs.new_zeros(items.numel())
    size = (len(outputs), len(weights))
    pattern = torch.sparse_csr_tensor(starts, items.flatten(), zeros, size, check_invariants=False)
    return torch.sparse.sampled_addmm(pattern, outputs, weights.t(), beta=0.0).values().view(items.shape)


@functools.cache
def _no_beta_warning() -> None:
    """Make the first tensor of a layout that PyTorch calls beta, of which it warns once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor([0, 0], [], [], (1, 1), check_invariants=False)
