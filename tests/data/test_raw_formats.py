"""Lines of published files as rows, and the reasons why others are invalid."""

import pytest

from recbole_gro.data.raw_formats import PUBLISHED, amazon_rating, record, steam_review

colon_rating, colon_movie = (raw.row for raw in PUBLISHED["ml-1m"])
csv_rating, csv_movie = (raw.row for raw in PUBLISHED["ml-20m"])
STEAM = (
    "{u'username': u'Chaos Syren', u'hours': 0.1, u'products': 41, u'product_id': u'725280', u'page_order': 0, "
    "u'date': u'2017-12-17', u'text': u'This would not be acceptable as an entertainment even back in the day.\\n', "
    "u'early_access': False, u'page': 1}"
)
AMAZON_JSON = (
    '{"reviewerID": "A1YJEY40YUW4SE", "asin": "7806397051", "reviewerName": "Andrea", "helpful": [3, 4], '
    '"reviewText": "Very oily and creamy.", "overall": 1.0, "summary": "Don\'t waste your money", '
    '"unixReviewTime": 1391040000, "reviewTime": "01 30, 2014"}'
)
AMAZON_PYTHON = (
    "{'reviewerID': 'A39HTATAQ9V7YF', 'asin': '0205616461', 'overall': 5.0, 'unixReviewTime': 1369699200, "
    "'reviewText': \"a 'quoted' word\"}"
)


@pytest.mark.parametrize("raw", [raw for files in PUBLISHED.values() for raw in files], ids=lambda raw: raw.names[0])
def test_an_example_is_a_row(raw):
    assert len(raw.row(raw.example)) == len(raw.columns)


@pytest.mark.parametrize(
    ("row", "line", "expected"),
    [
        (colon_rating, "1::1193::5::978300760", ("1", "1193", "5", "978300760")),
        (csv_rating, "1,2,3.5,1112486027", ("1", "2", "3.5", "1112486027")),
        (csv_rating, '"a, b","say ""x""",3.5,1', ("a, b", 'say "x"', "3.5", "1")),
        (amazon_rating, "A39HTATAQ9V7YF,02056,5.0,1369699200", ("A39HTATAQ9V7YF", "02056", "5.0", "1369699200")),
        (amazon_rating, AMAZON_JSON, ("A1YJEY40YUW4SE", "7806397051", "1.0", "1391040000")),
        (amazon_rating, AMAZON_PYTHON, ("A39HTATAQ9V7YF", "0205616461", "5.0", "1369699200")),
        (steam_review, STEAM, ("Chaos Syren", "725280", "1513468800")),
        (steam_review, "{'username': 'Zo\\xeb\\t龍', 'product_id': '1', 'date': '1970-01-01'}", ("Zoë%09龍", "1", "0")),
        (steam_review, "{'username': 'null', 'product_id': '1', 'date': '1970-01-02'}", ("null", "1", "86400")),
        (colon_rating, "1::1193::.5::1e9", ("1", "1193", ".5", "1e9")),
        (csv_rating, "1,2, 5 ,+9.78E8", ("1", "2", "5", "+9.78E8")),
        (amazon_rating, AMAZON_JSON.replace("1391040000", "1e22"), ("A1YJEY40YUW4SE", "7806397051", "1.0", "1e+22")),
        (colon_movie, "1::Toy Story (1995)::Children's|Comedy", ("1", "Toy Story", "1995", "Children's Comedy")),
        (colon_movie, "73::Misérables, Les (1995)::Drama", ("73", "Misérables, Les", "1995", "Drama")),
        (csv_movie, '11,"President, The (1995)",Comedy|Drama', ("11", "President, The", "1995", "Comedy Drama")),
        (colon_movie, "9::Seven (a.k.a. Se7en) (1995) ::War", ("9", "Seven (a.k.a. Se7en)", "1995", "War")),
        (csv_movie, "7,No Year,(no genres listed)", ("7", "No Year", "", "")),
    ],
)  # fmt: skip
def test_lines_become_rows(row, line, expected):
    assert row(line) == expected


@pytest.mark.parametrize(
    ("row", "line", "reason"),
    [
        (colon_rating, "1::1193::5", "4 fields expected, found 3"),
        (colon_rating, "1,1193,5,978300760", "4 fields expected, found 1"),
        (colon_rating, "::1193::5::978300760", "no user"),
        (colon_rating, "1::::5::978300760", "no item"),
        (colon_rating, "1::1193::five::978300760", "rating 'five' is not a number"),
        (colon_rating, "1::1193::nan::978300760", "rating 'nan' is not a number"),
        (colon_rating, "1::1193::5::", "timestamp '' is not a number"),
        (colon_rating, "1::1193::inf::978300760", "rating 'inf' is not a number"),
        (colon_rating, "1::1193::5::1e999", "timestamp '1e999' is not a number"),
        (colon_rating, "1::1193::5::1_000", "timestamp '1_000' is not a number"),
        (csv_rating, "1,2,3.5", "4 fields expected, found 3"),
        (csv_rating, '1,"2,3.5,1112486027', "not csv"),
        (amazon_rating, "user,item,rating,timestamp", "rating 'rating' is not a number"),
        (amazon_rating, "{}", "no user"),
        (amazon_rating, '{"reviewerID": "A", "asin": "B", "overall": true, "unixReviewTime": 1}', "rating True is not"),
        (amazon_rating, '{"reviewerID": 7, "asin": "B", "overall": 1, "unixReviewTime": 1}', "user 7 is not a text"),
        (steam_review, "{'product_id': '10', 'date': '2017-12-17'}", "no username"),
        (steam_review, "{'username': '', 'product_id': '10', 'date': '2017-12-17'}", "no username"),
        (steam_review, "{'username': 'Ann', 'product_id': '1', 'date': '2017-2-29'}", "date '2017-2-29' is not a day"),
        (steam_review, "{'username': 'Ann', 'product_id': '10'}", "date None is not a day"),
        (steam_review, "['Ann', '10', '2017-12-17']", "a list instead of a mapping"),
        (steam_review, "{'username': 'Ann', 'product_id'", "neither JSON nor a Python literal"),
        (steam_review, "[" * 5000, "neither JSON nor a Python literal"),
        (steam_review, "9" * 5000, "neither JSON nor a Python literal"),
    ],
)  # fmt: skip
def test_an_invalid_line_raises_the_reason(row, line, reason):
    with pytest.raises(ValueError, match=reason):
        row(line)


def test_a_record_is_read_and_never_run(tmp_path):
    made = tmp_path / "made"
    for line in (
        f"__import__('os').system('touch {made}')",
        f"{{'username': __import__('os').system('touch {made}'), 'product_id': '1', 'date': '2017-12-17'}}",
        f"{{'username': open({str(made)!r}, 'w'), 'product_id': '1', 'date': '2017-12-17'}}",
    ):
        with pytest.raises(ValueError, match="neither JSON nor a Python literal"):
            record(line)
    assert not made.exists()
