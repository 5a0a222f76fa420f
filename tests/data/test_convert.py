"""From files as they are published to a dataset that RecBole reads."""

import gzip
import warnings
from collections import Counter

import pytest
from pipeline import files_below

from recbole_gro import UserError
from recbole_gro.data import build_dataset
from recbole_gro.data.convert import convert, summary
from recbole_gro.data.raw_formats import PUBLISHED

# user, item, rating, time: three users who do not take turns
EVENTS = [("1", "10", "5", 30), ("2", "20", "3", 10), ("1", "20", "4", 10), ("1", "30", "1", 20), ("2", "10", "2", 40)]
HISTORIES = {"1": ["20", "30", "10"], "2": ["20", "10"]}


def ratings_dat(events=EVENTS):
    return "".join(f"{user}::{item}::{stars}::{time}\n" for user, item, stars, time in events)


def ratings_csv(events=EVENTS, header="userId,movieId,rating,timestamp\r\n"):
    return header + "".join(f"{user},{item},{stars}.0,{time}\r\n" for user, item, stars, time in events)


def steam_reviews(events=EVENTS):
    return "".join(
        f"{{u'username': u'{user}', u'hours': 0.5, u'product_id': u'{item}', u'date': u'1970-01-{time // 2:02d}', "
        f"u'text': u'it\\'s \\u2603, \"good\"'}}\n"
        for user, item, _, time in events
    )


def reviews_json(events=EVENTS):
    return "".join(
        f'{{"reviewerID": "{user}", "asin": "{item}", "overall": {stars}.0, "unixReviewTime": {time}}}\n'
        for user, item, stars, time in events
    )


RAW = {
    ("ml-1m", "ratings.dat"): ratings_dat(),
    ("ml-20m", "ratings.csv"): ratings_csv(),
    ("steam", "steam_reviews.json"): steam_reviews(),
    ("amazon-beauty", "ratings_Beauty.csv"): ratings_csv(header=""),
    ("amazon-beauty", "reviews_Beauty.json"): reviews_json(),
}


@pytest.fixture
def raw(tmp_path):
    """Write a published file: `raw("ratings.dat", text)`; its path."""

    def write(name, content):
        content = content.encode() if isinstance(content, str) else content
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return write


def histories(dataset):
    """User -> items in time order, as original names."""
    table = dataset.inter_feat.sort_values([dataset.uid_field, dataset.time_field], kind="stable")
    users = dataset.id2token(dataset.uid_field, table[dataset.uid_field].to_numpy())
    items = dataset.id2token(dataset.iid_field, table[dataset.iid_field].to_numpy())
    found = {}
    for user, item in zip(users, items, strict=True):
        found.setdefault(str(user), []).append(str(item))
    return found


@pytest.mark.parametrize(("name", "file"), RAW)
def test_a_converted_dataset_is_read_as_it_happened(raw, tmp_path, make_config, name, file):
    (done,) = convert(name, raw(file, RAW[name, file]), tmp_path / "out")
    assert (done.rows, done.bad) == (len(EVENTS), 0)
    assert files_below(tmp_path / "out") == [name, f"{name}/{name}.inter"]
    few = {"item_inter_num_interval": "[1,inf)", "user_inter_num_interval": "[1,inf)", "core_filter": "once"}
    dataset = build_dataset(make_config("NARM", name, data_path=str(tmp_path / "out"), **few))
    assert histories(dataset) == HISTORIES


@pytest.mark.parametrize("file", ["ratings.dat", "inner/ratings.dat"])
def test_a_folder_with_the_file_is_a_valid_path(raw, tmp_path, file):
    raw(file, ratings_dat())
    assert convert("ml-1m", tmp_path / "raw", tmp_path / "out")[0].source == tmp_path / "raw" / file


@pytest.mark.parametrize("name", ["steam_reviews.json.gz", "another name.gz"])
def test_a_gzipped_file_is_read_as_it_is(raw, tmp_path, name):
    assert convert("steam", raw(name, steam_reviews()), tmp_path / "out")[0].rows == len(EVENTS)


def test_movies_are_converted_if_their_file_is_in_the_folder(raw, tmp_path, make_config):
    path = raw("ratings.dat", ratings_dat())
    raw(
        "movies.dat",
        "10::Misérables, Les (1995)::Drama|Musical\n20::Nan (1999)::Sci-Fi\n30::Untold::War\n".encode("latin-1"),
    )
    ratings, movies = convert("ml-1m", path, tmp_path / "out")
    assert (ratings.rows, movies.rows) == (len(EVENTS), 3)
    assert files_below(tmp_path / "out" / "ml-1m") == ["ml-1m.inter", "ml-1m.item"]
    settings = {"load_col": None, "core_filter": "once", "item_inter_num_interval": "[1,inf)"}
    settings["user_inter_num_interval"] = "[1,inf)"
    dataset = build_dataset(make_config("NARM", "ml-1m", data_path=str(tmp_path / "out"), **settings))
    titles = dict(
        zip(
            dataset.id2token("item_id", dataset.item_feat["item_id"].to_numpy()),
            dataset.item_feat["movie_title"],
            strict=True,
        )
    )
    assert dataset.id2token("movie_title", titles["10"]).tolist() == ["Misérables,", "Les"]


def test_movies_of_ml_20m_may_have_commas(raw, tmp_path):
    path = raw("ratings.csv", ratings_csv())
    raw("movies.csv", 'movieId,title,genres\n10,"American President, The (1995)",Comedy|Drama\n20,Plain (2001),War\n')
    assert [done.rows for done in convert("ml-20m", path, tmp_path / "out")] == [len(EVENTS), 2]
    rows = (tmp_path / "out" / "ml-20m" / "ml-20m.item").read_text(encoding="utf-8").splitlines()
    assert rows[1] == "10\tAmerican President, The\t1995\tComedy Drama"


def test_odd_names_stay_apart(raw, tmp_path):
    names = ["null", "NA", "龍", "a\tb", "it's", '"', "Zoë", "zoë", " "]
    lines = [str({"username": name, "product_id": str(n), "date": "2017-12-17"}) for name in names for n in range(5)]
    convert("steam", raw("steam_reviews.json", "\n".join(lines)), tmp_path / "out")
    _, *rows = (tmp_path / "out" / "steam" / "steam.inter").read_text(encoding="utf-8").splitlines()
    users = Counter(row.split("\t")[0].replace("%09", "\t") for row in rows)
    assert users == dict.fromkeys(names, 5)


def test_bad_lines_are_reported_by_number_and_left_out(raw, tmp_path):
    lines = ratings_dat().splitlines(keepends=True)
    lines[2:2] = ["1::20::5\n", "\n", "::20::5::3\n", "1::20::many::3\n"]
    (done,) = convert("ml-1m", raw("ratings.dat", "".join(lines)), tmp_path / "out")
    assert (done.rows, done.bad) == (len(EVENTS), 3)
    assert done.reasons == [
        "line 3: 4 fields expected, found 3", "line 5: no user", "line 6: rating 'many' is not a number"
    ]  # fmt: skip


def test_of_many_bad_lines_a_few_are_shown_and_all_are_counted(raw, tmp_path):
    path = raw("ratings.dat", ratings_dat() + "bad\n" * 1234)
    printed = summary("ml-1m", str(tmp_path / "out"), convert("ml-1m", path, tmp_path / "out"))
    assert "bad lines left out: 1234" in printed
    assert [line.strip() for line in printed.splitlines() if "line" in line and "fields" in line] == [
        f"line {n}: 4 fields expected, found 1" for n in range(6, 11)
    ]
    assert "..." in printed


def test_long_values_are_shortened_in_reasons(raw, tmp_path):
    (done,) = convert("ml-1m", raw("ratings.dat", ratings_dat() + f"1::20::{'many ' * 9999}::3\n"), tmp_path / "out")
    (reason,) = done.reasons
    assert reason.startswith("line 6: rating 'many many ")
    assert len(reason) < 250


def test_bytes_of_another_encoding_are_a_bad_line(raw, tmp_path):
    (done,) = convert(
        "steam", raw("steam_reviews.json", steam_reviews().encode() + b"{'username': '\xff'}\n"), tmp_path / "out"
    )
    assert (done.rows, done.bad) == (len(EVENTS), 1)
    assert done.reasons == ["line 6: 'utf-8' codec can't decode byte 0xff in position 14: invalid start byte"]


def test_code_in_a_review_is_a_bad_line_and_does_not_run(raw, tmp_path):
    made = tmp_path / "made"
    attack = f"__import__('os').system('touch {made}')\n"
    hidden = f"{{'username': __import__('os').system('touch {made}'), 'product_id': '1', 'date': '2017-12-17'}}\n"
    (done,) = convert("steam", raw("steam_reviews.json", attack + steam_reviews() + hidden), tmp_path / "out")
    assert (done.rows, done.bad) == (len(EVENTS), 2)
    assert done.reasons[0] == "line 1: neither JSON nor a Python literal"
    assert not made.exists()


def test_odd_escapes_in_a_review_cause_no_warning(raw, tmp_path):
    line = "{'username': 'Ann', 'product_id': '1', 'date': '2017-12-17', 'text': '\\d 1 is 1'}\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert convert("steam", raw("steam_reviews.json", line), tmp_path / "out")[0].rows == 1


# what cannot work


def refused(tmp_path, name, path):
    """The one line that a conversion ends in; nothing is left behind."""
    with pytest.raises(UserError) as caught:
        convert(name, path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("content", ["", "\n\n", "bad\n" * 9, "\x00\xff" * 50], ids=["empty", "blank", "bad", "binary"])
def test_a_file_without_a_row_is_refused_with_an_example(raw, tmp_path, name, content):
    interactions = PUBLISHED[name][0]
    reason = refused(tmp_path, name, raw("some file", content))
    assert "some file: " in reason
    assert f"lines such as {interactions.example} are expected" in reason
    assert ("it has no row" if not content.strip() else "of its") in reason


def test_the_header_alone_is_no_row(raw, tmp_path):
    assert "it has no row" in refused(tmp_path, "ml-20m", raw("ratings.csv", ratings_csv(events=[])))


def test_the_file_of_another_dataset_is_refused(raw, tmp_path):
    reason = refused(tmp_path, "ml-1m", raw("ratings.csv", ratings_csv()))
    assert "none of its 6 lines is valid (line 1: 4 fields expected, found 1)" in reason


def test_bad_items_leave_no_interactions_either(raw, tmp_path):
    path = raw("ratings.dat", ratings_dat())
    raw("movies.dat", "nothing\n")
    assert "movies.dat: none of its 1 lines" in refused(tmp_path, "ml-1m", path)


def test_a_download_cut_short_leaves_nothing(raw, tmp_path):
    path = raw("steam_reviews.json.gz", steam_reviews(EVENTS * 500))
    path.write_bytes(path.read_bytes()[:-200])
    assert "damaged or incomplete gzip" in refused(tmp_path, "steam", path)


def test_missing_files_and_datasets_are_reported(tmp_path):
    assert "no such file or folder; ratings.dat is expected" in refused(tmp_path, "ml-1m", tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    assert "neither it nor a folder in it has ratings.csv" in refused(tmp_path, "ml-20m", tmp_path / "empty")
    assert "unknown dataset 'ml-10m'. Did you mean 'ml-1m'" in refused(tmp_path, "ml-10m", tmp_path)


def test_files_of_a_folder_may_be_compressed(raw, tmp_path):
    raw("ratings.dat.gz", ratings_dat())
    raw("movies.dat.gz", "1::Toy Story (1995)::Animation\n")
    done = convert("ml-1m", tmp_path / "raw", tmp_path / "compressed")
    assert [one.source.name for one in done] == ["ratings.dat.gz", "movies.dat.gz"]
    raw("ratings.dat", ratings_dat())
    assert convert("ml-1m", tmp_path / "raw", tmp_path / "plain")[0].source.name == "ratings.dat"
    rows = [(tmp_path / place / "ml-1m" / "ml-1m.inter").read_text() for place in ("compressed", "plain")]
    assert rows[0] == rows[1]


def test_two_candidates_are_ambiguous(raw, tmp_path):
    raw("a/ratings.dat", ratings_dat())
    raw("b/ratings.dat", ratings_dat())
    assert "both exist; give one of them" in refused(tmp_path, "ml-1m", tmp_path / "raw")


def test_a_zip_is_to_be_extracted(raw, tmp_path):
    assert "ml-1m.zip: extract it first" in refused(tmp_path, "ml-1m", raw("ml-1m.zip", "PK"))


def test_no_existing_file_is_overwritten(raw, tmp_path):
    path = raw("ratings.dat", ratings_dat())
    convert("ml-1m", path, tmp_path)
    before = (tmp_path / "ml-1m" / "ml-1m.inter").read_bytes()
    with pytest.raises(UserError, match=r"ml-1m\.inter exists; remove it or name another folder"):
        convert("ml-1m", path, tmp_path)
    assert (tmp_path / "ml-1m" / "ml-1m.inter").read_bytes() == before


def test_a_place_that_cannot_be_written_is_named(raw, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="ml-1m cannot be written"):
        convert("ml-1m", raw("ratings.dat", ratings_dat()), tmp_path / "file")
