"""The report on an access log: flagged histories, windows and API keys."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole_gro.detection.looks import LOOK_LEVEL, LOOKS
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
    yield _received(results)
    yield Heading("Flagged")
    yield _flagged_table(results)
    for name, found in results["detectors"].items():
        yield Heading(name)
        yield Paragraph(
            f"Scores above {found['threshold']} flag a history, scores above {found['window_threshold']} a window."
        )
        yield _keys_table(found["keys"], results["false_positive_rate"])
        if windows := found["flagged_windows"]:
            yield _windows_table(windows)
        if histories := found["histories"]:
            yield _histories_table(histories)


def _received(results: dict[str, Any]) -> Paragraph:
    unknown = results["unknown_items"]
    rest = f" Histories are judged without their {unknown:,} items that are not in it." if unknown else ""
    if n := results["unanswered"]:
        rest += f" {n:,} of the queries got no list: the service's own detection refused them, or they failed in it."
    return Paragraph(
        f"{counted(results['queries'], 'query makes', 'queries make')} "
        f"{counted(results['histories'], 'history', 'histories')}, of which one that extends another counts "
        f"once; {results['left_out']:,} more were refused or have no item of the catalogue.{rest}"
    )


def _flagged_table(results: dict[str, Any]) -> Table:
    def row(name: str, found: dict[str, Any]) -> list[str]:
        n, windows = found["flagged_histories"], f"{len(found['flagged_windows'])} of {found['windows']}"
        keys = ", ".join(_key_name(key) for key in found["keys"] if key["alarm"])
        return [name, f"{n:,}", f"{n / results['histories']:.1%}", windows, keys or "none"]

    return Table(
        f"What each detector flags. Thresholds flag at most {results['false_positive_rate']:.1%} of benign users "
        f"({results['benign']}), of benign windows of {results['window']} histories, and of benign keys.",
        ["detector", "histories", "share", "windows", "keys"],
        [row(name, found) for name, found in results["detectors"].items()],
    )


def _keys_table(keys: list[dict[str, Any]], rate: float) -> Table:
    def row(key: dict[str, Any]) -> list[str]:
        counts = f"{key['histories']:,}", f"{key['flagged']:,}", *map(_share, key["looks"].values())
        return [_key_name(key), *counts, f"{key['log_evidence']}", "yes" if key["alarm"] else "no"]

    return Table(
        f"API keys. At n items: histories that are unusual there, as {LOOK_LEVEL:.0%} of benign users' are, of those "
        "that had as many. Evidence: natural logarithm of the e-value against a benign key; an alarm above "
        f"{-math.log(rate):.2f}.",
        ["key", "histories", "flagged", *(f"at {counted(n, 'item')}" for n in LOOKS), "evidence", "alarm"],
        [row(key) for key in sorted(keys, key=lambda key: -key["log_evidence"])[:SHOWN]],
    )


def _share(look: dict[str, int]) -> str:
    return f"{look['unusual']:,} of {look['histories']:,}" if look["histories"] else "none"


def _key_name(key: dict[str, Any]) -> str:
    return key["key"] or "(no key)"


def _windows_table(windows: list[dict[str, Any]]) -> Table:
    return Table(
        f"Flagged windows, {min(SHOWN, len(windows))} of {len(windows)}.",
        ["key", "first query", "time", "score"],
        [[part["key"], f"{part['query']}", part["time"], f"{part['score']}"] for part in windows[:SHOWN]],
        labels=3,
    )


def _histories_table(rows: list[dict[str, Any]]) -> Table:
    figures = ("items", "alarm_after", "score")
    return Table(
        f"Flagged histories, {min(SHOWN, len(rows))} of {len(rows)} (all: results.csv), highest scores first.",
        ["key", "query", "time", "items", "flagged after", "score"],
        [[row["key"], f"{row['query']}", row["time"], *(f"{row[name]}" for name in figures)] for row in rows[:SHOWN]],
        labels=3,
    )
