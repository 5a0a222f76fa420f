import pytest

from recbole_gro import Config
from recbole_gro.data.histories import read_histories
from recbole_gro.utils.errors import UserError


@pytest.fixture(scope="module")
def config():
    return Config("GRU4Rec", "service", config_dict={"use_gpu": False})


def test_histories_are_in_exact_time_order(tmp_path, config):
    file = tmp_path / "own.inter"
    rows = ["b\tq\t1700000000000000001", "a\tx\t3", "b\tp\t1700000000000000000", "a\tx\t1", "a\tz\t2", "c\tp\t1"]
    file.write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows, ""]))
    assert sorted(read_histories(file, config)) == [["p", "q"], ["x", "z", "x"]]
    assert sorted(read_histories(file, config, least=1)) == [["p"], ["p", "q"], ["x", "z", "x"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("user_id:token\titem_id:token\nu\ti\n", r"no column 'timestamp' \(TIME_FIELD\)"),
        ("user_id:token\titem_id:token\ttimestamp:float\nu\ti\n", "line 2: 2 values for 3 columns"),
        ("user_id:token\titem_id:token\ttimestamp:float\nu\ti\tx\n", "line 2: timestamp 'x' is no number"),
        ("user_id:token\titem_id:token\ttimestamp:float\nu\ti\t1\n", "no user with two or more items"),
    ],
)
def test_invalid_files_are_named(tmp_path, config, text, message):
    (tmp_path / "own.inter").write_text(text)
    with pytest.raises(UserError, match=message):
        read_histories(tmp_path / "own.inter", config)
