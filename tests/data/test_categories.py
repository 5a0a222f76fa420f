"""Texts with NUL characters are texts as others, from the file to the names of a dataset."""

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_gro.data import atomic_reader, build_dataset
from recbole_gro.data.atomic_reader import AtomicTable
from recbole_gro.data.categories import categories_of, joined_categories

ITEMS = ["a", "a\0b", "a\0c", "a\0", "\0", "x"]


def test_texts_that_agree_up_to_a_nul_are_apart():
    read = categories_of([*ITEMS, np.nan, *ITEMS])
    assert [*read.categories] == ITEMS
    assert read.codes.tolist() == [0, 1, 2, 3, 4, 5, -1, 0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("odd", ["y", "a\0b"])
def test_joined_parts_keep_their_texts(odd):
    texts = [["a", odd, np.nan], ["x", "a"], [odd, "z", "x"]]
    joined = joined_categories([categories_of(part) for part in texts])
    assert [None if pd.isna(text) else text for text in joined] == ["a", odd, None, "x", "a", odd, "z", "x"]


@pytest.mark.parametrize("block", [2**24, 7], ids=["one block", "many blocks"])
def test_a_file_is_read_as_it_stands(tmp_path, monkeypatch, block):
    monkeypatch.setattr(atomic_reader, "BLOCK", block)
    lines = [f"{item}\t{item} x\n" for item in ITEMS * 2]
    (tmp_path / "t").write_text("".join(["i:token\tl:token_seq\n", *lines, "\tx\n"]))
    table = AtomicTable(tmp_path / "t", "\t")
    read = table.read("il")
    assert [*read["i"]][:-1] == ITEMS * 2
    assert pd.isna(read["i"].iloc[-1])
    assert [[*row] for row in table.sequences(read["l"], " ")] == [[item, "x"] for item in ITEMS * 2] + [["x"]]


def test_items_with_nul_keep_their_names_and_features(tmp_path, make_config):
    (tmp_path / "d").mkdir()
    rows = [f"u\0{user}\t{item}\t{time}\n" for user in range(3) for time, item in enumerate(ITEMS)]
    (tmp_path / "d" / "d.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n" + "".join(rows))
    features = "".join(f"{item}\tclass{place}\n" for place, item in enumerate(reversed(ITEMS)))
    (tmp_path / "d" / "d.item").write_text("item_id:token\tclass:token\n" + features)
    load = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"]}
    dataset = build_dataset(make_config("GRU4Rec", "d", data_path=str(tmp_path), load_col=load))
    assert sorted(dataset.field2id_token["item_id"]) == sorted(["[PAD]", *ITEMS])
    assert sorted(dataset.field2id_token["user_id"]) == ["[PAD]", *(f"u\0{user}" for user in range(3))]
    for place, item in enumerate(reversed(ITEMS)):
        feature = dataset.item_feat["class"][dataset.token2id("item_id", item)]
        assert dataset.id2token("class", int(feature)) == f"class{place}"


def test_pre_split_histories_keep_what_follows_a_nul(tmp_path, make_config):
    (tmp_path / "d").mkdir()
    rows = {"u1": (["a\0", "x", "y"], "z"), "u2": (["a\0", "z", "z"], "a"), "u3": (["a\0b"], "a\0")}
    lines = "".join(f"{user}\t{' '.join(items)}\t{target}\n" for user, (items, target) in rows.items())
    for part in ("train", "valid", "test"):
        head = "user_id:token\titem_id_list:token_seq\titem_id:token\n"
        (tmp_path / "d" / f"d.{part}.inter").write_text(head + lines)
    config = make_config(
        "GRU4Rec", "d", data_path=str(tmp_path), load_col=None, benchmark_filename=["train", "valid", "test"]
    )
    train = build_dataset(config).build()[0]
    read = train[torch.arange(len(train))]
    names, columns = train.field2id_token["item_id"], ("item_id_list", "item_length", "item_id")
    found = [
        ([*names[items[:length]]], names[target])
        for items, length, target in zip(*(read[column].numpy() for column in columns), strict=True)
    ]
    assert found == [*rows.values()]
