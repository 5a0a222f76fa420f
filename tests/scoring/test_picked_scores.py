"""Scores of a few items per row, against the same taken from the scores of all items."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch.nn import functional

from recbole_gro.scoring.picked_scores import FEW, PickedScores, ScoreRecorder
from recbole_gro.utils.patching import replaced

CPU = torch.device("cpu")
M, H = 50, 6


@pytest.fixture
def parts():
    """Return outputs [7, H], weights [M, H], a bias [M] and items [7, 5], some of them twice in a row."""
    draws = torch.Generator().manual_seed(1)
    outputs, weights, bias = (torch.randn(size, generator=draws) for size in ((7, H), (M, H), (M,)))
    return outputs, weights, bias, torch.randint(M, (7, 5), generator=draws)


def gradients(scores_of, parts, weight_of=torch.sin):
    """Return picked scores and the gradients of a function of them, by autograd alone but for `scores_of`."""
    *leaves, items = parts
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    picked = scores_of(*leaves, items)
    weight_of(picked).sum().backward()
    return [picked.detach(), *(leaf.grad for leaf in leaves)]


def dense(outputs, weights, bias, items):
    return (outputs @ weights.t() + bias).gather(1, items)


def recorded(outputs, weights, bias, items):
    with ScoreRecorder(M, CPU) as recorder:
        scores = functional.linear(outputs, weights, bias)
    assert recorder.recognizes(scores)
    return recorder.pick(scores, items)


def computed_alone(outputs, weights, bias, items):
    picked_scores = PickedScores(M, CPU)
    for _ in range(2):  # the second time without the scores of all items
        picked = picked_scores(lambda: functional.linear(outputs, weights, bias), items)
    return picked


@pytest.mark.parametrize("way", [recorded, computed_alone])
class TestAgainstAllScores:
    def test_scores_and_gradients_are_the_same(self, parts, way):
        for ours, reference in zip(gradients(way, parts), gradients(dense, parts), strict=True):
            assert torch.allclose(ours, reference, atol=1e-5)

    def test_for_any_sizes(self, way):
        @given(st.integers(1, 9), st.integers(1, M // FEW), st.integers(1, 70), st.integers(0, 2**31))
        def check(n, j, width, seed):
            draws = torch.Generator().manual_seed(seed)
            sizes = (n, width), (M, width), (M,)
            leaves = [torch.randn(size, generator=draws) for size in sizes]
            items = torch.randint(M, (n, j), generator=draws)
            for ours, reference in zip(
                gradients(way, (*leaves, items)), gradients(dense, (*leaves, items)), strict=True
            ):
                assert torch.allclose(ours, reference, atol=1e-4)

        check()

    def test_the_gradient_has_a_gradient(self, parts, way):
        def steepness(scores_of):
            *leaves, items = parts
            leaves = [leaf.clone().requires_grad_() for leaf in leaves]
            slopes = torch.autograd.grad(scores_of(*leaves, items).square().sum(), leaves, create_graph=True)
            return torch.autograd.grad(sum(slope.square().sum() for slope in slopes), leaves)

        for ours, reference in zip(steepness(way), steepness(dense), strict=True):
            assert torch.allclose(ours, reference, rtol=1e-4, atol=1e-4)

    def test_a_row_without_a_gradient_moves_nothing(self, parts, way):
        _, *found = gradients(way, parts, lambda picked: picked * 0)
        assert all(not gradient.any() for gradient in found)

    def test_the_number_of_threads_changes_no_bit_of_the_gradients(self, parts, way):
        outputs, weights, bias, items = parts
        large = (outputs.repeat(300, 20), weights.repeat(1, 20), bias, items.repeat(300, 1))
        slopes = torch.randn(large[-1].shape, generator=torch.Generator().manual_seed(3))
        threads, found = torch.get_num_threads(), []
        try:
            for n in (1, 2):
                torch.set_num_threads(n)
                found.append(gradients(way, large, lambda picked: picked * slopes)[1:])
        finally:
            torch.set_num_threads(threads)
        assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


@pytest.mark.parametrize(
    "product",
    [
        lambda outputs, weights: outputs @ weights.transpose(0, 1),
        lambda outputs, weights: torch.matmul(outputs, weights.t()).view(-1, M),
        lambda outputs, weights: outputs.mm(weights.t()),
        functional.linear,
    ],
)
def test_the_products_of_models_are_recognized(parts, product):
    outputs, weights, *_ = parts
    with ScoreRecorder(M, CPU) as recorder:
        scores = product(outputs, weights)
    assert recorder.recognizes(scores)


def scaled(outputs, weights):
    return (outputs @ weights.t()) / 0.07


def in_place(outputs, weights):
    return (outputs @ weights.t()).mul_(2)


def grouped(outputs, weights):
    return torch.cat([outputs[:3] @ weights.t(), outputs[3:] @ weights.t()])


def of_an_earlier_product(outputs, weights):
    return ((outputs @ weights.t()).softmax(1) @ weights) @ weights.t()


def first_of_two(outputs, weights):
    scores = outputs @ weights.t()
    outputs.sin() @ weights.t()
    return scores


def in_double(outputs, weights):
    return outputs.double() @ weights.double().t()


WAYS = (scaled, in_place, grouped, of_an_earlier_product, first_of_two, in_double)


@pytest.mark.parametrize("score", WAYS)
def test_scores_that_are_more_than_one_product_are_computed_in_full(parts, score):
    outputs, weights, _, items = parts
    picked_scores = PickedScores(M, CPU)
    for _ in range(3):
        leaf = weights.clone().requires_grad_()
        picked = picked_scores(lambda leaf=leaf: score(outputs, leaf), items)
        reference = weights.clone().requires_grad_()
        expected = score(outputs, reference).gather(1, items)
        assert torch.equal(picked, expected)
        picked.sum().backward()
        expected.sum().backward()
        assert torch.allclose(leaf.grad, reference.grad, atol=1e-4)


@pytest.mark.parametrize("score", [way for way in WAYS if way is not in_place])
def test_a_model_that_scores_otherwise_from_some_batch_on_starts_again_from_the_same_draws(parts, score):
    outputs, weights, _, items = parts
    picked_scores = PickedScores(M, CPU)
    picked_scores(lambda: outputs @ weights.t(), items)
    torch.manual_seed(1)
    picked = picked_scores(lambda: score(functional.dropout(outputs, 0.5), weights), items)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(picked, score(functional.dropout(outputs, 0.5), weights).gather(1, items))
    assert torch.equal(after, torch.rand(1))


class HalvedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, scores):
        return scores.view_as(scores)

    @staticmethod
    def backward(ctx, gradient):
        return gradient / 2


def clipped_by_a_hook(scores):
    if scores.requires_grad:
        scores.register_hook(lambda gradient: gradient.clamp(-0.1, 0.1))
    return scores


def lowered_unseen(scores):
    scores.detach().numpy()[:, 1:4] -= 1
    return scores


def masked_unseen(scores):
    scores.data[:, 1:4] = -5
    return scores


def doubled_where_all_are_small(scores):
    return 2 * scores if scores.detach().abs().max() < 1 else scores


def in_place_if_large(scores):
    return scores.div_(2) if scores.detach().abs().max() > 1 else scores


@pytest.mark.parametrize(
    "change",
    [
        HalvedGradient.apply,
        clipped_by_a_hook,
        lowered_unseen,
        masked_unseen,
        doubled_where_all_are_small,
        in_place_if_large,
    ],
)
def test_what_a_model_does_with_its_own_scores_counts(parts, change):
    outputs, weights, _, items = parts
    picked_scores = PickedScores(M, CPU, scores_are_read=True)
    for factor in (1, 1e-3, 1, 1e-3):
        leaves = [weights.clone().requires_grad_() for _ in range(2)]
        results = [factor * outputs, factor * outputs]
        picked = picked_scores(lambda of=(results[0], leaves[0]): change(of[0] @ of[1].t()), items)
        expected = change(results[1] @ leaves[1].t()).gather(1, items)
        assert torch.equal(picked, expected)
        for scores in (picked, expected):
            scores.sin().sum().backward()
        assert torch.allclose(leaves[0].grad, leaves[1].grad, atol=1e-5)


def test_scores_are_the_same_to_the_last_bit_with_and_without_the_other_items(parts):
    outputs, weights, _, items = parts
    picked_scores = PickedScores(M, CPU)
    first, second = (picked_scores(lambda: outputs @ weights.t(), items) for _ in range(2))
    assert torch.equal(first, second)


def test_where_the_items_are_not_few_all_are_scored(parts):
    outputs, weights, _, items = parts
    many = items.repeat(1, FEW)
    picked_scores = PickedScores(M, CPU)
    for _ in range(2):
        with replaced(functional, "embedding_bag", None):
            assert torch.equal(
                picked_scores(lambda: outputs @ weights.t(), many), (outputs @ weights.t()).gather(1, many)
            )


def test_on_another_device_nothing_is_recorded(parts):
    outputs, weights, _, items = parts
    with ScoreRecorder(M, torch.device("cuda")) as recorder:
        scores = outputs @ weights.t()
    assert not recorder.recognizes(scores)
    assert torch.equal(recorder.pick(scores, items), scores.gather(1, items))
