import pytest
import torch

from recbole_gro.experiment.suspects import _with_replaced, blended, pruned


def test_pruned_weights_are_the_smallest_of_each_matrix():
    model = torch.nn.Linear(10, 10)
    smaller = pruned(model, 0.3)
    zero = smaller.weight == 0
    assert int(zero.sum()) == 30
    assert model.weight[zero].abs().max() < model.weight[~zero].abs().min()
    assert torch.equal(smaller.weight[~zero], model.weight[~zero])
    assert torch.equal(smaller.bias, model.bias)


def test_blended_lists_have_the_items_that_both_rank_high_first():
    one, two = torch.arange(1, 21).unsqueeze(0), torch.cat([torch.tensor([20, 2]), torch.arange(21, 39)]).unsqueeze(0)
    found = blended(one, two)[0].tolist()
    assert found[:2] in ([2, 20], [20, 2])
    assert len(set(found)) == 10


@pytest.mark.parametrize("k", [100, 20])
def test_replaced_items_come_from_below(k):
    lists = torch.arange(1, k + 1).unsqueeze(0)
    changed = _with_replaced(lists)[0, :10].tolist()
    assert sum(item > 10 for item in changed) == 3
    assert lists[0, 2] == 3
