"""The csv files under results/, for tests of the pages about them."""

import csv
import functools
from pathlib import Path

RESULTS = Path(__file__).parent.parent / "results"


@functools.cache
def rows_of(file):
    """Return the rows of a csv file under results/."""
    with (RESULTS / file).open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def values(file, **wanted):
    """Return the values of the rows that have what is wanted, of three seeds in their order."""
    found = [row for row in rows_of(file) if wanted.items() <= row.items()]
    assert len(found) == 3, wanted
    return [float(row["value"]) for row in sorted(found, key=lambda row: row["seed"])]
