"""Interactions and features as the files hold them, and settings about them that cannot work."""

import logging
import re
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction

from recbole_gro.data import atomic_reader, build_dataset
from recbole_gro.data.availability import announce_packaged
from recbole_gro.data.interactions import InteractionDataset
from recbole_gro.utils.errors import UserError

USERS = {f"u{n}": [f"i{(n + place) % 30}" for place in range(10)] for n in range(60)}  # 600 interactions


@pytest.fixture
def write_file(tmp_path):
    """Write a file of the dataset `shop`; the folder, for `data_path`."""

    def write(lines, suffix="inter", encoding="utf-8"):
        (tmp_path / "shop").mkdir(exist_ok=True)
        (tmp_path / "shop" / f"shop.{suffix}").write_text("\n".join(lines) + "\n", encoding=encoding)
        return str(tmp_path)

    return write


def lines(names=None, separator="\t"):
    """The lines of USERS, some users or items under another name."""
    names = names or {}
    head = ("user_id:token", "item_id:token", "timestamp:float")
    rows = [
        (names.get(user, user), names.get(item, item), str(place))
        for user, items in USERS.items()
        for place, item in enumerate(items)
    ]
    return [separator.join(row) for row in (head, *rows)]


@pytest.mark.parametrize(
    "names",
    [
        {"i3": '"Heroes"', "i4": "Heroes"},
        {"i3": '"open', "i9": 'close"', "u7": '"'},
        {"u0": "null", "u1": "NA", "u2": "None", "u3": "nan", "i3": "NULL", "i4": "n/a", "i5": "0"},
    ],
)
def test_every_line_is_an_interaction_and_every_name_an_item_or_user(write_file, make_config, names):
    dataset = build_dataset(make_config("NARM", "shop", data_path=write_file(lines(names))))
    assert (len(dataset.inter_feat), dataset.user_num - 1, dataset.item_num - 1) == (600, 60, 30)
    known = {*dataset.field2id_token["user_id"], *dataset.field2id_token["item_id"]}
    assert known == {"[PAD]"} | {names.get(name, name) for name in [*USERS, *(f"i{n}" for n in range(30))]}
    assert (dataset.inter_feat[["user_id", "item_id"]] > 0).all(axis=None)


@pytest.mark.parametrize("separator", [" ", "|", "::", "   ", ","])
def test_separators_change_nothing(write_file, make_config, separator):
    config = make_config("NARM", "shop", data_path=write_file(lines(separator=separator)))
    config["field_separator"] = separator
    dataset = build_dataset(config)
    assert (len(dataset.inter_feat), dataset.user_num - 1, dataset.item_num - 1) == (600, 60, 30)


def test_the_encoding_is_the_settings(write_file, make_config):
    path = write_file(lines({"i3": "Zoë"}), encoding="latin-1")
    assert (
        "Zoë"
        in build_dataset(make_config("NARM", "shop", data_path=path, encoding="latin-1")).field2token_id["item_id"]
    )
    with pytest.raises(UserError, match=r"shop\.inter, line \d+: .* is not utf-8"):
        build_dataset(make_config("NARM", "shop", data_path=path))


def test_an_infinite_time_is_reported(write_file, make_config):
    path = write_file([*lines(), "u1\ti1\tinf"])
    with pytest.raises(UserError, match=r"shop\.inter, line 602: timestamp .inf. is no finite number"):
        build_dataset(make_config("NARM", "shop", data_path=path))


def test_the_csv_file_of_the_page_on_own_data_becomes_an_atomic_file(make_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f'0{user},"SKU ""{item}""",2018-01-0{item + 1} 00:00:0{user}' for user in (1, 2) for item in (3, 1, 2)]
    rows += ["01,SKU 4,2018-01-05", "01,SKU 5,2018-01-06T00:00:00.5+01:00"]  # of other lengths
    rows += [f"null,{item},2018-01-0{day} 00:00:00" for day, item in enumerate(("NA", "nan", "None"), 1)]
    rows += ['01,"SKU\t6\r\nlarge",2018-01-07', '01,"SKU\n7",2018-01-08']
    (tmp_path / "orders.csv").write_text("\n".join(["customer,sku,bought_at", *rows, ",SKU 9,2018-01-01"]) + "\n")
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "own-data.md").read_text()
    exec(re.search(r"```python\n(.*?)```", page, flags=re.DOTALL)[1], {})
    dataset = build_dataset(make_config("NARM", "shop", data_path=tmp_path / "data"))
    items = {f'SKU "{item}"' for item in (1, 2, 3)} | {"SKU 4", "SKU 5", "SKU 6  large", "SKU 7", "NA", "nan", "None"}
    assert set(dataset.field2token_id["item_id"]) == {"[PAD]", *items}
    assert set(dataset.field2token_id["user_id"]) == {"[PAD]", "01", "02", "null"}
    written = (tmp_path / "data" / "shop" / "shop.inter").read_text().splitlines()
    assert written[1] == '01\tSKU "3"\t1515024001.0'
    assert written[7:9] == ["01\tSKU 4\t1515110400.0", "01\tSKU 5\t1515193200.5"]


# settings that name columns


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"load_col": {"inter": ["timestamp", "rating"]}},
            r"load_col: .*shop\.inter has no column 'rating'; it has user_id",
        ),
        ({"TIME_FIELD": "when", "load_col": None}, r"shop\.inter: there is no column 'when' \(TIME_FIELD\)"),
        ({"additional_feat_suffix": ["emb"]}, r"there is no file .*shop\.emb"),
    ],
)
def test_a_missing_column_or_file_is_reported(write_file, make_config, settings, reason):
    config = make_config("NARM", "shop", data_path=write_file(lines()), **settings)
    with pytest.raises(UserError, match=reason):
        build_dataset(config)


def test_columns_are_chosen_as_recbole_does(write_file, make_config):
    wide = [f"{line}\t{n or 'rating:float'}" for n, line in enumerate(lines())]
    path = write_file(wide)

    def columns(**settings):
        return set(build_dataset(make_config("NARM", "shop", data_path=path, **settings)).inter_feat)

    three = {"user_id", "item_id", "timestamp"}
    assert columns() == three
    assert columns(load_col=None) == columns(load_col={"inter": "*"}) == three | {"rating"}
    assert columns(load_col=None, unload_col={"inter": ["rating"]}) == three
    assert columns(load_col={"inter": ["timestamp"]}) == three  # ids are always needed


# item features

ITEMS = ["item_id:token\tclass:token_seq\tprice:float", *(f"i{n}\tdrama c{n % 3}\t{n}" for n in range(1, 30)), "i0\t\t"]
FEATURES = {"load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class", "price"]}}


def test_empty_features_are_missing(write_file, make_config):
    write_file(ITEMS, "item")
    dataset = build_dataset(make_config("GRU4RecF", "shop", data_path=write_file(lines()), **FEATURES))
    features = dataset.item_feat.set_index("item_id")
    zero = dataset.token2id("item_id", "i0")
    assert features.loc[zero, "class"].tolist() == []
    assert features.loc[zero, "price"] == features["price"].drop(zero).mean()  # RecBole's stand-in
    assert set(dataset.field2id_token["class"]) == {"[PAD]", "drama", "c0", "c1", "c2"}


def test_interactions_of_items_without_a_row_are_counted(write_file, make_config, caplog):
    path = write_file(lines())
    write_file(ITEMS[:20], "item")
    given = build_dataset(make_config("GRU4Rec", "shop", data_path=path, load_col=None))
    assert not set(given.field2id_token["item_id"]) - {"[PAD]"} - {row.split("\t")[0] for row in ITEMS[1:20]}
    left_out = len(lines()) - 1 - len(given.inter_feat)
    assert left_out > 0
    assert (
        f"shop: {left_out} of {len(lines()) - 1} interactions are left out, whose user or item has no row in shop.item"
        in (caplog.text)
    )
    caplog.clear()
    write_file(ITEMS, "item")
    build_dataset(make_config("GRU4Rec", "shop", data_path=path, load_col=None))
    assert "left out" not in caplog.text


def test_an_item_without_id_and_a_price_that_is_none_are_reported(write_file, make_config):
    path = write_file(lines())
    config = make_config("GRU4RecF", "shop", data_path=path, **FEATURES)
    write_file([ITEMS[0], "i1\ta\t2", "\tb\t3"], "item")
    with pytest.raises(UserError, match=r"shop\.item, line 3: no item_id"):
        build_dataset(config)
    write_file([ITEMS[0], "i1\ta\tNA"], "item")
    with pytest.raises(UserError, match=r"shop\.item, line 2: price 'NA' is no number"):
        build_dataset(config)


@pytest.mark.parametrize(
    ("items", "settings", "reason"),
    [
        (
            None,
            {},
            r"reads the item feature 'class', which is no column of shop\.item or not in load_col; .* does not exist",
        ),
        (
            ITEMS,
            {"selected_features": ["genre"]},
            "reads the item feature 'genre', .* its columns: item_id, class, price",
        ),
        (ITEMS, {"selected_features": ["price"]}, "reads the item feature 'price', a float; it takes token, token_seq"),
    ],
)
def test_an_item_feature_that_is_missing_or_of_the_wrong_type_is_named(
    write_file, make_config, items, settings, reason
):
    path = write_file(lines())
    if items:
        write_file(items, "item")
    config = make_config("GRU4RecF", "shop", data_path=path, **{**FEATURES, **settings})
    with pytest.raises(UserError, match=f"selected_features: GRU4RecF {reason}"):
        build_dataset(config)


# packaged settings


def test_packaged_settings_and_what_their_filter_dropped_are_announced(tmp_path, write_dataset, make_config, caplog):
    often = {f"u{n}": [f"i{place}" for place in range(6)] for n in range(7)}
    path = write_dataset({**often, "u7": ["i0", "rare"]}, name="ml-1m")
    config = make_config("BERT4Rec", "ml-1m", data_path=str(path), gro_epochs=3)
    with caplog.at_level(logging.INFO, "recbole_gro"):
        announce_packaged(config, build_dataset(config))
    logged = "\n".join(record.message for record in caplog.records)
    assert "packaged settings of properties/dataset/ml-1m.yaml: " in logged
    assert "packaged settings of properties/dataset/ml-1m.BERT4Rec.yaml: " in logged
    assert "core_filter=once" in logged
    assert "gro_lambda=1.0" in logged
    assert "gro_epochs" not in logged  # the user's own
    assert "the filters keep 7 of 8 users, 6 of 7 items, 42 of 44 interactions" in logged


def test_a_dataset_without_packaged_settings_is_not_announced(make_config, caplog):
    config = make_config("NARM")
    with caplog.at_level(logging.INFO, "recbole_gro"):
        announce_packaged(config, build_dataset(config))
    assert not [record for record in caplog.records if record.name == "recbole_gro"]


def test_a_fault_of_the_code_stays_a_traceback(make_config, monkeypatch):
    def broken(self):
        raise AttributeError("a bug")

    monkeypatch.setattr(InteractionDataset, "_fill_nan", broken)
    with pytest.raises(AttributeError, match="a bug"):
        build_dataset(make_config("NARM"))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"rm_dup_inter": "last"},
        {"user_inter_num_interval": "[9,inf)", "item_inter_num_interval": "[5,inf)"},
        {"core_filter": "once", "user_inter_num_interval": "[9,inf)", "item_inter_num_interval": "[5,inf)"},
        {"val_interval": {"item_id": [f"i{n}" for n in range(9)], "timestamp": "[2,inf)"}},
        {"filter_inter_by_user_or_item": True, "load_col": {"inter": "*", "item": "*"}},
    ],
)
@pytest.mark.parametrize("names", [{}, {"i3": "", "u4": "NA"}, {"i3": "a\tb"}, {"i3": '"'}])
def test_typed_columns_give_the_rows_and_ids_of_the_exact_reader(write_file, make_config, settings, names):
    folder = write_file(lines(names))
    write_file(["item_id:token\tclass:token", *(f"i{n}\tc{n % 3}" for n in range(28))], "item")

    def outcome():
        try:
            dataset = build_dataset(make_config("NARM", "shop", data_path=folder, **settings))
        except UserError as error:
            return str(error)
        ids = {field: list(names) for field, names in dataset.field2id_token.items()}
        return ids, dataset.inter_feat.to_dict("list"), dataset.time_ranks.tolist(), dataset.filtered

    fast = outcome()
    with patch.object(atomic_reader, "typed_columns", lambda *_: None):
        assert outcome() == fast
    assert isinstance(fast, str) == bool(names.keys() & {"i3"} and names["i3"] in ("", "a\tb"))


@pytest.mark.parametrize("mode", ["valid_and_test", "valid_only", "test_only"])
def test_leave_one_out_gives_the_rows_of_recbole_in_its_order(mode):
    draw = torch.Generator().manual_seed(1)
    rows = Interaction({"user": torch.randint(1, 40, (150,), generator=draw), "row": torch.arange(150)})
    dataset = InteractionDataset.__new__(InteractionDataset)
    dataset.inter_feat, dataset.config, dataset.logger = rows, {"unused_col": None}, logging.getLogger()
    assert rows["user"].bincount().min() < 3
    for ours, theirs in zip(
        dataset.leave_one_out("user", mode), Dataset.leave_one_out(dataset, "user", mode), strict=True
    ):
        assert {name: values.tolist() for name, values in ours.inter_feat.interaction.items()} == {
            name: values.tolist() for name, values in theirs.inter_feat.interaction.items()
        }
