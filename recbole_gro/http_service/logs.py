"""Access logs: the ledger of a service, the jsonl file of a run, or a csv file."""

import codecs
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from recbole_gro.http_service.csv_log import csv_rows
from recbole_gro.http_service.ledger import Ledger
from recbole_gro.http_service.log_values import by_time, quoted, seconds, tokens, unknown_item, unread_names
from recbole_gro.serving.catalogue import Catalogue
from recbole_gro.utils.errors import UserError, nearest
from recbole_gro.utils.gzip_file import DAMAGED, is_compressed, opened, opened_text
from recbole_gro.utils.log import say
from recbole_gro.utils.units import counted

SQLITE = b"SQLite format 3\0"
FIELDS = ("time", "refused", "sequences")  # of a line of a jsonl file
CHECKPOINT = "if they do, give a checkpoint of the model that was served"
JSONL_NAME = re.compile(r"(?i)\.jsonl(\.gz)?$")
NO_NAME = re.compile(r"[\n\r\ud800-\udfff]")  # line breaks and halves of characters, which no report can show
KEYS = (*FIELDS, "lists", "key", "catalogue")  # that are read


class _Query(NamedTuple):
    """A query of a ledger or jsonl file: its number, key and time there, its time in seconds, and its histories."""

    number: int
    key: str
    time: str
    seconds: float
    histories: list[list[int]]


@dataclass
class LoggedQueries:
    """Hold the queries of a log that reached the model, oldest first; one entry per history.

    Attributes:
        histories: item ids, most recent last.
        keys: name of the API key of each; empty where the log has none.
        times: of each, as in the log.
        places: the number, from 1, of the query of each in the log, and of the history in its query.
        left_out: number of histories without an item of the catalogue, or refused before they reached the model.
        unanswered: number of histories that reached the model and got no list.
        refused: those of `left_out` that were refused.
        unknown: number of items that are not in the catalogue.
        incomplete: number of histories that have such items.
        example: one of them, where it stands, and how items are written; empty where there are none.
    """

    histories: list[list[int]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)
    left_out: int = 0
    unanswered: int = 0
    refused: int = 0
    unknown: int = 0
    incomplete: int = 0
    example: str = ""

    def add(self, key: str, time: str, history: list[int], place: tuple[int, int]) -> None:
        """Add a history, less its items that are 0: those outside the catalogue; arguments as the attributes."""
        known = [item for item in history if item]
        self.unknown += len(history) - len(known)
        self.incomplete += len(known) < len(history)
        if not known:
            self.left_out += 1
            return
        self.histories.append(known)
        self.keys.append(key)
        self.times.append(time)
        self.places.append(place)


def read_log(file: str | os.PathLike[str], ids: Mapping[str, int]) -> LoggedQueries:
    """Return the queries of an access log that reached the model.

    Of a ledger these are the queries that were admitted: those that `--on_alarm=refuse` refused, or that failed in the
    service, are of the account that sent them too. Other logs have lists for all but refused queries.

    Args:
        file: SQLite ledger of `recbole-gro serve`, access-NAME.jsonl of a run, or a csv file with the column `history`
            (item tokens between blanks, or a JSON list of them) and, where they are known, `key` and `time` (ISO 8601,
            or seconds since 1970). Lines of jsonl and csv files are sorted by time; gzip may have compressed them.
        ids: item id by token.

    Raises:
        UserError: it cannot be read, has no such query, or is of another catalogue, as a csv file is where most of its
            items are not in the target's.
    """
    try:
        if stat.S_ISFIFO(os.stat(file).st_mode):
            raise UserError(f"log: {file} is a pipe, which cannot be read twice; write it to a file, compressed or not")
        with opened(file) as stream:
            start = stream.read(len(SQLITE)).removeprefix(codecs.BOM_UTF8)
        found = LoggedQueries()
        if not start.strip():
            _check_not_blank(file)
        if start == SQLITE:
            if is_compressed(file):
                raise UserError(f"log: {file} is a compressed ledger; unpack it")
            _add_ledger(found, file, ids)
        elif start.lstrip()[:1] in (b"{", b"[") or JSONL_NAME.search(os.fspath(file)):
            with opened_text(file) as text:
                queries = list(_reached(found, f"{file}, line", _parsed(file, text), Catalogue.of(ids)))
            _add_queries(found, by_time(queries, [query.seconds for query in queries]))
        else:
            _add_csv(found, file, ids)
    except (OSError, ValueError, *DAMAGED) as error:
        if isinstance(error, UserError):
            raise
        reason = getattr(error, "strerror", None) or f"{type(error).__name__} {error}"
        if isinstance(error, DAMAGED):
            reason = "its gzip data are damaged or incomplete"
        if isinstance(error, UnicodeDecodeError):
            reason = "it is not UTF-8 text; unpack or convert it"
        raise UserError(f"log: {file} cannot be read as a ledger, jsonl or csv file: {reason}") from error
    if not found.histories:
        refused = f"; {counted(found.refused, 'history was', 'histories were')} refused" if found.refused else ""
        example = f"; {found.example}; {CHECKPOINT}" if found.example else ""
        raise UserError(f"log: {file} has no query with an item of the catalogue{refused}{example}")
    return found


def _check_not_blank(file: str | os.PathLike[str]) -> None:
    """Refuse a file without any text."""
    with opened(file) as stream:
        if any(line.removeprefix(codecs.BOM_UTF8).strip() for line in stream):
            return
    raise UserError(f"log: {file} is empty; it takes a ledger, a jsonl file, or a csv file with the column history")


def _add_ledger(found: LoggedQueries, file: str | os.PathLike[str], ids: Mapping[str, int]) -> None:
    ledger, catalogue = Ledger(file, may_write=False), Catalogue.of(ids)
    try:
        own = ledger.catalogue()
        if own not in (None, catalogue):
            raise UserError(
                f"log: {file} is of another catalogue than the target's ({own.unlike(catalogue)}); give a checkpoint "
                "of the model that was served"
            )
        _add_queries(found, _reached(found, f"{file}, query", _admitted(found, ledger.lines()), catalogue))
    finally:
        ledger.close()


def _admitted(found: LoggedQueries, lines: Iterable[dict[str, Any]]) -> Iterator[tuple[int, Any]]:
    """Yield the id and the content of each line of a ledger; one with histories was not refused before the model."""
    for line in lines:
        if line["refused"] is not None and line["sequences"] is not None:
            found.unanswered += line["lists"]
            line["refused"] = None
        yield line["id"], line


def _reached(
    found: LoggedQueries, place: str, lines: Iterable[tuple[int, Any]], catalogue: Catalogue
) -> Iterator[_Query]:
    """Yield the queries of a log that reached the model, and count the others.

    Args:
        found: where they are counted.
        place: what precedes the numbers of lines in messages.
        lines: number and content of each.
        catalogue: of the target.
    """
    for number, line in lines:
        if wrong := _wrong(line, catalogue):
            raise UserError(f"log: {place} {number}: {wrong}")
        if line["refused"] is not None:
            found.left_out += line["lists"]
            found.refused += line["lists"]
            continue
        when, key = seconds(f"{place} {number}", line["time"]), line.get("key")
        yield _Query(number, "" if key is None else str(key), str(line["time"]), when, line["sequences"])


def _add_queries(found: LoggedQueries, queries: Iterable[_Query]) -> None:
    for query in queries:
        for at, history in enumerate(query.histories, 1):
            found.add(query.key, query.time, history, (query.number, at))


def _wrong(line: Any, catalogue: Catalogue) -> str:
    """Return what is wrong with a line of a log; nothing where it is as `AccessLog` writes it."""
    if not isinstance(line, dict):
        return f"it is no object with {', '.join(FIELDS)}, such as a line of access-NAME.jsonl"
    if absent := [name for name in FIELDS if name not in line]:
        meant = nearest(absent[0], [name for name in line if name not in KEYS])
        return f"it has no {absent[0]}" + (f"; did you mean {quoted(meant)}?" if meant else "")
    if line.get("catalogue") not in (None, catalogue.digest):
        return "it is of another catalogue than the target's; give a checkpoint of the run that wrote it"
    key = line.get("key")
    if type(key) not in (str, int, type(None)) or NO_NAME.search(str(key)):
        return f"key {quoted(key)} is no text of one line"
    if not isinstance(line["refused"], str | None):
        return f"refused {quoted(line['refused'])} is no text with a reason, nor null"
    if line["refused"] is not None:
        lists = line.get("lists")
        return "" if type(lists) is int and lists >= 0 else "it has no number of lists"
    if not isinstance(line["sequences"], list) or not all(isinstance(row, list) for row in line["sequences"]):
        return "sequences is no list of lists of item ids"
    n_items = catalogue.n_items
    wrong = [item for row in line["sequences"] for item in row if type(item) is not int or not 0 < item <= n_items]
    if wrong and type(wrong[0]) is int:
        return f"item id {quoted(wrong[0])} is not in the target's catalogue of {n_items} items"
    return f"{quoted(wrong[0])} is no item id, a whole number from 1 to {n_items}" if wrong else ""


def _parsed(file: str | os.PathLike[str], lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    """Yield the number and the content of each line that is not blank; say at the end which keys are not read."""
    names: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"log: {file}, line {number} is no JSON: {error.msg}, character {error.colno}") from None
        except RecursionError:
            raise UserError(f"log: {file}, line {number} is JSON that is nested too deeply") from None
        except ValueError:  # of int, which limits what it converts
            raise UserError(
                f"log: {file}, line {number} has a number of thousands of digits; item ids are whole numbers of the "
                "target's catalogue, times are of ISO 8601 or in seconds since 1970"
            ) from None
        yield number, content
        names.update(dict.fromkeys(content))
    if unread := unread_names(names, KEYS):
        say(f"log: {file}: keys of its lines that are not read: {unread}")


def _add_csv(found: LoggedQueries, file: str | os.PathLike[str], ids: Mapping[str, int]) -> None:
    numbered = list(enumerate(csv_rows(file), 1))
    if numbered and "time" in numbered[0][1][1]:
        numbered = by_time(numbered, [seconds(f"{file}, line {line}", row["time"]) for _, (line, row) in numbered])
    for number, (line, row) in numbered:
        read = tokens(row["history"])
        history = [0 if token is None else ids.get(token, 0) for token in read]
        if not found.example and 0 in history:
            found.example = f"line {line}: {unknown_item(row['history'], read[history.index(0)], ids)}"
        found.add(row.get("key", ""), row.get("time", ""), history, (number, 1))
    n_items = found.unknown + sum(map(len, found.histories))
    if found.histories and found.unknown > n_items / 2:
        raise UserError(
            f"log: {file} is of another catalogue than the target's, or in another notation: {found.unknown:,} of its "
            f"{n_items:,} items are not in it; {found.example}; {CHECKPOINT}"
        )
