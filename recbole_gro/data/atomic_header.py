"""The header of an atomic file: columns, their types and the separator."""

import os
import re
from collections.abc import Callable, Mapping

from recbole_gro.utils.errors import UserError, nearest

TYPES = ("token", "token_seq", "float", "float_seq")
EXAMPLE = "user_id:token, item_id:token, timestamp:float"


def splitter(separator: str, header: str) -> Callable[[str], list[str]]:
    """Return the function that cuts a line into its values, for the header and the lines below alike.

    A separator is literal text. One of several characters that does not occur in the header but matches it is a regular
    expression; white space around a line is dropped where the expression matches runs of it, as `\\s+` does.

    >>> splitter("::", "a:token::b:token")("1::2"), splitter(r"\\s+", "a:token b:token")(" 1  2 ")
    (['1', '2'], ['1', '2'])
    """
    if len(separator) > 1 and separator not in header:
        try:
            pattern = re.compile(separator)
        except re.error:
            pattern = None
        if pattern and pattern.search(header):
            strips = pattern.fullmatch("  ")
            return lambda line: pattern.split(line.strip() if strips else line)
    return lambda line: line.split(separator)


def columns_of(file: str | os.PathLike, header: str | None, separator: str) -> dict[str, str]:
    """Return {column: type} of an atomic file, in its order.

    Args:
        file: for messages.
        header: its first line, without the line end; None of a file without a line.
        separator: the setting `field_separator`.

    Raises:
        UserError: the line is blank, the separator is empty, or the line does not name columns as name:type.
    """
    if not separator:
        raise UserError("field_separator: it is empty; RecBole's own files have a tab between their columns")
    if header is None:
        raise UserError(f"{file}: the file is empty; its first line names the columns, such as {EXAMPLE}")
    if not header.strip():
        raise UserError(f"{file}: line 1 is blank; it names the columns, such as {EXAMPLE}")
    columns: dict[str, str] = {}
    for column in splitter(separator, header)(header):
        name, colon, kind = column.partition(":")
        if not name or not colon or not kind or ":" in kind:
            raise UserError(
                f"{file}, line 1: column {column!r} is not of the form name:type; {EXAMPLE} are expected, with "
                f"{separator!r} between them (field_separator)"
            )
        if kind not in TYPES:
            hint = nearest(kind, TYPES)
            raise UserError(
                f"{file}, line 1: column {name} has the unknown type {kind!r}; "
                + (f"did you mean {hint!r}?" if hint else f"types are {', '.join(TYPES)}")
            )
        if name in columns:
            raise UserError(f"{file}, line 1: column {name} occurs twice")
        columns[name] = kind
    return columns


def check_columns(file: str | os.PathLike, columns: Mapping[str, str], needed: Mapping[str, tuple[str, str]]) -> None:
    """Check that columns exist and have the type that a history needs.

    Args:
        file: for the message.
        columns: as of `columns_of`.
        needed: {config key: (column that it names, its type)}.

    Raises:
        UserError: a column is missing or of another type.
    """
    for key, (name, kind) in needed.items():
        if name not in columns:
            history = "; each row of a pre-split file has the history before its item there, of type token_seq"
            hint = history if kind == "token_seq" else ""
            raise UserError(f"{file}: there is no column {name!r} ({key}){hint}; it has {', '.join(columns)}")
        if columns[name] != kind:
            raise UserError(f"{file}, line 1: column {name} ({key}) is {columns[name]}; write {name}:{kind}")
