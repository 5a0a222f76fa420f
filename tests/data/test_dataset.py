"""Lazy rows against RecBole's own SequentialDataset, and windows against what a user did."""

import pytest
import torch
from recbole.data.dataset import SequentialDataset

from recbole_gro.data import SequenceDataset, train_rows_of
from recbole_gro.utils.errors import UserError

UNIFORM = {"distribution": "uniform"}
LEAVE_ONE_OUT = {"order": "TO", "group_by": "user", "mode": "full"}


def rows_of(part):
    """All rows of a built split, as the data loader gets them."""
    return part[torch.arange(len(part))]


def assert_same_rows(ours, theirs):
    ours, theirs = rows_of(ours), rows_of(theirs)
    assert set(ours.columns) == set(theirs.columns)
    for field in theirs.columns:
        assert ours[field].dtype == theirs[field].dtype, field
        assert torch.equal(ours[field], theirs[field]), field


def assert_same_rows_by_user(ours, theirs):
    for part in (ours, theirs):
        part.inter_feat.sort(by="user_id")
    assert_same_rows(ours, theirs)


def built(config, kind=SequenceDataset):
    return kind(config).build()


@pytest.fixture
def windows_config(make_config):
    """Make a config of windows that stay where they are cut."""
    return lambda **settings: make_config(**{"train_rows": "windows", "window_shift": 0.0, **settings})


def tokens(dataset, row):
    """The original item names of one row's list."""
    ids = row["item_id_list"][: row["item_length"]]
    return dataset.id2token("item_id", ids.numpy()).tolist()


def lists_by_user(part):
    found = {}
    for row in (rows_of(part)[i] for i in range(len(part))):
        found.setdefault(str(part.id2token("user_id", row["user_id"].item())), []).append(tokens(part, row))
    return found


# prefixes are RecBole's rows


@pytest.mark.parametrize("split", ["valid_and_test", "valid_only", "test_only"])
def test_prefixes_are_recboles_rows(make_config, split):
    config = make_config("NARM", train_rows="prefixes", eval_args={"split": {"LS": split}, **LEAVE_ONE_OUT})
    for ours, theirs in zip(built(config), built(config, SequentialDataset), strict=True):
        assert_same_rows(ours, theirs)


def test_prefixes_are_recboles_rows_under_another_split(make_config):
    config = make_config("NARM", train_rows="prefixes", eval_args={"split": {"RS": [0.6, 0.2, 0.2]}, **LEAVE_ONE_OUT})
    for ours, theirs in zip(built(config), built(config, SequentialDataset), strict=True):
        assert len(theirs) > 0
        assert_same_rows(ours, theirs)


def test_prefixes_are_recboles_rows_with_more_columns_of_every_kind(tmp_path, make_config):
    (tmp_path / "wide").mkdir()
    lines = ["user_id:token\titem_id:token\ttimestamp:float\trating:float\ttags:token_seq\tshape:float_seq"]
    for user in range(5):
        for clock in range(user + 2):
            item = (user * 3 + clock) % 9
            lines.append(f"u{user}\ti{item}\t{clock}\t{item % 5}\ta b{' c' * (item % 2)}\t0.5 {item}.0")
    (tmp_path / "wide" / "wide.inter").write_text("\n".join(lines) + "\n")
    config = make_config(
        "NARM", "wide", data_path=str(tmp_path), load_col=None, train_rows="prefixes", MAX_ITEM_LIST_LENGTH=3
    )
    for ours, theirs in zip(built(config), built(config, SequentialDataset), strict=True):
        assert_same_rows(ours, theirs)


def test_prefixes_of_ml_100k_are_recboles_rows(make_config):
    # its first weeks: RecBole takes long to copy the rows of all
    config = make_config(
        "NARM", "ml-100k", MAX_ITEM_LIST_LENGTH=20, val_interval={"timestamp": "[0,876000000]"}, train_rows="prefixes"
    )
    ours, theirs = built(config), built(config, SequentialDataset)
    assert sum(map(len, theirs)) > 5000
    for our_part, their_part in zip(ours, theirs, strict=True):
        assert_same_rows(our_part, their_part)


# windows


@pytest.mark.parametrize("split", ["valid_and_test", "valid_only", "test_only"])
@pytest.mark.parametrize("length", [2, 3, 8, 50])
def test_windows_leave_recboles_validation_and_test_rows(make_config, split, length):
    config = make_config(
        train_rows="windows", MAX_ITEM_LIST_LENGTH=length, eval_args={"split": {"LS": split}, **LEAVE_ONE_OUT}
    )
    ours, theirs = built(config), built(config, SequentialDataset)
    assert [len(part) for part in ours[1:]] == [len(part) for part in theirs[1:]]
    for our_part, their_part in zip(ours[1:], theirs[1:], strict=True):
        if len(their_part):
            assert_same_rows_by_user(our_part, their_part)


@pytest.mark.parametrize("length", [2, 3, 4, 8, 50])
def test_windows_hold_a_users_training_items_in_order_and_no_other(write_dataset, windows_config, length):
    histories = {f"u{n}": [f"i{(n * 5 + place) % 23}" for place in range(n)] for n in range(1, 23)}
    config = windows_config(data_path=str(write_dataset(histories)), MAX_ITEM_LIST_LENGTH=length)
    windows = lists_by_user(built(config)[0])
    assert set(windows) == {user for user, items in histories.items() if len(items) > 1}
    for user, pieces in windows.items():
        items = histories[user]
        trained = items[: len(items) - min(2, max(len(items) - 2, 0))]
        kept = [item for piece in pieces for item in piece]
        assert kept == trained[len(trained) - len(kept) :]
        # counted from the most recent item back: all full but the oldest, which is dropped where it holds one item
        assert [len(piece) for piece in pieces[1:]] == [length] * (len(pieces) - 1)
        assert 2 <= len(pieces[0]) <= length
        assert len(trained) - len(kept) == (1 if len(trained) % length == 1 else 0)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_windows_hold_no_validation_or_test_item(write_dataset, windows_config, shift):
    histories = {f"u{n}": [f"u{n}-{place}" for place in range(n)] for n in range(4, 30)}  # no item twice
    train = built(windows_config(data_path=str(write_dataset(histories)), window_shift=shift))[0]
    held_out = {item for items in histories.values() for item in items[-2:]}
    for _ in range(5):
        seen = {item for pieces in lists_by_user(train).values() for piece in pieces for item in piece}
        assert seen.isdisjoint(held_out)


def test_moved_windows_are_runs_of_a_users_training_items(write_dataset, windows_config):
    histories = {f"u{n}": [f"u{n}-{place}" for place in range(n)] for n in range(2, 30)}
    train = built(windows_config(data_path=str(write_dataset(histories)), window_shift=1.0))[0]
    lengths = set()
    for _ in range(20):
        for user, pieces in lists_by_user(train).items():
            for piece in pieces:
                start = histories[user].index(piece[0])
                assert piece == histories[user][start : start + len(piece)]
                lengths.add(len(piece))
    assert lengths == set(range(2, 9))


def test_windows_move_anew_each_time_and_by_the_seed(windows_config):
    config = windows_config(window_shift=0.5)
    train, again = built(config)[0], built(config)[0]
    first, second = rows_of(train)["item_id_list"], rows_of(train)["item_id_list"]
    assert not torch.equal(first, second)
    assert torch.equal(first, rows_of(again)["item_id_list"])
    unmoved = rows_of(built(windows_config())[0])["item_id_list"]
    share = (first == unmoved).all(1).float().mean()
    assert 0.3 < share < 0.9  # half of them by choice, some more by a draw of 0


def test_validation_and_test_rows_never_move(windows_config):
    for part in built(windows_config(window_shift=1.0))[1:]:
        assert torch.equal(rows_of(part)["item_id_list"], rows_of(part)["item_id_list"])


def test_an_unmoved_window_carries_the_item_and_time_of_its_last_place(windows_config):
    rows = rows_of(built(windows_config())[0])
    last = (rows["item_length"] - 1).unsqueeze(1)
    assert torch.equal(rows["item_id"], rows["item_id_list"].gather(1, last).squeeze(1))
    assert torch.equal(rows["timestamp"], rows["timestamp_list"].gather(1, last).squeeze(1))


@pytest.mark.parametrize("model", ["NARM", "SASRec"])
def test_windows_are_refused_where_rows_would_hold_the_item_to_predict(windows_config, model):
    with pytest.raises(UserError, match=f"train_rows: windows are for masked models .* {model} takes prefixes"):
        built(windows_config(model=model))


@pytest.mark.parametrize("model", ["NARM", "BERT4Rec"])
def test_prefixes_never_hold_the_item_to_predict(write_dataset, make_config, model):
    histories = {f"u{n}": [f"u{n}-{place}" for place in range(n)] for n in range(4, 30)}  # no item twice
    for part in built(make_config(model, data_path=str(write_dataset(histories)), train_rows="prefixes")):
        rows = rows_of(part)
        assert not (rows["item_id_list"] == rows["item_id"].unsqueeze(1)).any()


def test_short_histories_follow_recboles_leave_one_out(write_dataset, make_config):
    histories = {"one": ["a"], "two": ["a", "b"], "three": ["a", "b", "c"], "four": ["a", "b", "c", "d"]}
    path = str(write_dataset(histories))
    train, valid, test = built(make_config(data_path=path, train_rows="windows"))
    assert lists_by_user(train) == {"two": [["a", "b"]], "three": [["a", "b"]], "four": [["a", "b"]]}
    assert lists_by_user(valid) == {"four": [["a", "b"]]}
    assert lists_by_user(test) == {"three": [["a", "b"]], "four": [["a", "b", "c"]]}
    assert valid.id2token("item_id", rows_of(valid)["item_id"].numpy()).tolist() == ["c"]
    assert sorted(test.id2token("item_id", rows_of(test)["item_id"].numpy()).tolist()) == ["c", "d"]
    config = make_config(data_path=path, train_rows="prefixes")
    for ours, theirs in zip(built(config), built(config, SequentialDataset), strict=True):
        assert_same_rows(ours, theirs)


@pytest.mark.parametrize("rows", ["windows", "prefixes"])
def test_equal_timestamps_keep_the_order_of_the_file(write_dataset, windows_config, rows):
    ties = {f"u{n}": [(f"i{n + place}", 100 + place // 5) for place in range(9)] for n in range(12)}
    all_at_once = {f"v{n}": [(f"i{2 * n + place}", 7) for place in range(6)] for n in range(9)}
    config = windows_config(data_path=str(write_dataset(ties | all_at_once)), train_rows=rows, MAX_ITEM_LIST_LENGTH=4)
    ours, theirs = built(config), built(config, SequentialDataset)
    for our_part, their_part in zip(ours[1:], theirs[1:], strict=True):
        assert_same_rows_by_user(our_part, their_part)
    if rows == "prefixes":
        assert_same_rows_by_user(ours[0], theirs[0])
    else:
        assert lists_by_user(ours[0])["u0"] == [["i0", "i1", "i2"], ["i3", "i4", "i5", "i6"]]
        assert lists_by_user(ours[0])["v0"] == [["i0", "i1", "i2", "i3"]]


def test_timestamps_out_of_order_are_sorted(write_dataset, windows_config):
    path = write_dataset({"ann": [("c", 3), ("a", 1), ("e", 5), ("b", 2), ("d", 4)]})
    train, valid, test = built(windows_config(data_path=str(path)))
    assert lists_by_user(train)["ann"] == [["a", "b", "c"]]
    assert lists_by_user(valid)["ann"] == [["a", "b", "c"]]
    assert lists_by_user(test)["ann"] == [["a", "b", "c", "d"]]


@pytest.mark.parametrize("rows", ["windows", "prefixes"])
def test_rows_are_indexed_by_number_slice_and_list(windows_config, rows):
    train = built(windows_config(train_rows=rows))[0]
    everything = rows_of(train)["item_id_list"]
    assert torch.equal(train[3]["item_id_list"], everything[3])
    assert torch.equal(train[2:5]["item_id_list"], everything[2:5])
    assert torch.equal(train[[7, 1]]["item_id_list"], everything[[7, 1]])


# whole sequences


def predictions(part):
    """{user: [(items before the target, target)]} of the positions at which the rows of sequences predict."""
    found = {}
    for row in (rows_of(part)[i] for i in range(len(part))):
        items = [*tokens(part, row), str(part.id2token("item_id", row["item_id"].item()))]
        pairs = [(items[:place], items[place]) for place in range(1, len(items))][-int(row["n_predicted"]) :]
        found.setdefault(str(part.id2token("user_id", row["user_id"].item())), []).extend(pairs)
    return found


@pytest.mark.parametrize("length", [2, 3, 4, 8, 50])
def test_each_training_target_is_predicted_once_an_epoch_from_the_items_before_it(write_dataset, make_config, length):
    histories = {f"u{n}": [f"u{n}-{place}" for place in range(n)] for n in range(2, 23)}  # no item twice
    config = make_config(
        "GRU4Rec", data_path=str(write_dataset(histories)), train_rows="sequences", MAX_ITEM_LIST_LENGTH=length
    )
    train, lengths = built(config)[0], set()
    for _ in range(60):
        found, rows = predictions(train), lists_by_user(train)
        assert set(found) == set(histories)
        for user, items in histories.items():
            trained = items[: len(items) - min(2, max(len(items) - 2, 0))]
            assert sorted(target for _, target in found[user]) == sorted(trained[1:])
            for context, target in found[user]:
                place = trained.index(target)
                assert 1 <= len(context) <= length
                assert context == trained[place - len(context) : place]
            # as few rows as hold the targets, each with as many items as there are
            assert len(rows[user]) == -(-(len(trained) - 1) // length)
            lasts = [trained.index(row[-1]) for row in rows[user]]
            assert [len(row) for row in rows[user]] == [min(length, last + 1) for last in lasts]
        lengths |= {len(context) for context, target in found["u22"] if target == "u22-10"}
        train.cut_sequences()
    # u22 has 19 targets; 3 rows of 8 leave room for cuts at 6 places, with the target in the second row
    if length == 8:
        assert lengths == {2, 3, 4, 5, 6, 7}


@pytest.mark.parametrize("split", [{"LS": "valid_and_test"}, {"LS": "test_only"}, {"RS": [0.6, 0.2, 0.2]}])
def test_sequences_predict_what_prefixes_do_and_leave_validation_and_test(make_config, split):
    arguments = {"split": split, **LEAVE_ONE_OUT}
    ours, theirs = (
        built(make_config("NARM", train_rows=rows, eval_args=arguments)) for rows in ("sequences", "prefixes")
    )
    targets = [
        sorted((user, target) for user, pairs in predictions(ours[0]).items() for _, target in pairs),
        sorted(
            (str(theirs[0].id2token("user_id", user)), str(theirs[0].id2token("item_id", item)))
            for user, item in zip(theirs[0].inter_feat["user_id"], theirs[0].inter_feat["item_id"], strict=True)
        ),
    ]
    assert targets[0] == targets[1]
    for our_part, their_part in zip(ours[1:], theirs[1:], strict=True):
        if len(their_part):
            assert_same_rows(our_part, their_part)


def test_sequences_predict_no_validation_or_test_item(write_dataset, make_config):
    histories = {f"u{n}": [f"u{n}-{place}" for place in range(n)] for n in range(4, 30)}  # no item twice
    train = built(make_config("SASRec", data_path=str(write_dataset(histories)), train_rows="sequences"))[0]
    for user, pairs in predictions(train).items():
        held_out = set(histories[user][-2:])
        assert held_out.isdisjoint(item for context, target in pairs for item in (*context, target))


@pytest.mark.parametrize(
    ("model", "settings"),
    [("BERT4Rec", {}), ("Caser", {}), ("GRU4Rec", {"loss_type": "BPR", "train_neg_sample_args": UNIFORM})],
)
def test_sequences_are_refused_for_models_that_cannot_train_on_them(make_config, model, settings):
    with pytest.raises(UserError, match=f"train_rows: sequences are for causal models .* {model} takes .*prefixes"):
        built(make_config(model, train_rows="sequences", **settings))
    assert len(built(make_config(model, **settings))[0]) > 0


# both


def test_rows_are_not_copies(make_config):
    for rows in ("prefixes", "windows"):
        dataset = SequenceDataset(make_config(train_rows=rows))
        parts = dataset.build()
        for part in (dataset, *parts):
            assert all(part.inter_feat[field].dim() == 1 for field in part.inter_feat)
            assert rows_of(part)["item_id_list"].shape == (len(part), 8)


@pytest.mark.parametrize("length", [2, 3, 8, 50])
@pytest.mark.parametrize("rows", ["windows", "sequences", "prefixes"])
def test_counters_count_each_training_interaction_once_for_every_kind_of_row(write_dataset, make_config, rows, length):
    # "a" has one interaction, so no row; "d" and "e" are held out
    model = "NARM" if rows == "sequences" else "BERT4Rec"
    path = write_dataset({"one": ["a"], "two": ["a", "b"], "five": ["b", "c", "b", "d", "e"], "six": list("bbabde")})
    train, *_ = built(make_config(model, data_path=str(path), train_rows=rows, MAX_ITEM_LIST_LENGTH=length))
    ids = {item: train.token2id("item_id", item) for item in "abcde"}
    counts = {item: train.interaction_counter[number] for item, number in ids.items()}
    assert counts == {"a": 2, "b": 1 + 2 + 3, "c": 1, "d": 0, "e": 0}
    # RecBole's metrics count targets: all but the first item of "two", "five" and "six"
    counts = {item: train.item_counter[number] for item, number in ids.items()}
    assert counts == {"a": 1, "b": 1 + 1 + 2, "c": 1, "d": 0, "e": 0}


@pytest.mark.parametrize("split", [{"RS": [0.5, 0.25, 0.25]}, {"LS": "valid_and_test"}])
def test_item_counter_follows_the_split(write_dataset, make_config, split):
    path = write_dataset({f"u{n}": [f"u{n}-{place}" for place in range(9)] for n in range(5)})
    arguments = {"split": split, **LEAVE_ONE_OUT}
    train, *held_out = built(make_config("NARM", data_path=str(path), eval_args=arguments))
    held = {item for part in held_out for item in rows_of(part)["item_id"].tolist()}
    assert set(train.interaction_counter) == set(range(1, train.item_num)) - held


def test_item_counter_of_held_out_parts_counts_what_they_predict(make_config):
    _, *ours = built(make_config("NARM"))
    _, *theirs = built(make_config("NARM"), SequentialDataset)
    assert [part.item_counter for part in ours] == [part.item_counter for part in theirs]


def test_masked_models_have_prefixes_with_other_splits(make_config):
    split = {"split": {"RS": [0.8, 0.1, 0.1]}, **LEAVE_ONE_OUT}
    train, *_ = built(make_config("BERT4Rec", eval_args=split))
    assert train_rows_of(make_config("BERT4Rec", eval_args=split)) == "prefixes"
    prefixes, *_ = built(make_config("BERT4Rec", eval_args=split, train_rows="prefixes"))
    assert rows_of(train)["item_length"].tolist() == rows_of(prefixes)["item_length"].tolist()


def test_windows_need_the_leave_one_out_split(windows_config):
    config = windows_config(train_rows="windows", eval_args={"split": {"RS": [0.8, 0.1, 0.1]}, **LEAVE_ONE_OUT})
    with pytest.raises(UserError, match=r"train_rows: windows need the leave-one-out split .* set train_rows=prefixes"):
        built(config)


@pytest.mark.parametrize("rows", ["windows", "prefixes"])
def test_one_interaction_a_user_is_nothing_to_predict(write_dataset, make_config, rows):
    path = write_dataset({"ann": ["a"], "bob": ["b"]})
    with pytest.raises(UserError, match="dataset tiny: no user has two interactions"):
        built(make_config(data_path=str(path), train_rows=rows))


def test_the_rows_of_auto_are_those_that_suit_the_model(make_config):
    def rows(model, **settings):
        return len(built(make_config(model, **settings))[0])

    prefixes = rows("NARM", train_rows="prefixes")
    assert rows("BERT4Rec") == rows("BERT4Rec", train_rows="windows") < prefixes / 2
    assert rows("NARM") == rows("NARM", train_rows="sequences") < prefixes / 2
    assert rows("GRU4Rec", loss_type="BPR", train_neg_sample_args=UNIFORM) == rows("Caser") == prefixes
