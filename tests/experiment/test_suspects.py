import pytest
import torch

from recbole_gro.data import build_dataset
from recbole_gro.experiment.suspects import _with_replaced, blended, keep_half_of_users, pruned


def test_half_of_the_users_keep_their_histories_and_the_catalogue(make_config):
    config = make_config("SASRec")
    whole, half, again, other = (build_dataset(config) for _ in range(4))
    for dataset, seed in ((half, 1), (again, 1), (other, 2)):
        keep_half_of_users(dataset, seed)
    users = [{*dataset.inter_feat[dataset.uid_field]} for dataset in (whole, half, again, other)]
    assert len(users[1]) == len(users[0]) // 2
    assert users[1] < users[0]
    assert users[1] == users[2] != users[3]
    assert half.item_num == whole.item_num
    histories = [histories_of(dataset) for dataset in (whole, half)]
    assert histories[1] == {user: histories[0][user] for user in users[1]}


def histories_of(dataset):
    """The items of each user, in time order."""
    history = dataset.build()[0].history
    found = {}
    for user, item in zip(history["user_id"].tolist(), history["item_id"].tolist(), strict=True):
        found.setdefault(user, []).append(item)
    return found


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
