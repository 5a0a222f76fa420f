import pytest
from conftest import SMALL

from recbole_gro import UserError
from recbole_gro.data import build_dataset
from recbole_gro.serving.numbering import renumber


@pytest.fixture
def dataset(make_config, write_dataset, tmp_path):
    """Return a dataset of two users and four items, with their classes and similar items."""
    write_dataset({"ann": ["x", "y", "z"], "bob": ["z", "w"]})
    rows = ("z\tlast\tx y", "x\tfirst\tz", "y\tmiddle\tx", "w\tlast\ty")
    lines = ["item_id:token\tclass:token\tsimilar:token_seq", *rows]
    (tmp_path / "tiny" / "tiny.item").write_text("\n".join(lines) + "\n")
    columns = {**SMALL["load_col"], "item": ["item_id", "class", "similar"]}
    given = {"data_path": str(tmp_path), "load_col": columns, "alias_of_item_id": ["similar"]}
    return build_dataset(make_config("NARM", **given))


def contents(dataset):
    """Return a dataset in tokens: the class and similar items of each item, and the interactions."""
    name, item, user = dataset.id2token, dataset.item_feat, dataset.inter_feat
    rows = zip(item["item_id"], item["class"], item["similar"], strict=True)
    described = {
        name("item_id", i): (name("class", int(c)), [name("similar", s) for s in similar])
        for i, c, similar in rows
        if i and len(similar)
    }
    pairs = zip(name("user_id", user["user_id"].to_numpy()), name("item_id", user["item_id"].to_numpy()), strict=True)
    return described, sorted(pairs)


def test_ids_change_and_contents_do_not(dataset):
    before = contents(dataset)
    assert before[0]["z"] == ("last", ["x", "y"])
    renumber(dataset, ["[PAD]", "w", "gone", "z", "y", "x"], ["[PAD]", "bob"])
    assert contents(dataset) == before
    assert dataset.token2id("item_id", ["w", "gone", "z", "y", "x"]).tolist() == [1, 2, 3, 4, 5]
    assert dataset.token2id("similar", "x") == 5
    assert dataset.token2id("user_id", ["bob", "ann"]).tolist() == [1, 2]
    assert (dataset.item_num, dataset.user_num) == (6, 3)
    assert dataset.item_feat["item_id"].tolist() == [0, 1, 2, 3, 4, 5]
    assert dataset.item_feat["class"][2] == 0  # no features of an item without interactions


def test_unknown_items_are_counted_and_nothing_is_changed(dataset):
    before = dataset.field2id_token["item_id"].tolist()
    with pytest.raises(UserError, match=r"is unknown to the model \(2 of 4 items are\); it was trained on 2 items"):
        renumber(dataset, ["[PAD]", "y", "x"], ["[PAD]", "ann", "bob"])
    assert dataset.field2id_token["item_id"].tolist() == before
