"""An atomic file, looked at before RecBole reads it: what RecBole would misread is told by line and column."""

import os

from recbole_gro.utils.errors import UserError, nearest

TYPES = ("token", "token_seq", "float", "float_seq")
EXAMPLE = "user_id:token, item_id:token, timestamp:float"


def columns_of(file: str | os.PathLike, separator: str, encoding: str | None = None) -> dict[str, str]:
    """{column: type} of an atomic file, in its order.

    Raises:
        UserError: there is no line that names columns as name:type, or a line has more or fewer values than that.
    """
    with open(file, encoding=encoding) as lines:
        header = lines.readline().rstrip("\n")
        if not header:
            raise UserError(f"{file}: the file is empty; its first line names the columns, such as {EXAMPLE}")
        columns = _columns(file, header, separator)
        # pandas leaves a surplus out or takes it for the name of a row, and fills what is missing
        for number, line in enumerate(lines, start=2):
            values = line.count(separator) + 1
            if values != len(columns) and line.strip() and '"' not in line:  # a quotation may hold a separator
                raise UserError(
                    f"{file}, line {number}: {values} values for {len(columns)} columns ({', '.join(columns)})"
                )
    return columns


def _columns(file: str | os.PathLike, header: str, separator: str) -> dict[str, str]:
    columns: dict[str, str] = {}
    for told in header.split(separator):
        name, colon, kind = told.partition(":")
        if not name or not colon or not kind or ":" in kind:
            raise UserError(
                f"{file}, line 1: column {told!r} is not of the form name:type; {EXAMPLE} are wanted, with "
                f"{separator!r} between them (field_separator)"
            )
        if kind not in TYPES:
            hint = nearest(kind, TYPES)
            raise UserError(
                f"{file}, line 1: column {name} has the unknown type {kind!r}; "
                + (f"did you mean {hint!r}?" if hint else f"types are {', '.join(TYPES)}")
            )
        if name in columns:
            raise UserError(f"{file}, line 1: column {name} is there twice")
        columns[name] = kind
    return columns


def check_columns(file: str | os.PathLike, columns: dict[str, str], wanted: dict[str, tuple[str, str]]) -> None:
    """Check that columns are there and of the type that a history needs.

    Args:
        file: for the message.
        columns: as of `columns_of`.
        wanted: {config key: (column that it names, its type)}.

    Raises:
        UserError: a column is missing or of another type.
    """
    for key, (name, kind) in wanted.items():
        if name not in columns:
            raise UserError(f"{file}: there is no column {name!r} ({key}); it has {', '.join(columns)}")
        if columns[name] != kind:
            raise UserError(f"{file}, line 1: column {name} ({key}) is {columns[name]}; write {name}:{kind}")
