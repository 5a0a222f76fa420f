"""Settings that name columns: what cannot work is refused in one line, what RecBole supports is read as it says."""

import pytest

from recbole_gro.data import build_dataset
from recbole_gro.utils.errors import UserError

HEAD = "user_id:token\titem_id:token\ttimestamp:float\trating:float\tcity:token\ttags:token_seq\tvec:float_seq"
ITEMS = ["item_id:token\tprice:float\tkind:token", *(f"i{n}\t{n}\tk{n % 2}" for n in range(10))]


@pytest.fixture
def shop(tmp_path, make_config):
    """Read the dataset `shop`, 10 users with the ratings 0 to 9 at the times 0 to 9: `shop(val_interval={...})`."""
    rows = [f"u{user}\ti{n}\t{n}\t{n}\tc{user % 2}\ta b\t0.5 1" for user in range(10) for n in range(10)]
    (tmp_path / "shop").mkdir()
    for suffix, lines in (("inter", [HEAD, *rows]), ("item", ITEMS)):
        (tmp_path / "shop" / f"shop.{suffix}").write_text("\n".join(lines) + "\n")

    def read(files=None, **settings):
        for suffix, lines in (files or {}).items():
            (tmp_path / "shop" / f"shop.{suffix}").write_text("\n".join(lines) + "\n")
        return build_dataset(make_config("NARM", "shop", data_path=str(tmp_path), **{"load_col": None, **settings}))

    return read


WRONG = [
    ({"val_interval": {"timstamp": "[0,5]"}}, "val_interval: no loaded column is called 'timstamp'; .* timestamp"),
    ({"val_interval": {"rating": "0,5"}}, "val_interval: rating: '0,5' is no interval; write one such as"),
    ({"val_interval": {"rating": "[5,1e0]"}}, "val_interval: rating: '.5,1e0.' is no interval"),
    ({"val_interval": {"rating": None}}, "val_interval: rating: None is no interval"),
    ({"val_interval": {"city": "[0,1]"}}, "val_interval: city: '.0,1.' is not allowed; it takes a list of names"),
    ({"val_interval": {"city": [1, 2]}}, "val_interval: city: .1, 2. is not allowed; it takes a list of names"),
    ({"val_interval": {"vec": "[0,1]"}}, "val_interval: column vec is float_seq; it takes float or token"),
    ({"normalize_field": ["price", "cost"]}, "normalize_field: no loaded column is called 'cost'"),
    ({"normalize_field": ["city"]}, "normalize_field: column city is token; it takes float or float_seq"),
    ({"normalize_field": ["rating"], "normalize_all": True}, "normalize_field: normalize_all is True"),
    ({"numerical_features": ["nothing"]}, "numerical_features: no loaded column is called 'nothing'"),
    ({"numerical_features": ["tags"]}, "numerical_features: column tags is token_seq; it takes float or float_seq"),
    ({"discretization": {"timestamp": {"method": "LD"}}}, "discretization: timestamp is not in numerical_features"),
    ({"discretization": {"city": {"method": "LD"}}}, "discretization: column city is token; it takes float"),
    ({"threshold": {"stars": 3}}, "threshold: no loaded column is called 'stars'"),
    ({"threshold": {"city": 3}}, "threshold: column city is token; it takes float"),
    ({"threshold": {"price": 3}}, "threshold: price makes no labels; name a column of .inter other than timestamp"),
    ({"threshold": {"timestamp": 3}}, "threshold: timestamp makes no labels"),
    ({"threshold": {"rating": 3}, "LABEL_FIELD": "user_id"}, "LABEL_FIELD: threshold would replace the column user_id"),
    ({"ITEM_LIST_LENGTH_FIELD": "rating"}, "ITEM_LIST_LENGTH_FIELD: rating is a column of the data; name a new one"),
    ({"alias_of_item_id": ["nothing"]}, "alias_of_item_id: no loaded column is called 'nothing'"),
    ({"alias_of_user_id": ["rating"]}, "alias_of_user_id: column rating is float; it takes token or token_seq"),
    ({"alias_of_item_id": ["user_id"]}, "alias_of_item_id: user_id has ids of users"),
    ({"alias_of_user_id": ["city"], "alias_of_item_id": ["city"]}, "alias_of_item_id: city has ids of users"),
    ({"USER_ID_FIELD": "item_id"}, "ITEM_ID_FIELD: item_id is USER_ID_FIELD too; they are different columns"),
    ({"preload_weight": {"nothing": "vec"}}, "preload_weight: no loaded column is called 'nothing'"),
    ({"preload_weight": {"city": "kind"}}, "preload_weight: column kind is token; it takes float or float_seq"),
    ({"preload_weight": {"kind": "price"}}, "preload_weight: kind and price are not both in .inter or in one file"),
    ({"seq_len": {"city": 1}}, "seq_len: column city is token; it takes token_seq or float_seq"),
    ({"seq_len": {"tag": 1}}, "seq_len: no loaded column is called 'tag'; did you mean tags"),
    ({"unused_col": {"inter": ["item_id"]}}, "unused_col: item_id is always used"),
    ({"unused_col": {"inter": ["timestamp", "tmestamp"]}}, r"unused_col: \w+\.inter has no column 'tmestamp'; it has "),
    ({"unused_col": {"user": ["age"]}}, "unused_col: no columns of a file .user are loaded"),
    ({"unused_col": {"itme": ["price"]}}, r"unused_col: no file ends in \.itme; did you mean item\?"),
    ({"unload_col": {"inter": ["stars"]}}, r"unload_col: .*shop\.inter has no column 'stars'; it has user_id"),
    ({"load_col": {"nothing": ["price"]}}, r"load_col: no file ends in \.nothing; did you mean inter\?"),
]


@pytest.mark.parametrize(("settings", "reason"), WRONG, ids=str)
def test_a_column_that_cannot_be_used_is_named_with_its_setting(shop, settings, reason):
    with pytest.raises(UserError, match=reason) as caught:
        shop(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("interval", "kept"), [("[3,5]", 30), ("(3e0,0.5E1]", 20), ("[8,+inf)", 20), ("(-inf, 1]", 20), ([3, 5], 30)]
)
def test_an_interval_of_numbers_in_any_notation_filters(shop, interval, kept):
    assert len(shop(val_interval={"rating": interval}).inter_feat) == kept


def test_texts_filter_a_column_of_tokens(shop):
    assert len(shop(val_interval={"city": ["c1"]}).inter_feat) == 50


def test_what_recbole_supports_is_read(shop):
    dataset = shop(
        normalize_field=["price"],
        numerical_features="rating",  # as a list of one name
        discretization={"rating": {"method": "ED", "bucket": 5}},
        alias_of_item_id=["kind"],
        preload_weight={"city": "vec"},
        seq_len={"tags": 1},
        unused_col={"item": ["price"]},
    )
    assert dataset.item_feat["price"].tolist()[1:11] == [n / 9 for n in range(10)]
    assert dataset.inter_feat["rating"].iloc[0] == [1, 1]  # the lowest of five buckets
    assert dataset.field2bucketnum["rating"] == 6
    assert "k1" in dataset.field2token_id["item_id"]
    assert dataset.get_preload_weight("city").tolist() == [[0, 0], [0.5, 1], [0.5, 1]]
    assert all(len(tags) == 1 for tags in dataset.inter_feat["tags"])


def test_a_threshold_makes_labels(shop, caplog):
    dataset = shop(threshold={"rating": 8})
    assert (
        "threshold: NARM reads no labels, so it changes nothing; val_interval={'rating': '[8,inf)'} keeps"
        in caplog.text
    )
    assert dataset.inter_feat["label"].sum() == 20
    assert "rating" not in dataset.inter_feat


@pytest.mark.parametrize("suffix", ["itememb", "useremb", "vectors"])
def test_weights_stand_in_a_file_with_any_suffix(shop, suffix, caplog):
    lines = ["id:token\tweights:float_seq", *(f"i{n}\t{n} 1" for n in range(9, -1, -1))]
    dataset = shop(
        files={suffix: lines},
        additional_feat_suffix=[suffix],
        alias_of_item_id=["id"],
        preload_weight={"id": "weights"},
        load_col={"inter": ["user_id", "item_id", "timestamp"], suffix: ["id", "weights"]},
    )
    assert "preload_weight: NARM reads no weights of files, so it changes nothing" in caplog.text
    weights = dataset.get_preload_weight("id")
    assert [weights[dataset.token2id("item_id", f"i{n}")].tolist() for n in range(10)] == [[n, 1] for n in range(10)]
