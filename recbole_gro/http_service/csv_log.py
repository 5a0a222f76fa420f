"""Rows of an access log in csv: one line each, with the quotes of RFC 4180."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from recbole_gro.http_service.log_values import quoted, unread_names
from recbole_gro.utils.errors import UserError, nearest
from recbole_gro.utils.log import say

COLUMNS = ("key", "time", "history")
QUOTED = re.compile(r'"([^"]*+(?:""[^"]*+)*+)"')
RULE = "a row stands in one line; a field with a comma or a quote is quoted as a whole, its own quotes doubled"


def csv_rows(file: str | os.PathLike[str]) -> list[tuple[int, dict[str, str]]]:
    """Return the number of the line and the fields of each row; those of COLUMNS that the file has.

    A row ends with its line. The csv module lets a quote that nobody closed take all rows that follow for one field,
    and limits the length of a field for the whole process. Blank lines are skipped. A log line says which columns are
    not read.

    Args:
        file: text in UTF-8, whose first line names the columns.

    Raises:
        UserError: it has no column history, a column twice, or a line of another form.
    """
    found: list[tuple[int, dict[str, str]]] = []
    with open(file, encoding="utf-8-sig", newline="") as text:
        lines = _lines(text)
        number, line = next(lines, (1, ""))
        names, wrong = fields_of(line)
        if wrong:
            raise UserError(f"log: {file}, line {number}, the names of the columns: {wrong}; {RULE}")
        _check_names(file, names)
        places = {names.index(name): name for name in COLUMNS if name in names}
        for number, line in lines:
            fields, wrong = fields_of(line)
            if wrong:
                column = f", column {names[len(fields)]}" if len(fields) < len(names) else ""
                raise UserError(f"log: {file}, line {number}{column}: {wrong}; {RULE}")
            if len(fields) != len(names):
                amount = "more" if len(fields) > len(names) else "fewer"
                raise UserError(
                    f"log: {file}, line {number} has {amount} than the {len(names)} fields of the first line; the "
                    "items of a history stand between blanks, or in a quoted JSON list"
                )
            found.append((number, {name: fields[place] for place, name in places.items()}))
    return found


def _lines(text: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that is not empty."""
    for number, line in enumerate(text, 1):
        if line := line.rstrip("\r\n"):
            yield number, line


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


def fields_of(line: str) -> tuple[list[str], str]:
    """Return the fields of a line, and nothing; or those before the one that is wrong, and what is wrong with it.

    >>> fields_of('ann,"i1 ""x"", i2",')
    (['ann', 'i1 "x", i2', ''], '')
    >>> fields_of('ann,"i1 i2')
    (['ann'], 'a quote opens and does not close')
    """
    if '"' not in line:
        return line.split(","), ""
    found: list[str] = []
    place = 0
    while True:
        if line.startswith('"', place):
            match = QUOTED.match(line, place)
            if match is None:
                return found, "a quote opens and does not close"
            place = match.end()
            if not line.startswith(",", place) and place < len(line):
                return found, f"{quoted(line[place:], 20)} follows a closing quote"
            field = match[1].replace('""', '"')
        else:
            end = line.find(",", place)
            field, place = (line[place:], len(line)) if end < 0 else (line[place:end], end)
            if '"' in field:
                return found, f"a quote inside {quoted(field, 40)}, which begins without one"
        found.append(field)
        if place == len(line):
            return found, ""
        place += 1
