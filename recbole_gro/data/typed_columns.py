"""Typed columns of the regular lines of an atomic file, without a Python object per value."""

import csv
import io
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

DIGITS = 15  # float64 distinguishes decimal numbers of so many digits


def tokens(values: pd.Categorical) -> pd.Categorical:
    """Return texts with empty ones as missing."""
    return values.remove_categories([""]) if "" in values.categories else values


def typed_columns(
    text: str, separator: str, kinds: Mapping[str, str], names: Collection[str], exact: str | None
) -> dict[str, Any] | None:
    """Return columns of whole lines as pandas' C parser reads them; None where lines or values are unusual.

    Usual lines have one value per column; usual numbers are what both Python and pandas read as one. All else is for
    the reader of `AtomicTable`, which also knows the line numbers for messages.

    Args:
        text: lines, without the last line end.
        separator: the setting `field_separator`.
        kinds: {column: its type}, in the order of the file.
        names: columns to return.
        exact: a float column to return as exact numbers.

    Returns:
        {column: float64; int64 or float64 of at most `DIGITS` digits for `exact`; categories for a token; texts for a
        sequence}.
    """
    try:
        raw, mark = f"{text}\n".encode(), ord(separator.encode())
    except (UnicodeError, TypeError):
        return None
    n = len(kinds)
    if n < 2 or b"\0" in raw or raw.startswith(b"\xef\xbb\xbf"):
        return None
    symbols = np.frombuffer(raw, dtype=np.uint8)
    ends = np.flatnonzero((symbols == mark) | (symbols == ord("\n")))
    if len(ends) % n or not (symbols[ends].reshape(-1, n) == [mark] * (n - 1) + [ord("\n")]).all():
        return None
    place_of = {name: place for place, name in enumerate(kinds) if name in names}
    read = pd.read_csv(
        io.BytesIO(raw), sep=separator, header=None, names=range(n), usecols=list(place_of.values()), index_col=False,
        dtype={place: "category" for name, place in place_of.items() if kinds[name] != "float"},
        quoting=csv.QUOTE_NONE, na_filter=False, skip_blank_lines=False, float_precision="round_trip", low_memory=False,
    )  # fmt: skip
    columns: dict[str, Any] = {}
    for name, place in place_of.items():
        values = read[place].array
        if kinds[name] != "float":
            columns[name] = tokens(values) if kinds[name] == "token" else tokens(values).astype(object)
            continue
        values = values.to_numpy()
        if values.dtype not in (np.int64, np.float64):
            return None
        if name != exact:
            values = values.astype(np.float64)
        elif values.dtype == np.float64 and np.diff(ends, prepend=-1)[place::n].max() > DIGITS + 1:
            return None
        columns[name] = values
    return columns
