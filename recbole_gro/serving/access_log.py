"""What a provider keeps of the queries that his service is sent."""

import datetime
import json
import os
from typing import Any

from torch import Tensor

from recbole_gro.scoring import pad_sequences
from recbole_gro.utils.files import append_line, whole_lines

TOLD = 1000  # characters of a query that cannot be read


class AccessLog:
    """A file with a line of JSON a query: {"time": "2024-03-04T05:06:07.089012+00:00", "lists": 2, "refused": null,
    "asked": [[3, 1, 4], [5]]}.

    `time` is UTC, `lists` how many were asked for, `refused` why none was given (null where they were), `asked` the
    item ids of each history without padding; text where they were no histories of item ids. A line is handed to the
    system before the next query. What is in the file stays; one process at a time writes to it.

    Args:
        file: to add to.

    Attributes:
        lines: in the file when it was opened.

    Raises:
        UserError: the file cannot be written.
    """

    def __init__(self, file: str | os.PathLike[str]):
        self.file = file
        self.lines = whole_lines(file)

    def add(self, sequences: Any, refused: str | None = None) -> None:
        """Write down a query: histories as `BlackBox.query` takes them, and why they were not answered, if so.

        Raises:
            UserError: the file cannot be written; no part of the line is in it then.
        """
        told = {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
            "lists": len(sequences),
            "refused": refused,
            "asked": _histories(sequences),
        }
        append_line(json.dumps(told), self.file)


def _histories(sequences: Any) -> list[list[int]] | str:
    """Item ids of each history, the padding left out."""
    try:
        padded, lengths = pad_sequences(sequences)
    except ValueError:
        return str(sequences.tolist() if isinstance(sequences, Tensor) else sequences)[:TOLD]
    return [row[:length] for row, length in zip(padded.tolist(), lengths.tolist(), strict=True)]
