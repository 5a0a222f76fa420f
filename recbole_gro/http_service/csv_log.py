"""Rows of an access log in csv, each in one line."""

import contextlib
import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from recbole_gro.http_service.log_values import quoted, unread_names
from recbole_gro.utils.errors import UserError, nearest
from recbole_gro.utils.gzip_file import opened_text
from recbole_gro.utils.log import say

COLUMNS = ("key", "time", "history")
RULE = "a row stands in one line; a field with a comma or a quote is quoted as a whole, its own quotes doubled"
LONGEST_FIELD = 2**31 - 1  # that the csv module takes on every system


def csv_rows(file: str | os.PathLike[str]) -> list[tuple[int, dict[str, str]]]:
    """Return the number of the line and the fields of each row; those of COLUMNS that the file has.

    Blank lines are skipped, and blanks around a field, as after the commas of `key, time, history`, are no part of it.
    A log line says which columns are not read.

    Args:
        file: text in UTF-8, whose first line names the columns.

    Raises:
        UserError: it has no column history, a column twice, or a line of another form.
    """
    found: list[tuple[int, dict[str, str]]] = []
    with opened_text(file, newline="") as text, _fields_of_any_length():
        rows = _rows_of_one_line(file, text)
        names = [name.strip() for name in next(rows, (1, []))[1]]
        _check_names(file, names)
        places = {names.index(name): name for name in COLUMNS if name in names}
        for number, fields in rows:
            if len(fields) != len(names):
                amount = "more" if len(fields) > len(names) else "fewer"
                raise UserError(
                    f"log: {file}, line {number} has {amount} than the {len(names)} fields of the first line; the "
                    "items of a history stand between blanks, or in a quoted JSON list"
                )
            found.append((number, {name: fields[place].strip() for place, name in places.items()}))
    return found


@contextlib.contextmanager
def _fields_of_any_length() -> Iterator[None]:
    """Lift the csv module's limit on a field, which is that of the process, inside the block."""
    before = csv.field_size_limit(LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _rows_of_one_line(file: str | os.PathLike[str], text: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the line and the fields of each row that is not blank.

    Raises:
        UserError: a row has several lines: a quote that nobody closed takes all rows that follow for one field.
    """
    reader, number = csv.reader(text, strict=True, skipinitialspace=True), 1
    while True:
        try:
            fields = next(reader, None)
            wrong = "" if reader.line_num <= number else "a quote opens and does not close"
        except csv.Error as error:
            unclosed = reader.line_num > number or "end of data" in str(error)
            wrong = "a quote opens and does not close" if unclosed else str(error)
        if wrong:
            raise UserError(f"log: {file}, line {number}: {wrong}; {RULE}")
        if fields is None:
            return
        if fields:
            yield number, fields
        number = reader.line_num + 1


def _check_names(file: str | os.PathLike[str], names: list[str]) -> None:
    """Refuse a file without a column history, or with two of a name that is read; say which names are not."""
    if "history" not in names:
        meant = nearest("history", names)
        hint = f"; did you mean {quoted(meant)}? call it history" if meant else ""
        if len(names) == 1 and re.search(r"[;\t|]", names[0]):
            hint = "; commas separate the columns"
        own = quoted(", ".join(names), 200)[1:-1]  # less the quotes around them
        raise UserError(
            f"log: {file} has no column history; a csv file has {', '.join(COLUMNS)}, this one {own or 'none'}{hint}"
        )
    if twice := [name for name, n in Counter(names).items() if n > 1 and name in COLUMNS]:
        raise UserError(f"log: {file} has two columns {twice[0]}; rename one")
    if unread := unread_names(names, COLUMNS):
        say(f"log: {file}: columns that are not read: {unread}")
