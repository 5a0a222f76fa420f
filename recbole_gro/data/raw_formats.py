"""Published files of the paper's datasets: their names and the format of a line.

A line becomes a row of RecBole's atomic file, or a ValueError with the reason.
"""

import ast
import calendar
import csv
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from recbole_gro.data.atomic_writer import token

YEAR_AT_END = re.compile(r"\(([0-9]{4})\)$")
NO_GENRES = "(no genres listed)"

RATINGS = ("user_id:token", "item_id:token", "rating:float", "timestamp:float")
REVIEWS = ("user_id:token", "item_id:token", "timestamp:float")
MOVIES = ("item_id:token", "movie_title:token_seq", "release_year:token", "class:token_seq")


@dataclass(frozen=True)
class RawFile:
    """One file of a published dataset.

    Attributes:
        suffix: of the atomic file, `inter` or `item`.
        names: of the published file, the preferred one first.
        columns: of the atomic file.
        row: function from a line to one value per column; ValueError where the line is invalid.
        example: a valid line.
        header: the first line of a file that names its columns.
        encoding: of the published file.
    """

    suffix: str
    names: tuple[str, ...]
    columns: tuple[str, ...]
    row: Callable[[str], tuple[str, ...]]
    example: str
    header: str | None = None
    encoding: str = "utf-8"

    @property
    def names_or_compressed(self) -> tuple[str, ...]:
        """The names, then those of the same files compressed by gzip."""
        return tuple(dict.fromkeys((*self.names, *(f"{name}.gz" for name in self.names if name[-3:] != ".gz"))))


def counted(values: list[str], count: int) -> list[str]:
    """Return the fields of a line; ValueError where there are not `count` of them."""
    if len(values) != count:
        raise ValueError(f"{count} fields expected, found {len(values)}")
    return values


def colon_separated(line: str, count: int) -> list[str]:
    """Return the fields of a line of MovieLens; ValueError where there are not `count` of them."""
    return counted(line.split("::"), count)


def comma_separated(line: str, count: int) -> list[str]:
    """Return the fields of a csv line, which may be quoted; ValueError where there are not `count` of them."""
    try:
        return counted(next(csv.reader([line], strict=True)), count)
    except csv.Error as error:
        raise ValueError(f"not csv: {error}") from error


def name(text: Any, column: str) -> str:
    """Return the name of a user or item as a token; ValueError, which names the column, where it is no text."""
    if text in (None, ""):
        raise ValueError(f"no {column}")
    if not isinstance(text, str):
        raise ValueError(f"{column} {text!r} is not a text")
    return token(text)


def number(text: Any, column: str) -> str:
    """Return a rating or time as text; ValueError, which names the column, where it is no finite number."""
    given = str(text).strip()
    try:
        is_number = math.isfinite(float(given)) and "_" not in given  # as atomic files are read
    except ValueError:
        is_number = False
    if not is_number:
        raise ValueError(f"{column} {text!r} is not a number")
    return given


def seconds(text: Any, column: str) -> str:
    """Return a day as text of the seconds from 1970 to its midnight UTC; ValueError where it is no day."""
    try:
        return str(calendar.timegm(date.fromisoformat(text).timetuple()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{column} {text!r} is not a day such as 2017-12-31") from error


def record(line: str) -> dict[str, Any]:
    """Return the mapping in a review's line, JSON or the Python literal of older files; ValueError for any other."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        try:
            found = ast.literal_eval(line)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
            raise ValueError("neither JSON nor a Python literal") from error
    if not isinstance(found, dict):
        raise ValueError(f"a {type(found).__name__} instead of a mapping")
    return found


def rating(user: Any, item: Any, stars: Any, time: Any) -> tuple[str, ...]:
    """Return a row of RATINGS."""
    return name(user, "user"), name(item, "item"), number(stars, "rating"), number(time, "timestamp")


def movie(item: str, title_and_year: str, genres: str) -> tuple[str, ...]:
    """Return a row of MOVIES, which has title, year and genres in columns of their own, as RecBole's files."""
    title, year = title_and_year.strip(), ""
    if match := YEAR_AT_END.search(title):
        title, year = title[: match.start()].rstrip(), match[1]
    classes = "" if genres == NO_GENRES else genres.replace("|", " ")
    return name(item, "movie"), token(title), year, token(classes)


def steam_review(line: str) -> tuple[str, ...]:
    """Return a row of REVIEWS; users are identified by name, as in the authors' code, since some have no user_id."""
    review = record(line)
    return (
        name(review.get("username"), "username"),
        name(review.get("product_id"), "product_id"),
        seconds(review.get("date"), "date"),
    )


def amazon_rating(line: str) -> tuple[str, ...]:
    """Return a row of RATINGS for a line of the ratings (csv) or of the reviews (JSON)."""
    if not line.startswith("{"):
        return rating(*comma_separated(line, 4))
    review = record(line)
    return rating(review.get("reviewerID"), review.get("asin"), review.get("overall"), review.get("unixReviewTime"))


STEAM_EXAMPLE = "{'username': 'Ann', 'product_id': '10', 'date': '2017-12-31'}"
AMAZON_NAMES = ("ratings_Beauty.csv", "ratings_Beauty.csv.gz", "reviews_Beauty.json.gz", "reviews_Beauty.json")
# dataset -> its files: the interactions, then files that are converted if they exist in the same folder
PUBLISHED: dict[str, tuple[RawFile, ...]] = {
    "ml-1m": (
        RawFile(
            "inter",
            ("ratings.dat",),
            RATINGS,
            lambda line: rating(*colon_separated(line, 4)),
            "1::1193::5::978300760",
            encoding="latin-1",
        ),
        RawFile(
            "item",
            ("movies.dat",),
            MOVIES,
            lambda line: movie(*colon_separated(line, 3)),
            "1::Toy Story (1995)::Animation",
            encoding="latin-1",
        ),
    ),
    "ml-20m": (
        RawFile(
            "inter",
            ("ratings.csv",),
            RATINGS,
            lambda line: rating(*comma_separated(line, 4)),
            "1,2,3.5,1112486027",
            "userId,movieId,rating,timestamp",
        ),
        RawFile(
            "item",
            ("movies.csv",),
            MOVIES,
            lambda line: movie(*comma_separated(line, 3)),
            "1,Toy Story (1995),Animation",
            "movieId,title,genres",
        ),
    ),
    "steam": (RawFile("inter", ("steam_reviews.json.gz", "steam_reviews.json"), REVIEWS, steam_review, STEAM_EXAMPLE),),
    "amazon-beauty": (
        RawFile("inter", AMAZON_NAMES, RATINGS, amazon_rating, "A39HTATAQ9V7YF,0205616461,5.0,1369699200"),
    ),
}
