"""The exact values of an atomic file: quotation marks are characters, `null` and `NA` are names.

RecBole reads with pandas' defaults, which pair quotation marks across lines and read such names as missing values.
"""

import contextlib
import os
import re
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd

from recbole_gro.data.atomic_header import columns_of, splitter
from recbole_gro.data.categories import NUL, categories_of, joined_categories
from recbole_gro.data.typed_columns import tokens, typed_columns
from recbole_gro.utils.errors import UserError

BLOCK = 2**24  # characters that are split into values at once
REPEATED = "; the line repeats the header, as where files were joined: remove it"
SHOWN = 60  # characters of a value or a line in a message
DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?!\d)")  # in ISO 8601 a T may follow
SECONDS = "seconds since 1970, such as 1514678400"


class AtomicTable:
    """An atomic file: its columns, and their values on demand.

    Args:
        file: its path.
        separator: the setting `field_separator`.
        encoding: of the file; a byte order mark is no part of the first name.

    Attributes:
        columns: {name: token, token_seq, float or float_seq}, in the order of the file.

    Raises:
        UserError: the file cannot be opened or decoded, or its first line does not name its columns.
    """

    def __init__(self, file: str | os.PathLike, separator: str, encoding: str | None = None):
        self.file, self._separator, self._encoding = file, separator, encoding or "utf-8"
        header = next(self._blocks(), None)
        self.columns = columns_of(file, header, separator)
        self._split = splitter(separator, header or "")

    def read(self, names: Collection[str], complete: Collection[str] = (), exact: str | None = None) -> pd.DataFrame:
        """Read columns; an empty value is missing (NaN).

        Args:
            names: columns to read.
            complete: columns, also of `names`, without missing values.
            exact: a float column to check as any other and to return for `time_ranks`: as int64, as float64 where no
                value has more than 15 digits, else as texts.

        Returns:
            One row per line that is not blank; the index is the line number. Floats are float64, tokens categories
            (so that equal ones are stored once), sequences texts.

        Raises:
            UserError: a line, reported with its number, has undecodable bytes, another number of values than of
                columns, a float that is no number, or a missing value in `complete`.
        """
        blocks = self._blocks()
        number = next(blocks).count("\n") + 2
        parts: dict[str, list[Any]] = {name: [] for name in self.columns if name in names}
        lines: list[pd.Index] = []
        for text in blocks:
            part = typed_columns(text, self._separator, self.columns, names, exact)
            if part is None or any(_lacks(part[name]) for name in complete):
                part, index = self._checked(text, number, names, complete, exact)
            else:
                index = pd.RangeIndex(number, number + text.count("\n") + 1)
            for name, values in part.items():
                if isinstance(values, pd.Categorical) and (column := f"{name}:token") in values.categories:
                    raise self._error(index[np.flatnonzero(values == column)[0]], f"{column!r}{REPEATED}")
                parts[name].append(values)
            lines.append(index)
            number += text.count("\n") + 1
        if not any(map(len, lines)):
            raise UserError(f"{self.file}: there is no line below the first, which names the columns")
        # a column's parts are freed before the next column is joined
        return pd.DataFrame(
            {name: _joined_parts(parts.pop(name)) for name in list(parts)}, lines[0].append(lines[1:]), copy=False
        )

    def _checked(
        self, text: str, number: int, names: Collection[str], complete: Collection[str], exact: str | None
    ) -> tuple[dict[str, Any], pd.Index]:
        """Return columns of whole lines, the first of which has the number `number`, and the number of each row."""
        values, stride, numbers = self._values(text, number)
        part: dict[str, Any] = {}
        for place, (name, kind) in enumerate(self.columns.items()):
            if name in names:
                texts = values[place::stride]
                read: Any = (
                    self._floats(name, texts, numbers, exact) if kind == "float" else tokens(categories_of(texts))
                )
                if name in complete:
                    finite = np.isfinite(read) if kind == "float" else ~pd.isna(read)
                    if (wrong := np.flatnonzero(~finite)).size:
                        given = texts[wrong[0]].strip()
                        reason = f"{name} {given[:SHOWN]!r} is no finite number" if given else f"no {name}"
                        raise self._error(numbers[wrong[0]], f"{reason}; every line needs one")
                if name == exact:
                    read = np.array(texts, dtype=object)
                part[name] = read.astype(object) if kind.endswith("_seq") else read
        return part, pd.Index(numbers)

    def sequences(self, column: pd.Series, separator: str) -> list[np.ndarray]:
        """Return one array per row of a token_seq or float_seq column; of objects where a text of it has a NUL.

        Args:
            column: of `read`.
            separator: the setting `seq_separator`.

        Raises:
            UserError: a float of a line, reported with its number, is no number.
        """
        floats = self.columns[str(column.name)] == "float_seq"
        texts = column.fillna("")
        rows = [[value for value in text.split(separator) if value] for text in texts]
        # numpy's own texts drop a NUL at the end
        kind = np.float64 if floats else object if any(NUL in text for text in texts) else str
        try:
            return [np.array(row, dtype=kind) for row in rows]
        except ValueError:
            cells = ((line, value) for line, row in zip(column.index, rows, strict=True) for value in row)
            line, wrong = next((line, value) for line, value in cells if not _is_decimal(value))
            raise self._error(line, f"{column.name}: {wrong[:SHOWN]!r} is no number") from None

    def _error(self, number: int, reason: str) -> UserError:
        return UserError(f"{self.file}, line {number}: {reason}")

    def _blocks(self) -> Iterator[str]:
        """Yield the first line, then texts of whole lines, each without its last line end."""
        done = 0
        try:
            with open(self.file, encoding=self._encoding) as stream:
                text = stream.readline().removeprefix("\ufeff")
                while text:
                    yield text.removesuffix("\n")
                    done += text.count("\n")
                    text = stream.read(BLOCK)
                    text += stream.readline()
        except LookupError:
            raise UserError(f"encoding: Python has no encoding {self._encoding!r}; most files are utf-8") from None
        except UnicodeError as error:
            raise self._undecodable(done) or UserError(
                f"{self.file}: it is not {self._encoding} ({error}); set encoding to the file's own"
            ) from None
        except OSError as error:
            raise UserError(f"{self.file}: {error.strerror}") from error

    def _undecodable(self, done: int) -> UserError | None:
        """Return the error for the first line, after `done` good ones, that the encoding cannot decode."""
        # without a byte order mark utf-16 replaces nothing either
        with contextlib.suppress(UnicodeError), open(self.file, encoding=self._encoding, errors="replace") as stream:
            for number, line in enumerate(stream, start=1):
                if number > done and "\ufffd" in line:
                    return self._error(
                        number, f"{line.rstrip()[:SHOWN]!r} is not {self._encoding}; set encoding to the file's own"
                    )
        return None

    def _values(self, text: str, number: int) -> tuple[list[str], int, np.ndarray]:
        """Split whole lines, the first of which has the number `number`, into values.

        Returns:
            The values, the distance between those of a column, and the line number of each row. With n values in every
            line, the values at n, 2n + 1, .. are line ends, which is checked without a loop over lines.
        """
        n, end = len(self.columns), self._separator + "\n" + self._separator
        if "\n\n" not in f"\n{text}\n":
            values = text.replace("\n", end).split(self._separator)
            rows = text.count("\n") + 1
            if len(values) == rows * (n + 1) - 1 and values[n :: n + 1] == ["\n"] * (rows - 1):
                return values, n + 1, np.arange(number, number + rows)
        values, numbers = [], []
        for here, line in enumerate(text.split("\n"), start=number):
            row = self._split(line)
            if len(row) == n and (n > 1 or line.strip()):
                values += row
                numbers.append(here)
            elif line.strip():
                raise self._error(
                    here, f"{len(row)} values for {n} columns ({', '.join(self.columns)}): {line[:SHOWN]!r}"
                )
        return values, n, np.array(numbers, dtype=np.int64)

    def _floats(self, name: str, texts: list[str], numbers: np.ndarray, time: str | None) -> np.ndarray:
        try:
            if "_" not in "".join(texts):  # Python reads 1_000 as a number
                return np.array(texts, dtype=np.float64)
        except ValueError:
            pass
        for number, text in zip(numbers, texts, strict=True):
            if text.strip() and not _is_decimal(text):
                hint = f"; times are numbers, as {SECONDS}" if name == time else ""
                hint = f"; write dates as {SECONDS}" if DATE.match(text.strip()) else hint
                hint = REPEATED if text.strip() == f"{name}:float" else hint
                raise self._error(number, f"{name} {text[:SHOWN]!r} is no number{hint}")
        return np.array([text if text.strip() else "nan" for text in texts], dtype=np.float64)


def _lacks(values: Any) -> bool:
    """Return whether a token is missing, or a number missing or infinite."""
    return not (np.isfinite(values) if values.dtype.kind == "f" else ~pd.isna(values)).all()


def _is_decimal(text: str) -> bool:
    try:
        return "_" not in text and float(text) is not None
    except ValueError:
        return False


def _joined_parts(parts: list[Any]) -> Any:
    """Return the parts of a column as one; exact numbers of several types as texts of the same decimal value."""
    if isinstance(parts[0], pd.Categorical):
        return joined_categories(parts)
    if len({part.dtype for part in parts}) > 1:
        parts = [part if part.dtype == object else part.astype(str).astype(object) for part in parts]
    return np.concatenate(parts)
