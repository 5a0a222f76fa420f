"""The provider's log of the queries that a service received."""

import datetime
import json
import os
from typing import Any

from torch import Tensor

from recbole_gro.scoring import pad_sequences
from recbole_gro.serving.catalogue import Catalogue
from recbole_gro.utils.errors import InvalidQuery
from recbole_gro.utils.files import append_line, whole_lines

SHOWN = 1000  # characters logged of a query that cannot be read


class AccessLog:
    """Write one line of JSON per query: {"time": "2024-03-04T05:06:07.089012+00:00", "lists": 2, "refused": null,
    "sequences": [[3, 1, 4], [5]]}.

    `time` is UTC, `lists` the number of sequences, `refused` the reason of a refusal (null where lists were returned),
    `sequences` the item ids of each sequence without padding, or text where they cannot be read. A line is handed to
    the operating system before the next query. Earlier lines stay; one process at a time writes to a file.

    Args:
        file: to append to.
        catalogue: of the item ids; each line has its digest as `catalogue`, by which `recbole-gro detect` refuses the
            log of another one. None: lines have none.

    Attributes:
        lines: number of lines in the file when it was opened.

    Raises:
        UserError: the file cannot be written.
    """

    def __init__(self, file: str | os.PathLike[str], catalogue: Catalogue | None = None):
        self.file, self.catalogue = file, catalogue
        self.lines = whole_lines(file)

    def add(self, sequences: Any, refused: str | None = None) -> None:
        """Append a query.

        Args:
            sequences: as `BlackBox.query` takes them.
            refused: reason of a refusal; None where lists were returned.

        Raises:
            UserError: the file cannot be written; no part of the line is in it then.
        """
        line = {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
            "lists": len(sequences),
            "refused": refused,
            "sequences": _readable(sequences),
        }
        if self.catalogue:
            line["catalogue"] = self.catalogue.digest
        append_line(self.file, json.dumps(line))


def _readable(sequences: Any) -> list[list[int]] | str:
    """Return the item ids of each sequence without padding, or text where they cannot be read."""
    try:
        padded, lengths = pad_sequences(sequences)
    except InvalidQuery:
        return str(sequences.tolist() if isinstance(sequences, Tensor) else sequences)[:SHOWN]
    return [row[:length] for row, length in zip(padded.tolist(), lengths.tolist(), strict=True)]
