import pytest

from recbole_gro.data import build_dataset
from recbole_gro.experiment.plan import read_experiment
from recbole_gro.experiment.workshop import Workshop, keep_half_of_users
from recbole_gro.utils.errors import UserError


def test_a_stage_that_fails_is_tried_once_by_each_process(tmp_path):
    def make(_):
        calls.append(1)
        if broken:
            raise ValueError("own failure")
        return {"a": 1}

    calls, broken, experiment = [], True, read_experiment("ownership")
    cache = Workshop(experiment, tmp_path).cache
    with pytest.raises(ValueError, match=r"^own failure$"):
        cache.once("target", "x", make)
    with pytest.raises(UserError, match=r"^ValueError: own failure$"):
        cache.once("target", "x", make)
    assert len(calls) == 1
    broken = False
    assert cache.once("target", "y", make) == {"a": 1}
    assert Workshop(experiment, tmp_path).cache.once("target", "x", make) == {"a": 1}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_no_failure_of_a_stage(tmp_path, stop):
    def interrupted(_):
        raise stop

    cache = Workshop(read_experiment("ownership"), tmp_path).cache
    for _ in range(2):
        with pytest.raises(stop):
            cache.once("target", "x", interrupted)


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
