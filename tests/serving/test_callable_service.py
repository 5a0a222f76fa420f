"""Any function as a service, and the same attack on a function, a model and a saved target."""

import numpy as np
import pytest
import torch

from recbole_gro import BlackBox, Service, UserError, create_attacker, load_target
from recbole_gro.serving.callable_service import CallableService
from recbole_gro.trainer.base import TargetTrainer


def following(sequences):
    """Return the three items that follow the last one."""
    return [[(row[-1] + step) % 30 + 1 for step in range(3)] for row in sequences]


def test_lists_are_those_of_the_function():
    service = CallableService(following, 31, 3)
    assert service.recommend([[4, 9], [30]]).tolist() == [[10, 11, 12], [1, 2, 3]]
    assert service.recommend(torch.tensor([[4, 9], [30, 0]])).tolist() == [[10, 11, 12], [1, 2, 3]]


def test_whole_numbers_of_any_type_and_texts_of_digits_are_item_ids():
    lists = [torch.tensor([3.0, 4.0]), ["5", "6"]]
    assert CallableService(lambda _: lists, 31, 2).recommend([[1], [2]]).tolist() == [[3, 4], [5, 6]]


def test_shorter_lists_are_padded_and_longer_ones_cut():
    assert CallableService(following, 31, 5).recommend([[9]]).tolist() == [[10, 11, 12, 0, 0]]
    assert CallableService(following, 31, 2).recommend([[9]]).tolist() == [[10, 11]]


@pytest.mark.parametrize("k", [0, -1, 31, 100, 5.0, "5", True, None])
def test_lists_longer_than_the_catalogue_or_of_no_whole_length_are_refused_before_a_query(k):
    with pytest.raises(UserError, match=f"^k: {k!r} is no number of items between 1 and the 30 of the catalogue"):
        BlackBox(following, k=k, n_items=31)


@pytest.mark.parametrize("n_items", [0, 1, -4, 31.0, "31", True])
def test_what_is_no_size_of_an_id_space_is_refused(n_items):
    with pytest.raises(UserError, match=f"^n_items: {n_items!r} is no size of an id space"):
        BlackBox(following, k=1, n_items=n_items)


def test_sizes_may_be_of_numpy():
    box = BlackBox(following, k=np.int64(3), n_items=np.int32(31))
    assert box.query([[9]]).tolist() == [[10, 11, 12]]


def test_a_function_may_change_its_argument():
    service = CallableService(lambda rows: [[rows.pop(0)[-1] + 1] for _ in range(len(rows))], 31, 1)
    assert service.recommend([[1], [2]]).tolist() == [[2], [3]]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([[1, 2]], "returned 1 lists for 2 sequences"),
        ([[1, 1], [2, 3]], "list 0 .* different items between 1 and 30"),
        ([[1, 2], [0, 3]], "list 1"),
        ([[1, 2], [31]], "list 1"),
        ([["a"], [1]], "must return lists of item ids"),
        (None, "must return lists of item ids"),
        ([[float("inf")], [1]], "must return lists of item ids, one per sequence"),
        ([["1_0"], [1]], "'1_0' is no item id"),
        ([[True], [1]], "True is no item id"),
        (["12", "34"], "must return lists of item ids, one per sequence: str is no list"),
        ([[1, 2], {4, 3}], "must return lists of item ids, one per sequence: set is no list"),
        ([{1: 0.2, 2: 0.9}, {3: 1.0}], "must return lists of item ids, one per sequence: dict is no list"),
        ({"1": [1, 2], "2": [3]}, "must return lists of item ids, one per sequence: dict is no list"),
        ([[7.9, 3], [1]], "must return lists of item ids, one per sequence: 7.9 is no item id"),
    ],
)
def test_anything_but_lists_of_items_is_refused(returned, message):
    with pytest.raises(UserError, match=f"service: .*{message}"):
        CallableService(lambda _: returned, 31, 2).recommend([[1], [2]])


def test_an_invalid_query_never_reaches_the_function():
    box = BlackBox(lambda rows: pytest.fail("called"), 3, n_items=31)
    for invalid in ([[31]], [[]], [[0, 1]], [["a"]]):
        with pytest.raises(ValueError, match=r"item ids|sequence|padded"):
            box.query(invalid)
    assert box.lists_returned == 0


def test_a_function_needs_the_size_of_its_id_space():
    with pytest.raises(UserError, match="n_items"):
        BlackBox(following, 3)


@pytest.mark.parametrize("name", ["standard+mixed", "rounds"])
def test_one_attack_on_a_function_a_model_and_a_saved_target(name, make_config, make_loaders, tmp_path):
    config, *loaders = make_loaders("GRU4Rec", epochs=1, output_dir=str(tmp_path))
    trainer = TargetTrainer(config, config.model_class(config, loaders[0]._dataset))
    trainer.fit(*loaders[:2], verbose=False)
    saved = load_target(trainer.saved_model_file)
    service = Service(saved.model, 10)
    boxes = {
        "model": BlackBox(saved.model, 10),
        "saved target": BlackBox(saved, 10),
        "function": BlackBox(lambda rows: service.recommend(rows).tolist(), 10, n_items=service.n_items),
    }
    small = {"query_sequences": 12, "query_length": 6, "served_k": 10, "surrogate_epochs": 2, "attacker_rounds": 2}
    logs, losses = [], []
    for box in boxes.values():
        attacker = create_attacker(name, make_config("GRU4Rec", **small, output_dir=str(tmp_path / "attack")))
        logs.append(attacker.query(box, torch.Generator().manual_seed(1)))
        losses.append(attacker.train_surrogate(logs[-1], box.n_items, seed=1).best_valid_score)
    for other in logs[1:]:
        assert torch.equal(other.sequences, logs[0].sequences)
        assert torch.equal(other.lists, logs[0].lists)
    assert losses[0] == losses[1] == losses[2]
