"""Ranks of times by their exact values, histories in that order, and the warning about RecBole's own dataset."""

import logging
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recbole.data import create_dataset, data_preparation

from recbole_gro.data import SequenceDataset, build_dataset
from recbole_gro.data.time_order import time_ranks, warn_of_rounded_times
from recbole_gro.defense.gro.trainer import GROTrainer
from recbole_gro.utils.compat import SPLITS_BY_TIME

NEXT = [3, 0, 4, 1, 5, 2, 7, 6, 9, 8]  # the items that follow 0, 1, ..
TIMES = {
    "small": lambda place: place,
    "negative": lambda place: place - 20,
    "seconds": lambda place: 1_700_000_000 + place,
    "milliseconds": lambda place: 1_700_000_000_000 + place,
    "nanoseconds": lambda place: 1_700_000_000_000_000_000 + place,
    "fractions": lambda place: f"0.{place:03d}",
    "seconds with fractions": lambda place: f"1700000000.{place:09d}",
    "exponents": lambda place: f"{10 + place}e8",
}


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=3), min_size=1))
def test_ranks_are_those_of_exact_numbers(numbers):
    texts = np.array([str(number) for number in numbers], dtype=object)
    in_order = sorted({Fraction(number) for number in numbers})
    assert time_ranks(texts).tolist() == [in_order.index(Fraction(number)) for number in numbers]


def test_times_that_float64_rounds_differ_in_rank_and_equal_ones_do_not():
    texts = ["9007199254740993", "9007199254740992", "9007199254740992.0", "9007199254740992.5", "1", "1.0"]
    assert time_ranks(np.array(texts, dtype=object)).tolist() == [3, 1, 1, 2, 0, 0]


def walks(n_users=30, length=8):
    """User -> its items, each followed by its NEXT."""
    found = {}
    for user in range(n_users):
        items = [user % 10]
        while len(items) < length:
            items.append(NEXT[items[-1]])
        found[f"u{user}"] = [f"i{item}" for item in items]
    return found


def newest_first(folder, time):
    """Write the walks so that the file's order is the reverse of that in time."""
    lines = [f"{user}\t{item}\t{time(place)}" for user, items in walks().items() for place, item in enumerate(items)]
    (folder / "tiny").mkdir()
    text = "\n".join(["user_id:token\titem_id:token\ttimestamp:float", *reversed(lines)])
    (folder / "tiny" / "tiny.inter").write_text(text + "\n")
    return str(folder)


def histories(dataset):
    found = {}
    history = dataset.history
    for user, item in zip(history["user_id"].numpy(), history["item_id"].numpy(), strict=True):
        name = str(dataset.id2token("user_id", user))
        found.setdefault(name, []).append(str(dataset.id2token("item_id", item)))
    return found


@pytest.mark.parametrize("settings", [{}, {"normalize_all": True}, {"rm_dup_inter": "first"}], ids=str)
@pytest.mark.parametrize("time", TIMES.values(), ids=TIMES)
def test_histories_are_in_the_order_of_the_files_times(tmp_path, make_config, time, settings):
    dataset = SequenceDataset(make_config("NARM", data_path=newest_first(tmp_path, time), **settings))
    dataset.build()
    expected = walks()
    if settings.get("rm_dup_inter"):
        expected = {user: list(dict.fromkeys(items)) for user, items in expected.items()}
    assert histories(dataset) == expected


@pytest.mark.parametrize("keep", ["first", "last"])
def test_of_a_repeated_item_the_first_or_last_in_time_stays(write_dataset, make_config, keep):
    clock = 1_700_000_000
    events = [("b", clock + 2), ("a", clock + 4), ("c", clock + 3), ("a", clock + 1), ("c", clock + 3)]
    dataset = SequenceDataset(make_config("NARM", data_path=str(write_dataset({"ann": events})), rm_dup_inter=keep))
    dataset.build()
    assert histories(dataset)["ann"] == (["a", "b", "c"] if keep == "first" else ["b", "c", "a"])


def test_filters_leave_each_interaction_its_own_time(write_dataset, make_config):
    clock = 1_700_000_000
    events = {
        "ann": [(f"i{n}", clock - n) for n in range(6)],
        "bob": [("rare", clock), *((f"i{n}", clock - n) for n in range(6))],
    }
    dataset = SequenceDataset(
        make_config("NARM", data_path=str(write_dataset(events)), item_inter_num_interval="[2,inf)")
    )
    dataset.build()
    assert histories(dataset) == {user: [f"i{n}" for n in range(5, -1, -1)] for user in events}


def test_users_stay_apart_where_filters_leave_few_of_many_times(write_dataset, make_config):
    # 40 interactions before those that stay: their ranks exceed their number
    events = {
        "many": [(f"i{n % 3}", 1_700_000_000 + n) for n in range(40)],
        **{user: [(f"i{n}", 1_800_000_000 + 10 * n) for n in range(3)] for user in ("ann", "bob", "cid")},
    }
    dataset = SequenceDataset(
        make_config(
            "NARM",
            data_path=str(write_dataset(events)),
            user_inter_num_interval="[2,5]",
            served_k=2,
            topk=[1, 2],
            valid_metric="NDCG@2",
        )
    )
    dataset.build()
    assert histories(dataset) == {user: ["i0", "i1", "i2"] for user in ("ann", "bob", "cid")}


def test_a_ratio_split_cuts_at_the_files_times(write_dataset, make_config):
    # every event a second after the one before, whoever had it; float32 rounds all of them to one time
    clock = 1_700_000_000
    events = {f"u{n}": [(f"i{n}-{place}", clock + 4 * place + n) for place in range(10)] for n in (3, 2, 1, 0)}
    split = {"split": {"RS": [0.5, 0.25, 0.25]}, "order": "TO", "group_by": None, "mode": "full"}
    train, valid, test = SequenceDataset(
        make_config("NARM", data_path=str(write_dataset(events)), eval_args=split, train_rows="prefixes")
    ).build()
    places = [
        {int(name.rpartition("-")[2]) for name in part.id2token("item_id", part.inter_feat["item_id"].numpy())}
        for part in (train, valid, test)
    ]
    assert places[0] | places[1] | places[2] == set(range(1, 10))
    assert max(places[0]) <= min(places[1])
    assert max(places[1]) <= min(places[2])
    assert train.inter_feat["timestamp"].dtype == torch.float32
    assert (train.inter_feat["timestamp"] > 1.6e9).all()


@pytest.mark.skipif(not SPLITS_BY_TIME, reason="RecBole 1.2.0 has no split TS")
def test_a_time_based_split_cuts_at_the_files_times(write_dataset, make_config):
    # 4 users with 10 events each; the boundary is the 75th percentile of the 36 targets' times, of which 9 lie above
    clock = 1_700_000_000
    events = {f"u{n}": [(f"i{n}-{place}", clock + 4 * place + n) for place in range(10)] for n in (3, 2, 1, 0)}
    split = {"split": {"TS": [0.5, 0.25, 0.25]}, "order": "TO", "mode": "full"}
    config = make_config("NARM", data_path=str(write_dataset(events)), eval_args=split, train_rows="prefixes")
    found = [
        sorted(str(name) for name in part.id2token("item_id", part.inter_feat["item_id"].numpy()))
        for part in SequenceDataset(config).build()
    ]
    places = {"train": range(1, 5), "valid": range(5, 8), "test": range(8, 10)}
    expected = {part: {f"i{n}-{place}" for n in range(4) for place in range_} for part, range_ in places.items()}
    # of the 9 latest events the first is that of u3 at place 7; 2/3 of a user's earlier ones, rounded down, train
    expected["valid"].remove("i3-7")
    expected["test"].add("i3-7")
    assert found == [sorted(items) for items in expected.values()]


# RecBole's own dataset


def own_loaders(config):
    return data_preparation(config, create_dataset(config))


@pytest.mark.parametrize(
    ("name", "warned"), [("seconds", True), ("milliseconds", True), ("small", False), ("fractions", False)]
)
def test_rounded_times_in_recboles_dataset_are_one_warning(tmp_path, make_config, caplog, name, warned):
    config = make_config(
        "BERT4Rec", data_path=newest_first(tmp_path, TIMES[name]), gro_epochs=1, served_k=5, train_rows="prefixes"
    )
    train, valid, _ = own_loaders(config)
    trainer = GROTrainer(config, config.model_class(config, train._dataset))
    with caplog.at_level(logging.WARNING, "recbole_gro"):
        trainer.fit(train, valid, saved=False)
    warnings = [record.message for record in caplog.records if "float32" in record.message]
    assert len(warnings) == warned
    assert all("of the same user's one before" in warning for warning in warnings)


def test_times_that_merge_among_validation_rows_alone_are_a_warning(write_dataset, make_config, caplog):
    # the last three clicks of a user, of which validation and test have the later two, are one second apart each
    times = [1_700_000_000 + 1000 * place for place in range(8)]
    times += [times[-1] + 1, times[-1] + 2]
    events = {f"u{n}": [(f"i{n + place}", time) for place, time in enumerate(times)][::-1] for n in range(9)}
    config = make_config("NARM", data_path=str(write_dataset(events)), gro_epochs=1, served_k=5, train_rows="prefixes")
    train, valid, _ = own_loaders(config)
    warn_of_rounded_times(train._dataset)
    assert not [record for record in caplog.records if "float32" in record.message]
    trainer = GROTrainer(config, config.model_class(config, train._dataset))
    with caplog.at_level(logging.WARNING, "recbole_gro"):
        trainer.fit(train, valid, saved=False)
    (warning,) = [record.message for record in caplog.records if "float32" in record.message]
    assert "9 of 72 interactions have the timestamp of the same user's one before" in warning


@pytest.mark.parametrize(("unit", "length"), [(3600, 4), (3600, 20), (86400, 20), (1e10, 4), (1e10, 20)])
def test_the_warning_covers_fractions_and_its_advice_helps(write_dataset, make_config, caplog, unit, length):
    # clicks every 7 seconds in another order in the file; with 4 of them a user has one training row
    events = {f"u{n}": [(f"i{n + m}", f"{(1.6e9 + 7 * m) / unit!r}") for m in range(length)][::-1] for n in range(9)}
    config = make_config("NARM", data_path=str(write_dataset(events)))
    warn_of_rounded_times(own_loaders(config)[0]._dataset)
    (warning,) = [record.message for record in caplog.records if "float32" in record.message]
    assert "build the dataset with recbole_gro.data.build_dataset in place of create_dataset" in warning
    caplog.clear()
    train, _, test = data_preparation(config, build_dataset(config))
    warn_of_rounded_times(train._dataset)
    assert not [record for record in caplog.records if "float32" in record.message]
    assert histories(test._dataset) == {user: [item for item, _ in rows][::-1] for user, rows in events.items()}


def test_fractions_that_float32_tells_apart_are_no_warning(write_dataset, make_config, caplog):
    events = {f"u{n}": [(f"i{n + m}", 0.25 * m) for m in range(6)] for n in range(9)}
    warn_of_rounded_times(own_loaders(make_config("NARM", data_path=str(write_dataset(events))))[0]._dataset)
    assert not [record for record in caplog.records if "float32" in record.message]


def test_equal_small_times_and_our_own_dataset_are_no_warning(tmp_path, write_dataset, make_config, caplog):
    ties = make_config(
        "NARM", data_path=str(write_dataset({f"u{n}": [(f"i{n + m}", 7) for m in range(6)] for n in range(9)}))
    )
    warn_of_rounded_times(own_loaders(ties)[0]._dataset)
    (tmp_path / "other").mkdir()
    ours = make_config("NARM", data_path=newest_first(tmp_path / "other", TIMES["milliseconds"]))
    warn_of_rounded_times(SequenceDataset(ours).build()[0])
    assert not [record for record in caplog.records if record.name == "recbole_gro"]
