import csv
import unicodedata
from urllib.parse import unquote

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas._libs.parsers import STR_NA_VALUES

from recbole_gro.data.atomic_writer import atomic_files, token, write_row

COLUMNS = ("user_id:token", "item_id:token", "timestamp:float")
ODD = [
    "Ann", "ann", " ann", "ann ", " ", "Zoë", "龍", "🎮", "a\tb", "a\nb", "a\r\nb", "a\rb", '"', '"quoted"', 'in"side',
    "50%", "%09", "%2509", "#", "#1", "0007", "7", "7.0", "1e5", "inf", "True", "a,b", "a\\b", "\\", "'", "\x00",
    "\u2028", "\x85", "\ufeff", "\ud800", "\x1a", "-", "a::b", *sorted(STR_NA_VALUES - {""}),
]  # fmt: skip


def test_names_come_back_from_the_file(tmp_path):
    with atomic_files(tmp_path, {"odd.inter": COLUMNS}) as files:
        for clock, text in enumerate(ODD):
            write_row(files["odd.inter"], (token(text), token(text), str(clock)))
    rows = pd.read_csv(
        tmp_path / "odd.inter", sep="\t", dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE, lineterminator="\n"
    )
    for column in COLUMNS[:2]:
        assert [unquote(name, errors="surrogatepass") for name in rows[column]] == ODD


@pytest.mark.parametrize(
    "name", ["null", "NA", "nan", "None", '"quoted"', 'in"side', "Zoë 龍", "a,b", "#", " ", "\u2028"]
)
def test_ordinary_names_stay_as_they_are(name):
    assert token(name) == name


@given(st.text(st.characters(), min_size=1), st.text(st.characters(), min_size=1))
def test_a_token_is_one_field_of_one_line_and_no_two_texts_share_it(one, other):
    for text in (one, other):
        written = token(text)
        assert len(f"{written}\tnext".split("\t")) == 2
        assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in written)
        assert unquote(written, errors="surrogatepass") == text
    assert (token(one) == token(other)) == (one == other)


def test_all_files_appear_at_the_end(tmp_path):
    folder = tmp_path / "new" / "set"
    with atomic_files(folder, {"a.inter": COLUMNS, "a.item": ("item_id:token",)}) as files:
        write_row(files["a.inter"], ("u", "i", "1"))
        assert not (folder / "a.inter").exists()
    assert (folder / "a.inter").read_bytes() == b"user_id:token\titem_id:token\ttimestamp:float\nu\ti\t1\n"
    assert sorted(path.name for path in folder.iterdir()) == ["a.inter", "a.item"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_nothing_and_takes_nothing(tmp_path, error):
    def stopped(folder):
        with atomic_files(folder, {"a.inter": COLUMNS, "a.item": COLUMNS}) as files:
            write_row(files["a.inter"], ("u", "i", "1"))
            raise error

    with pytest.raises(error):
        stopped(tmp_path / "new" / "set")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "notes.txt").write_text("precious")
    with pytest.raises(error):
        stopped(tmp_path / "old")
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["notes.txt"]
