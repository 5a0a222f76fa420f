"""The report on an access log: flagged histories, windows and API keys."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole_gro.report.document import Block, Heading, Paragraph, Table, csv_text, write_document
from recbole_gro.utils.files import write_whole
from recbole_gro.utils.log import console, show, shown_on_console
from recbole_gro.utils.table import TextTable
from recbole_gro.utils.units import counted

SHOWN = 20  # rows of a table


def write_detection(results: dict[str, Any], folder: Path) -> None:
    """Write report.md, report.html, results.csv with the flagged histories, and last results.json.

    Args:
        results: contents of results.json.
        folder: of the files; made if it does not exist.
    """
    head = ["detector", "key", "time", "query", "history", "items", "alarm_after", "score"]
    lines = [
        [name, *(one[column] for column in head[1:])]
        for name, found in results["detectors"].items()
        for one in found["histories"]
    ]
    blocks = list(report_blocks(results))
    write_document(f"Detection in {Path(results['log']).name}", blocks, csv_text(head, lines), folder)
    write_whole(folder / "results.json", json.dumps(results, indent=2) + "\n")
    flagged = next(block for block in blocks if isinstance(block, Table))
    with shown_on_console():
        show(TextTable(flagged.head, flagged.rows, notes=[flagged.caption]))
        console.info(f"\nreport.md, report.html, results.csv and results.json are in {folder}")


def report_blocks(results: dict[str, Any]) -> Iterator[Block]:
    """Yield the parts of the report.

    Args:
        results: contents of results.json.
    """
    rate, window, found = results["false_positive_rate"], results["window"], results["detectors"]
    unknown = results["unknown_items"]
    rest = f" Histories are judged without their {unknown:,} items that are not in it." if unknown else ""
    if n := results["unanswered"]:
        rest += f" {n:,} of the queries got no list: the service's own detection refused them, or they failed in it."
    yield Paragraph(
        f"{counted(results['queries'], 'query makes', 'queries make')} "
        f"{counted(results['histories'], 'history', 'histories')}, of which one that extends another counts "
        f"once; {results['left_out']:,} more were refused or have no item of the catalogue.{rest}"
    )
    yield Heading("Flagged")
    yield Table(
        f"What each detector flags. Thresholds flag at most {rate:.1%} of benign users ({results['benign']}), of "
        f"benign windows of {window} histories, and of benign keys.",
        ["detector", "histories", "share", "windows", "keys"],
        [
            [name, f"{one['flagged_histories']:,}", f"{one['flagged_histories'] / results['histories']:.1%}",
             f"{len(one['flagged_windows'])} of {one['windows']}",
             ", ".join(key["key"] or "(no key)" for key in one["keys"] if key["alarm"]) or "none"]
            for name, one in found.items()
        ],
    )  # fmt: skip
    for name, one in found.items():
        yield Heading(name)
        yield Paragraph(
            f"Scores above {one['threshold']} flag a history, scores above {one['window_threshold']} a window."
        )
        yield Table(
            "API keys. Evidence: natural logarithm of the e-value against a benign key; an alarm above "
            f"{-math.log(rate):.2f}.",
            ["key", "histories", "flagged", "evidence", "alarm"],
            [
                [key["key"] or "(no key)", f"{key['histories']:,}", f"{key['flagged']:,}", f"{key['log_evidence']}",
                 "yes" if key["alarm"] else "no"]
                for key in sorted(one["keys"], key=lambda key: -key["log_evidence"])[:SHOWN]
            ],
        )  # fmt: skip
        if windows := one["flagged_windows"]:
            yield Table(
                f"Flagged windows, {min(SHOWN, len(windows))} of {len(windows)}.",
                ["key", "first query", "time", "score"],
                [[part["key"], f"{part['query']}", part["time"], f"{part['score']}"] for part in windows[:SHOWN]],
                labels=3,
            )
        if rows := one["histories"]:
            yield Table(
                f"Flagged histories, {min(SHOWN, len(rows))} of {len(rows)} (all: results.csv), highest scores first.",
                ["key", "query", "time", "items", "flagged after", "score"],
                [
                    [
                        row["key"],
                        f"{row['query']}",
                        row["time"],
                        *(f"{row[name]}" for name in ("items", "alarm_after", "score")),
                    ]
                    for row in rows[:SHOWN]
                ],
                labels=3,
            )
