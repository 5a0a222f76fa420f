"""Scores and cross-entropy in blocks, against those of all positions together."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch.nn import functional

from recbole_gro.scoring import score_blocks
from recbole_gro.scoring.picked_scores import Product
from recbole_gro.scoring.score_blocks import blocks_are_faster, cross_entropy_in_blocks
from recbole_gro.utils.patching import replaced

CPU = torch.device("cpu")


def drawn(n, n_items, width, seed, dtype=torch.float32):
    """Return outputs [n, width], weights [n_items, width] and a bias [n_items], and positives [n]."""
    draws = torch.Generator().manual_seed(seed)
    sizes = (n, width), (n_items, width), (n_items,)
    leaves = [torch.randn(size, generator=draws, dtype=dtype) for size in sizes]
    return leaves, torch.randint(n_items, (n,), generator=draws)


def loss_and_gradients(loss_of, leaves, weight=1.0):
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    loss = loss_of(*leaves)
    (weight * loss).backward()
    return [loss.detach(), *(leaf.grad for leaf in leaves)]


@given(
    st.integers(1, 12), st.integers(2, 40), st.integers(1, 20), st.integers(1, 13), st.booleans(), st.integers(0, 99)
)
def test_loss_and_gradients_are_those_of_cross_entropy(n, n_items, width, at_once, has_bias, seed):
    leaves, positives = drawn(n, n_items, width, seed)
    leaves = leaves if has_bias else leaves[:2]

    def reference(outputs, weights, bias=None):
        return functional.cross_entropy(functional.linear(outputs, weights, bias), positives)

    with replaced(score_blocks, "AT_ONCE", at_once):
        ours = loss_and_gradients(lambda *parts: cross_entropy_in_blocks(Product(*parts), positives), leaves, 3.0)
    for one, other in zip(ours, loss_and_gradients(reference, leaves, 3.0), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def test_scores_far_apart_do_not_overflow():
    leaves, positives = drawn(5, 9, 4, 1)
    leaves[0] *= 1000
    loss, *gradients = loss_and_gradients(lambda *parts: cross_entropy_in_blocks(Product(*parts), positives), leaves)
    assert all(value.isfinite().all() for value in (loss, *gradients))


def test_the_gradient_may_be_taken_twice():
    (outputs, weights, bias), positives = drawn(5, 9, 4, 1)
    loss = cross_entropy_in_blocks(Product(outputs, weights.requires_grad_(), bias), positives)
    first, second = (torch.autograd.grad(loss, weights, retain_graph=True)[0] for _ in range(2))
    assert first.any()
    assert torch.equal(first, second)


def test_the_gradient_has_a_gradient():
    leaves, positives = drawn(5, 9, 4, 1)

    def steepness(loss_of):
        parts = [leaf.clone().requires_grad_() for leaf in leaves]
        loss = loss_of(*parts)
        slopes = torch.autograd.grad(loss, parts, create_graph=True)
        return torch.autograd.grad(sum(slope.square().sum() for slope in slopes), parts)

    ours = steepness(lambda *parts: cross_entropy_in_blocks(Product(*parts), positives))
    expected = steepness(lambda *parts: functional.cross_entropy(functional.linear(*parts), positives))
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(ours, expected, strict=True))


def test_blocks_cover_all_positions_in_order():
    (outputs, weights, bias), _ = drawn(7, 9, 4, 1)
    with replaced(score_blocks, "AT_ONCE", 3):
        blocks = [(rows, two.clone()) for rows, (_, two) in score_blocks.score_blocks(
            Product(outputs, weights), Product(outputs, weights, bias)
        )]  # fmt: skip
    assert [(rows.start, rows.stop) for rows, _ in blocks] == [(0, 3), (3, 6), (6, 7)]
    assert torch.allclose(torch.cat([scores for _, scores in blocks]), outputs @ weights.T + bias, atol=1e-6)


@pytest.mark.parametrize(
    ("n_items", "device", "faster"),
    [(score_blocks.LARGE, CPU, True), (score_blocks.LARGE - 1, CPU, False), (10**6, torch.device("cuda"), False)],
)
def test_blocks_are_for_large_catalogues_on_a_cpu(n_items, device, faster):
    assert blocks_are_faster(n_items, device) == faster


def test_half_precision_takes_no_blocks():
    with torch.autocast("cpu", torch.bfloat16):
        assert not blocks_are_faster(10**6, CPU)
