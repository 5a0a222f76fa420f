"""The table of the method without references in results/ownership.md is what its csv file holds."""

import re
import statistics

import pytest
from reported import RESULTS, rows_of

PAGE = (RESULTS / "ownership.md").read_text(encoding="utf-8").partition("\n## Without references\n")[2]
FILE = "ownership/contrast.csv"
LEVEL = 0.01
# of each row of the table: the kind of the suspects, and what their names end in
SUSPECTS = {
    "`autoregressive`, 15,000 lists": ("copy", "autoregressive"),
    "`mixed`": ("copy", "mixed"),
    "`mimic`": ("copy", "mimic"),
    "same architecture, other seeds": ("same architecture", ""),
    "the other architecture": ("another architecture", ""),
    "copies of another model": ("copy of another model", ""),
}


def cells(model, kind, end):
    rows = [
        row
        for row in rows_of(FILE)
        if (row["model"], row["kind"]) == (model, kind) and row["suspect"].endswith(end) and not row["refused"]
    ]
    claims = sum(float(row["p_value"]) <= LEVEL for row in rows)
    means = [f"{100 * statistics.mean(float(row[part]) for row in rows):.1f}" for part in ("generated", "users")]
    return [f"{claims} of {len(rows)}", *means]


@pytest.mark.parametrize("suspect", SUSPECTS)
def test_what_contrast_claims_is_that_of_the_csv(suspect):
    (line,) = re.findall(rf"^\| {re.escape(suspect)} \|(.*)\|$", PAGE, re.MULTILINE)
    kind, end = SUSPECTS[suspect]
    assert [cell.strip() for cell in line.split("|")] == cells("BERT4Rec", kind, end) + cells("SASRec", kind, end)
