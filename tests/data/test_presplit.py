"""Pre-split files: rows of one numbering, at most MAX_ITEM_LIST_LENGTH items each, or a refusal in one line."""

import logging
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_gro import run_recbole_gro
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.data.auxiliary_data import auxiliary_sequences
from recbole_gro.data.availability import announce_packaged
from recbole_gro.data.presplit import first_occurrences
from recbole_gro.utils.errors import UserError

USERS = {f"u{n}": [f"i{(3 * n + place) % 17}" for place in range(8)] for n in range(20)}
PARTS = {"train": range(1, 6), "valid": range(6, 7), "test": range(7, 8)}
LISTS = {"MAX_ITEM_LIST_LENGTH": 4, "benchmark_filename": list(PARTS), "load_col": None}


@pytest.fixture
def write_parts(tmp_path):
    """Write rows (user, history, next item) of three files; the folder, for `data_path`."""

    def write(rows_of=None, pad=0, item="item_id", columns=""):
        (tmp_path / "cut").mkdir()
        for part, places in PARTS.items():
            lines = [f"user_id:token\t{item}_list:token_seq\t{item}:token{columns}"]
            for user, items in USERS.items():
                for place in places:
                    history = items[:place] + ["0"] * (pad - place)
                    lines.append(f"{user}\t{' '.join(history)}\t{items[place]}")
            (tmp_path / "cut" / f"cut.{part}.inter").write_text("\n".join((rows_of or {}).get(part, lines)) + "\n")
        return str(tmp_path)

    return write


def tokens(dataset, rows):
    return [
        (
            str(dataset.id2token("user_id", user)),
            [str(name) for name in dataset.id2token("item_id", items[:length])],
            str(dataset.id2token("item_id", target)),
        )
        for user, items, length, target in zip(
            *(rows[field].numpy() for field in ("user_id", "item_id_list", "item_length", "item_id")), strict=True
        )
    ]


@pytest.mark.parametrize("pad", [0, 9], ids=["", "padded"])
@pytest.mark.parametrize("length", [4, 50])
def test_rows_are_the_files_with_the_most_recent_items(write_parts, make_config, pad, length):
    config = make_config("GRU4Rec", "cut", data_path=write_parts(pad=pad), **{**LISTS, "MAX_ITEM_LIST_LENGTH": length})
    dataset = build_dataset(config)
    assert dataset.item_num == 17 + 1
    for part, places in zip(dataset.build(), PARTS.values(), strict=True):
        rows = part[torch.arange(len(part))]
        assert rows["item_id_list"].shape == (len(part), length)
        expected = [(user, items[:n][-length:], items[n]) for user, items in USERS.items() for n in places]
        assert tokens(part, rows) == expected


def test_an_item_called_0_stays_one(write_parts, make_config):
    rows = ["user_id:token\titem_id_list:token_seq\titem_id:token", "u\ta b\t0", "v\t0 b\ta"]
    path = write_parts(dict.fromkeys(PARTS, tuple(rows)))
    train, *_ = build_dataset(make_config("GRU4Rec", "cut", data_path=path, **LISTS)).build()
    assert tokens(train, train[torch.arange(2)]) == [("u", ["a", "b"], "0"), ("v", ["0", "b"], "a")]


def test_times_beside_items_are_read_with_them(write_parts, make_config):
    head = "user_id:token\titem_id_list:token_seq\titem_id:token\ttimestamp:float\ttimestamp_list:float_seq"
    path = write_parts(dict.fromkeys(PARTS, (head, "u\ta b 0\tc\t3\t1 2 0", "v\tb\ta\t7\t5")))
    train, *_ = build_dataset(make_config("GRU4Rec", "cut", data_path=path, **LISTS)).build()
    rows = train[torch.arange(2)]
    assert rows["timestamp_list"].tolist() == [[1, 2, 0, 0], [5, 0, 0, 0]]
    assert rows["timestamp"].tolist() == [3, 7]


def test_the_item_column_may_have_another_name(write_parts, make_config):
    path = write_parts(item="film")
    train, *_ = build_dataset(make_config("GRU4Rec", "cut", data_path=path, ITEM_ID_FIELD="film", **LISTS)).build()
    assert train[0]["film_list"].tolist()[:2] == [train.token2id("film", "i0"), 0]


def test_interactions_are_counted_once_and_known_to_an_attacker_whole(write_parts, make_config):
    config = make_config("GRU4Rec", "cut", data_path=write_parts(), **LISTS)
    train, *_ = build_loaders(config, build_dataset(config))
    trained = {user: items[:6] for user, items in USERS.items()}
    counts = {
        str(train._dataset.id2token("item_id", item)): n for item, n in train._dataset.interaction_counter.items()
    }
    every = [item for items in trained.values() for item in items]
    assert counts == {item: every.count(item) for item in set(every)}
    known = auxiliary_sequences(train._dataset, 1.0, 50, torch.Generator())
    found = {tuple(train._dataset.id2token("item_id", row[row > 0].numpy())) for row in known}
    assert found == set(map(tuple, trained.values()))


def test_every_session_of_a_user_is_counted_and_targets_as_recbole_counts_them(tmp_path, make_config):
    sessions = {user: [[f"i{(n + k * place) % 13}" for place in range(5 + k)] for k in (1, 2, 3)]
                for n, user in enumerate(USERS)}  # fmt: skip
    (tmp_path / "cut").mkdir()
    for part in PARTS:
        lines = ["user_id:token\titem_id_list:token_seq\titem_id:token"]
        lines += [
            f"{user}\t{' '.join(items[:n])}\t{items[n]}"
            for user, lists in sessions.items()
            for items in (lists if part == "train" else lists[:1])
            for n in range(1, len(items))
        ]
        (tmp_path / "cut" / f"cut.{part}.inter").write_text("\n".join(lines) + "\n")
    config = make_config("GRU4Rec", "cut", data_path=str(tmp_path), **LISTS)
    train = build_loaders(config, build_dataset(config))[0]._dataset
    targets, every = Counter(), Counter()
    for lists in sessions.values():
        targets.update(item for items in lists for item in items[1:])
        every.update(items[-1] for items in {tuple(items[:n]) for items in lists for n in range(1, len(items) + 1)})
    named = [{str(train.id2token("item_id", item)): n for item, n in counter.items()}
             for counter in (train.item_counter, train.interaction_counter)]  # fmt: skip
    assert named == [targets, every]


def test_first_occurrences_are_those_of_distinct_prefixes():
    draw = np.random.default_rng(1)
    sizes = draw.integers(1, 6, 300)
    start = np.repeat(np.arange(300), sizes)
    users, items = np.repeat(draw.integers(0, 5, 300), sizes), draw.integers(1, 3, sizes.sum())
    seen, expected = set(), []
    for position in range(len(items)):
        first = int(np.flatnonzero(start == start[position])[0])
        prefix = (users[position], *items[first : position + 1])
        if prefix not in seen:
            expected.append(position)
        seen.add(prefix)
    assert first_occurrences(users, items, start).tolist() == expected
    assert first_occurrences(*np.zeros((3, 0), dtype=int)).tolist() == []


def test_complete_histories_are_those_of_the_file(write_parts, make_config):
    config = make_config("GRU4Rec", "cut", data_path=write_parts(), **LISTS)
    for part, places in zip(build_dataset(config).build(), PARTS.values(), strict=True):
        found = part.complete_histories(3, len(part) - 3).numpy()
        names = [[str(part.id2token("item_id", item)) for item in row if item] for row in found]
        assert names == [items[:n] for items in USERS.values() for n in places][3:]


@pytest.mark.parametrize("model", ["GRU4Rec", "BERT4Rec"])
def test_a_run_with_every_part_works(write_parts, tmp_path, make_config, model):
    lists = {**LISTS, "MAX_ITEM_LIST_LENGTH": 6}
    settings = make_config(model, "cut", data_path=write_parts(), **lists).external_config_dict
    small = {"query_sequences": 4, "query_length": 3, "surrogate_epochs": 1, "gro_epochs": 1, "attacker": "few_shot"}
    results = run_recbole_gro(
        model, "cut", config_dict={**settings, **small, "defense": ["none", "gro"], "output_dir": str(tmp_path / "out")}
    )
    assert [row["defense"] for row in results["defenses"]] == ["none", "gro"]
    assert all(0 <= row["target"]["test"]["ndcg@5"] <= 1 for row in results["defenses"])


def test_filters_of_a_packaged_file_that_are_not_applied_are_not_announced(write_parts, make_config, caplog):
    path = Path(write_parts())
    shutil.copytree(path / "cut", path / "ml-1m")
    for file in (path / "ml-1m").iterdir():
        file.rename(file.with_name(file.name.replace("cut.", "ml-1m.")))
    config = make_config("GRU4Rec", "ml-1m", data_path=str(path), **LISTS)
    with caplog.at_level(logging.INFO, "recbole_gro"):
        announce_packaged(config, build_dataset(config))
    logged = "\n".join(record.message for record in caplog.records)
    assert "gro_lambda=1.0" in logged
    assert "filter" not in logged
    assert "interval" not in logged


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"benchmark_filename": ["train", "test"]}, r"benchmark_filename: .* is not a list of three names"),
        ({"benchmark_filename": ["train", "valid", "tst"]}, r"there is no file .*cut\.tst\.inter"),
        ({"train_rows": "windows"}, "train_rows: windows need complete histories"),
        ({"item_inter_num_interval": "[5,inf)"}, r"item_inter_num_interval: pre-split files .* are not filtered"),
        ({"core_filter": "once"}, r"core_filter: pre-split files .* are not filtered"),
        ({"seq_len": {"item_id_list": 3}}, "seq_len: item_id_list holds histories, of which it would keep the oldest"),
        (
            {"LIST_SUFFIX": "_seq"},
            r"cut\.train\.inter: there is no column 'item_id_seq' \(LIST_SUFFIX\); each row .* has the history",
        ),
    ],
)
def test_what_pre_split_files_do_not_go_with_is_one_line(write_parts, make_config, settings, reason):
    path = write_parts()
    config = make_config("BERT4Rec", "cut", data_path=path, **{**LISTS, **settings})
    with pytest.raises(UserError, match=reason):
        build_loaders(config, build_dataset(config))


HEAD = "user_id:token\titem_id_list:token_seq\titem_id:token"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([HEAD, "u\ta\tb", "u\t\tb"], r"cut\.valid\.inter, line 3: no item_id_list"),
        ([HEAD, "u\t0 0\tb"], r"cut\.valid\.inter, row 1 below the first line: item_id_list has no item"),
        ([HEAD, "u\ta\t"], r"cut\.valid\.inter, line 2: no item_id"),
        ([HEAD], r"cut\.valid\.inter: there is no line below the first"),
    ],
)
def test_rows_that_cannot_be_read_are_reported(write_parts, make_config, lines, reason):
    path = write_parts({"valid": lines})
    with pytest.raises(UserError, match=reason):
        build_dataset(make_config("GRU4Rec", "cut", data_path=path, **LISTS))


def test_lists_of_different_length_are_reported(write_parts, make_config):
    head = HEAD + "\ttimestamp:float\ttimestamp_list:float_seq"
    path = write_parts(dict.fromkeys(PARTS, (head, "u\ta b\tc\t3\t1 2", "v\tb a\ta\t7\t5")))
    with pytest.raises(UserError, match=r"cut\.train\.inter, row 2 .*: timestamp_list is not as long as item_id_list"):
        build_dataset(make_config("GRU4Rec", "cut", data_path=path, **LISTS))


def test_columns_are_loaded_without_load_col(write_parts, make_config):
    config = make_config("GRU4Rec", "cut", data_path=write_parts(), **{**LISTS, "load_col": {"inter": ["user_id"]}})
    assert len(build_dataset(config).build()[0]) == 5 * len(USERS)


@pytest.mark.parametrize("users", [USERS, {user: items[:2] * 4 for user, items in USERS.items()}], ids=["", "periodic"])
def test_interactions_of_histories_that_are_cut_to_a_length_are_counted_once(write_parts, make_config, users):
    rows = {
        part: [
            "user_id:token\titem_id_list:token_seq\titem_id:token",
            *(
                f"{user}\t{' '.join(items[max(0, n - 3) : n])}\t{items[n]}"
                for user, items in users.items()
                for n in places
            ),
        ]
        for part, places in PARTS.items()
    }
    config = make_config("GRU4Rec", "cut", data_path=write_parts(rows), **LISTS)
    train = build_loaders(config, build_dataset(config))[0]._dataset
    counts = {str(train.id2token("item_id", item)): n for item, n in train.interaction_counter.items()}
    assert counts == Counter(item for items in users.values() for item in items[:6])


def test_the_wrong_separator_of_lists_is_a_warning(write_parts, make_config, caplog):
    rows = {part: ["user_id:token\titem_id_list:token_seq\titem_id:token", "u\ta|b|c\td", "v\td|a\tb", "w\tb|d\ta"]
            for part in PARTS}  # fmt: skip
    path = write_parts(rows)
    build_dataset(make_config("GRU4Rec", "cut", data_path=path, **LISTS))
    (warning,) = [record.message for record in caplog.records if "seq_separator" in record.message]
    assert warning.startswith("seq_separator: 9 of 9 items are no item to predict, such as 'a|b|c', in item_id_list of")
    caplog.clear()
    build_dataset(make_config("GRU4Rec", "cut", data_path=path, seq_separator="|", **LISTS))
    assert not [record for record in caplog.records if "seq_separator" in record.message]
