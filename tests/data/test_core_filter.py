"""The filter of one pass against a slow reference, and beside RecBole's."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_gro.data import SequenceDataset, build_dataset
from recbole_gro.data.core_filter import dropped_once
from recbole_gro.utils.errors import UserError

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40)
# item z is rare; without it ann is; without ann, x is
CHAIN = {"ann": ["z", "x"], "bob": ["x", "y", "w"], "cat": ["y", "w", "y"], "dan": ["w", "y"]}
AT_LEAST_TWO = {"item_inter_num_interval": "[2,inf)", "user_inter_num_interval": "[2,inf)"}


def slow_reference(pairs, least_item, least_user):
    """The filter as a person would do it with a list: (user, item) pairs that are left."""
    items = [item for _, item in pairs]
    pairs = [pair for pair in pairs if items.count(pair[1]) >= least_item]
    users = [user for user, _ in pairs]
    return [pair for pair in pairs if users.count(pair[0]) >= least_user]


def left(config):
    """User -> items in time order, of a dataset as it is read."""
    found = {}
    dataset = SequenceDataset(config)
    for user, item in dataset.inter_feat[["user_id", "item_id"]].itertuples(index=False):
        user, item = dataset.id2token("user_id", user), dataset.id2token("item_id", item)
        found.setdefault(str(user), []).append(str(item))
    return found


@given(pairs=PAIRS, least_item=st.integers(0, 5), least_user=st.integers(0, 5))
def test_one_pass_is_the_slow_references(pairs, least_item, least_user):
    table = pd.DataFrame(pairs, columns=["user", "item"], index=range(7, 7 + len(pairs)))
    fits = {"item": lambda count: count >= least_item, "user": lambda count: count >= least_user}
    kept = table.drop(dropped_once(table, fits))
    assert list(kept.itertuples(index=False, name=None)) == slow_reference(pairs, least_item, least_user)


def test_once_and_repeated_differ_where_a_pass_makes_others_rare(write_dataset, make_config):
    path = str(write_dataset(CHAIN))
    once = left(make_config(data_path=path, core_filter="once", **AT_LEAST_TWO))
    assert once == {"bob": ["x", "y", "w"], "cat": ["y", "w", "y"], "dan": ["w", "y"]}
    repeated = left(make_config(data_path=path, core_filter="repeated", **AT_LEAST_TWO))
    assert repeated == {"bob": ["y", "w"], "cat": ["y", "w", "y"], "dan": ["w", "y"]}


def test_the_default_is_recboles_filter(write_dataset, make_config):
    path = str(write_dataset(CHAIN))
    assert left(make_config(data_path=path, **AT_LEAST_TWO)) == left(
        make_config(data_path=path, core_filter="repeated", **AT_LEAST_TWO)
    )


def test_once_without_intervals_keeps_everything(write_dataset, make_config):
    assert left(make_config(data_path=str(write_dataset(CHAIN)), core_filter="once")) == CHAIN


@pytest.mark.parametrize(
    ("intervals", "users"),
    [
        ({"user_inter_num_interval": "[3,inf)"}, ["bob", "cat"]),
        ({"user_inter_num_interval": "(2,3]"}, ["bob", "cat"]),
        ({"user_inter_num_interval": "[0,2]"}, ["ann", "dan"]),
        ({"item_inter_num_interval": "[4,inf)"}, ["bob", "cat", "dan"]),
    ],
    ids=str,
)
def test_once_reads_recboles_intervals(write_dataset, make_config, intervals, users):
    config = make_config(data_path=str(write_dataset(CHAIN)), core_filter="once", **intervals)
    assert sorted(left(config)) == users


def test_the_catalogue_is_what_is_left(write_dataset, make_config):
    folder = write_dataset({"ann": ["a", "a"], "bob": ["b", "c", "b"], "cat": ["b", "c", "c"]})
    (folder / "tiny" / "tiny.item").write_text("item_id:token\tkind:token\n" + "".join(f"{i}\tk\n" for i in "abcde"))
    (folder / "tiny" / "tiny.user").write_text("user_id:token\tage:token\nann\t1\nbob\t2\ncat\t3\neve\t4\n")
    config = make_config(
        data_path=str(folder), core_filter="once", load_col=None, item_inter_num_interval="[2,inf)",
        user_inter_num_interval="[3,inf)",
    )  # fmt: skip
    dataset = SequenceDataset(config)
    assert sorted(dataset.field2id_token["item_id"][1:]) == ["b", "c"]
    assert sorted(dataset.field2id_token["user_id"][1:]) == ["bob", "cat"]


def test_a_filter_that_leaves_nothing_is_one_line(write_dataset, make_config):
    config = make_config(data_path=str(write_dataset(CHAIN)), core_filter="once", user_inter_num_interval="[9,inf)")
    with pytest.raises(
        UserError, match=r"dataset tiny: the filters leave nothing in inter_feat; widen user_inter_num_interval"
    ):
        build_dataset(config)
