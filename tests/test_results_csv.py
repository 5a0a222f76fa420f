"""The page on results.csv has every column and measure of the files that the packaged experiments wrote."""

import csv
import re
from pathlib import Path

import pytest

from recbole_gro.experiment.marks import FALSE_HEAD, HEAD
from recbole_gro.experiment.ownership import HEAD as OWNERSHIP_HEAD

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reference" / "results-csv.md").read_text(encoding="utf-8")
FILES = sorted((ROOT / "results").rglob("results.csv"))


def named_under(heading):
    """Return the code spans of a section of the page."""
    _, _, rest = PAGE.partition(f"## {heading}\n")
    assert rest, heading
    return set(re.findall(r"`([^`]+)`", rest.partition("\n## ")[0]))


def heading_of(columns):
    if "detector" in columns:
        return "`detection`"
    if "decoys" in columns:
        return "`alarms`"
    if "is_copy" in columns:
        return "`ownership`"
    return "`marks`" if "is_marked" in columns else "Experiments"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT / "results").parent))
def test_columns_and_measures_of_a_report_are_on_the_page(file):
    with file.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    columns = list(rows[0])
    named = named_under(heading_of(columns)) | {"seed"}
    assert {name for name in columns[columns.index("seed") :] if name not in named} == set()
    for column in ("measure", "metric", "decoys"):
        used = {row[column] for row in rows if column in row}
        assert {name for name in used if name not in named and "@" not in name} == set()


@pytest.mark.parametrize(
    ("heading", "columns"), [("`ownership`", OWNERSHIP_HEAD), ("`marks`", HEAD), ("`marks`", FALSE_HEAD)]
)
def test_columns_that_are_written_are_on_the_page(heading, columns):
    assert set(columns) - named_under(heading) == set()
