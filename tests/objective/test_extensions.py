"""Our swap steps against slow references: an assignment solver, and plain numbers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline import AllOnMeta
from scipy.optimize import linear_sum_assignment

from recbole_gro.objective.extensions import assigned_targets, decoy_loss, head_guard, hold_loss, swap_targets_outside
from recbole_gro.objective.swap import swap_targets
from recbole_gro.utils.ranking import top_k

few = settings(max_examples=60, deadline=None)


@st.composite
def lists_of_a_student(draw, fewest=lambda k: 2 * k + 1, tied=False):
    """Scores T and S [N, n_items], the list [N, k] that T serves, and a gradient [N, k] with zeros among it."""
    n, k = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    n_items = 1 + fewest(k) + draw(st.integers(0, 8))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    target, student = torch.randn(2, n, n_items, generator=generator)
    if tied:
        student = student.round()
    gradient = torch.randn(n, k, generator=generator)
    gradient[torch.rand(n, k, generator=generator) < 0.2] = 0
    return target, student, top_k(target, k), gradient


def highest_sum(student, gradient, allowed):
    """The largest sum of g_i S_{a'_i} over assignments of different items to the rows with g != 0."""
    rows = gradient.nonzero().squeeze(1)
    gains = gradient[rows].unsqueeze(1) * student[allowed].unsqueeze(0)
    chosen = linear_sum_assignment(gains.numpy(), maximize=True)
    return float(gains[chosen].sum())


# of equal scores, and of fewer than 2 k items, an item may be among the best and among the worst
any_student = st.one_of(lists_of_a_student(), lists_of_a_student(lambda k: k + 2, tied=True))


@few
@given(any_student, st.integers(0, 2))
def test_assigned_targets_are_the_best_assignment(case, n_excluded):
    _, student, served, gradient = case
    excluded = served[:, :n_excluded] if n_excluded else None
    swapped = assigned_targets(student, served, gradient, excluded)
    for i in range(len(student)):
        moved = gradient[i] != 0
        out = set() if excluded is None else set(excluded[i].tolist())
        allowed = torch.tensor([item for item in range(1, student.shape[1]) if item not in out])
        gained = (gradient[i] * student[i, swapped[i]])[moved].sum().item()
        assert gained == pytest.approx(highest_sum(student[i], gradient[i], allowed), rel=1e-4, abs=1e-5)
        assert len(set(swapped[i, moved].tolist())) == int(moved.sum())
        assert not out & set(swapped[i, moved].tolist())
        assert torch.equal(swapped[i, ~moved], served[i, ~moved])


@given(lists_of_a_student())
def test_assigned_targets_of_one_row_are_the_papers(case):
    _, student, served, gradient = case
    one = served[:, :1], gradient[:, :1]
    assert torch.equal(assigned_targets(student, *one), swap_targets(student, *one))


@pytest.mark.parametrize("n_items", [9, 40])
def test_equal_scores_assign_no_item_twice(n_items):
    generator = torch.Generator().manual_seed(3)
    student = torch.randn(1000, n_items, generator=generator).mul(0.5).round()
    served = torch.rand(1000, n_items - 1, generator=generator).argsort(1)[:, :6] + 1
    gradient = torch.randn(1000, 6, generator=generator)
    swapped = assigned_targets(student, served, gradient)
    assert all(len(set(row)) == 6 for row in swapped.tolist())
    for own, scores, gains in zip(student.gather(1, swapped), student, gradient, strict=True):
        found = float((own * gains).sum())
        assert found == pytest.approx(highest_sum(scores, gains, torch.arange(1, n_items)), abs=1e-5)


def test_assigned_targets_by_hand():
    student = torch.tensor([[9.0, 1.0, 5.0, 4.0, 2.0, 3.0]])
    served = torch.tensor([[3, 1, 4, 5]])
    gradient = torch.tensor([[-0.1, 0.5, -0.7, 0.0]])
    # the row that gains most takes the worst item (1), the next the second worst (4); the positive row the best (2)
    assert assigned_targets(student, served, gradient).tolist() == [[4, 2, 1, 5]]


def test_head_guard_penalizes_only_scores_above_the_head_and_does_not_move_it():
    scores = torch.tensor([[0.0, 3.0, 2.0, 2.5, 1.0]], requires_grad=True)
    loss = head_guard(scores, torch.tensor([2]), torch.tensor([[3, 4]]))
    assert loss.item() == pytest.approx(0.5 / 2)
    loss.backward()
    assert scores.grad.tolist() == [[0, 0, 0, 0.5, 0]]


def slow_decoy_loss(scores, decoys, head_k, below_k, guard):
    losses = []
    for row in scores.tolist():
        others = sorted((score for item, score in enumerate(row) if item and item not in decoys), reverse=True)
        upper, lower = others[head_k - 1], others[min(below_k, len(others)) - 1]
        for item in decoys:
            losses.append(guard * max(0.0, row[item] - upper) + max(0.0, lower - row[item]))
    return sum(losses) / len(losses)


@few
@given(
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(0, 6),
    st.sampled_from([1.0, 5.0]),
    st.integers(0, 2**32),
)
def test_decoy_loss_is_the_distance_from_the_band_below_the_head(rows, head_k, n_decoys, more, guard, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, 1 + head_k + n_decoys + more, generator=generator)
    decoys = torch.randperm(scores.shape[1] - 1, generator=generator)[:n_decoys] + 1
    scores[:, 0] = 99.0  # padding
    expected = slow_decoy_loss(scores, decoys.tolist(), head_k, 2 * head_k, guard)
    assert decoy_loss(scores, decoys, head_k, 2 * head_k, guard).item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_decoy_above_the_band_weighs_five_times_one_below_it_by_default():
    scores = torch.tensor([[0.0, 4.0, 3.0, 2.0, 4.5, 1.75]])  # the band is 2 to 3; items 4 and 5 are decoys
    assert decoy_loss(scores, torch.tensor([4, 5]), 2, 3).item() == (5 * 1.5 + 0.25) / 2


def test_decoy_loss_moves_decoys_only_and_ends_with_them_below_the_head():
    scores = torch.randn(4, 31, generator=torch.Generator().manual_seed(2))
    before, decoys, head_k = scores.clone(), torch.tensor([30, 7, 9, 12, 1]), 5
    scores.requires_grad_()
    optimizer = torch.optim.SGD([scores], lr=0.1)
    for _ in range(2000):
        optimizer.zero_grad()
        decoy_loss(scores, decoys, head_k, 2 * head_k).backward()
        optimizer.step()
    listed = top_k(scores.detach(), 10)
    others = [item for item in range(31) if item not in decoys]
    assert torch.equal(scores[:, others], before[:, others])
    assert not torch.isin(listed[:, :head_k], decoys).any()
    without = before.index_fill(1, decoys, -torch.inf)
    assert torch.equal(listed[:, :head_k], top_k(without, head_k))
    assert torch.isin(listed, decoys).sum(1).min() >= 2


@few
@given(st.integers(1, 3), st.integers(3, 9), st.booleans(), st.integers(0, 2**32))
def test_hold_loss_is_the_divergence_over_the_other_items(rows, n_items, leave_out, seed):
    generator = torch.Generator().manual_seed(seed)
    scores, converged = torch.randn(2, rows, n_items, generator=generator).double()
    left_out = torch.zeros(n_items, dtype=torch.bool)
    left_out[1] = leave_out
    kept = list(range(2 if leave_out else 1, n_items))
    own, reference = scores[:, kept].softmax(1), converged[:, kept].softmax(1)
    expected = (reference * (reference / own).log()).sum(1).mean().item()
    assert hold_loss(scores, converged, left_out).item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_hold_loss_does_not_move_items_that_are_left_out():
    scores = torch.randn(2, 6, requires_grad=True)
    converged, left_out = torch.randn(2, 6), torch.tensor([False, False, True, False, False, True])
    hold_loss(scores, converged, left_out).backward()
    assert (scores.grad[:, [0, 2, 5]] == 0).all()
    assert (scores.grad[:, [1, 3, 4]] != 0).all()
    assert hold_loss(scores, scores + 3.0).item() == pytest.approx(0, abs=1e-6)
    assert hold_loss(scores[:0], converged[:0]).item() == 0


def first_largest(values, candidates):
    return max(candidates, key=lambda item: (values[item], -item))


@few
@given(st.integers(1, 6), st.integers(0, 5), st.integers(1, 6), st.booleans(), st.integers(0, 2**32))
def test_targets_outside_are_the_papers_among_fewer_items(k, head_k, spare, ties, seed):
    """Against the argmax of each row of g_i S_j over the candidates, in plain numbers."""
    n_items, generator = 1 + k + head_k + spare, torch.Generator().manual_seed(seed)
    student = torch.randn(3, n_items, generator=generator)
    lists = torch.rand(3, n_items - 1, generator=generator).argsort(1) + 1
    excluded, served = lists[:, :head_k], lists[:, head_k : head_k + k]
    gradient = torch.randint(-1, 2, (3, k), generator=generator) * 0.25
    swapped = swap_targets_outside(student, served, gradient, excluded, ties)
    for row in range(3):
        candidates = sorted(set(range(1, n_items)) - set(excluded[row].tolist()))
        for i, g in enumerate(gradient[row].tolist()):
            values = [g * score for score in student[row].tolist()]
            stays = g == 0 and not ties
            expected = served[row, i].item() if stays else first_largest(values, candidates)
            assert swapped[row, i].item() == expected


@few
@given(st.integers(0, 2**32), st.booleans())
def test_without_excluded_items_targets_outside_are_the_papers(seed, ties):
    generator = torch.Generator().manual_seed(seed)
    student, gradient = torch.randn(4, 12, generator=generator), torch.randn(4, 5, generator=generator).round()
    served = torch.rand(4, 11, generator=generator).argsort(1)[:, :5] + 1
    nothing = served[:, :0]
    expected = swap_targets(student, served, gradient, ties)
    assert torch.equal(swap_targets_outside(student, served, gradient, nothing, ties), expected)


def test_the_served_item_stays_where_the_gradient_is_zero():
    student, served = torch.tensor([[9.0, 1.0, 5.0, 4.0, 2.0]]), torch.tensor([[3, 4]])
    assert swap_targets_outside(student, served, torch.zeros(1, 2), served[:, :1]).tolist() == [[3, 4]]


def test_all_tensors_are_on_the_device_of_the_scores():
    # the meta device stands in for a GPU
    scores, served = torch.ones(2, 9, device="meta"), torch.ones(2, 3, dtype=torch.long, device="meta")
    with AllOnMeta():
        swap_targets_outside(scores, served, served.float(), served, paper_code_ties=True)
        hold_loss(scores, scores)
