import pytest
import torch
from conftest import synthetic_histories

from recbole_gro.data.auxiliary_data import auxiliary_sequences


def training_items():
    """{user token: tokens of his training items}: all but the last two, as long as two are left; the definition."""
    histories = {user: items for user, items in synthetic_histories().items() if len(items) > 1}
    return {user: items[: max(2, len(items) - 2)] for user, items in histories.items()}


def draw(train, share, longest, seed=0):
    return auxiliary_sequences(train, share, longest, torch.Generator().manual_seed(seed))


def as_tokens(dataset, known):
    return [tuple(dataset.id2token("item_id", [item for item in row if item])) for row in known.tolist()]


@pytest.mark.parametrize("model", ["NARM", "BERT4Rec"])
@pytest.mark.parametrize("longest", [3, 8, 40])
def test_all_users_are_their_training_items_and_nothing_held_out(make_loaders, model, longest):
    _, train, _, _ = make_loaders(model)
    known = draw(train._dataset, 1.0, longest)
    assert known.shape[1] == longest
    expected = [tuple(items[-longest:]) for items in training_items().values()]
    assert sorted(as_tokens(train._dataset, known)) == sorted(expected)


@pytest.mark.parametrize(("share", "n"), [(0.01, 1), (0.1, 4), (0.5, 19)])
def test_a_share_is_some_users_each_once(make_loaders, share, n):
    _, train, _, _ = make_loaders("NARM")
    users = len(draw(train._dataset, 1.0, 40))
    assert users == 38
    rows = as_tokens(train._dataset, draw(train._dataset, share, 40))
    assert len(rows) == n
    expected = [tuple(items) for items in training_items().values()]
    assert all(rows.count(row) <= expected.count(row) for row in rows)


def test_the_draw_is_the_generators(make_loaders):
    _, train, _, _ = make_loaders("NARM")
    torch.manual_seed(1)
    one = draw(train._dataset, 0.3, 8)
    torch.manual_seed(2)
    assert torch.equal(one, draw(train._dataset, 0.3, 8))
    assert not torch.equal(one, draw(train._dataset, 0.3, 8, seed=1))
