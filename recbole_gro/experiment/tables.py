"""Tables of an experiment that runs in one process: missing ones are made, without the suspects that fail."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_gro.experiment.dry_run import no_estimate
from recbole_gro.experiment.lacking import Lacking
from recbole_gro.experiment.planned_suspects import Absent
from recbole_gro.report.document import csv_text, read_rows
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.executor import execute
from recbole_gro.utils.files import ANEW, make_folder, undamaged, write_whole
from recbole_gro.utils.log import say
from recbole_gro.utils.random_state import global_state_kept
from recbole_gro.utils.units import counted

ABSENT = ("absent", "group", "reason")  # columns of an unfinished table, in rows that stand for suspects that failed
END = b"\r\n\r\n"  # of a whole table: an empty line, which readers of csv files skip
Row = dict[str, Any]


@dataclass(frozen=True)
class PlannedTable:
    """A table of a report that has a file of its own.

    Attributes:
        file: csv, named by everything that the rows depend on.
        head: names of the columns.
        rows: makes the rows, or what stands for those of suspects that failed.
        words: columns that are text.
    """

    file: Path
    head: Sequence[str]
    rows: Callable[[], Iterable[Mapping[str, Any] | Absent]]
    words: Collection[str] = ()

    @property
    def unfinished(self) -> Path:
        """The file of the table while it lacks suspects."""
        return self.file.with_name(f"{self.file.stem}-unfinished.csv")

    def make(self) -> None:
        """Write the file, once all rows are made, or the unfinished one, where suspects failed."""
        make_folder(self.file.parent)
        with global_state_kept():
            made = [*self.rows()]
        absent = [one for one in made if isinstance(one, Absent)]
        rows = [[*row.values()] for row in made if not isinstance(row, Absent)]
        if not absent:
            write_whole(self.file, csv_text(self.head, [*rows, []]))
            self.unfinished.unlink(missing_ok=True)
            return
        lines = [[*row, *("" for _ in ABSENT)] for row in rows]
        lines += [[*("" for _ in self.head), one.name, one.group, one.reason] for one in absent]
        write_whole(self.unfinished, csv_text([*self.head, *ABSENT], [*lines, []]))

    def read(self) -> tuple[list[Row], list[Absent]]:
        """Return the rows that are there, and the suspects that lack theirs; a table without any file has neither."""
        found = [file for file in (self.file, self.unfinished) if is_whole(file)]
        return read_table(found[0], self.words) if found else ([], [])


def is_whole(file: Path) -> bool:
    """Return whether the file of a table is there up to its end; others are made again.

    Args:
        file: csv.

    Raises:
        UserError: it cannot be read.
    """
    with undamaged(file, ANEW):
        return file.exists() and file.read_bytes().endswith(END)


def read_table(file: Path, words: Collection[str]) -> tuple[list[Row], list[Absent]]:
    """Return the rows of a table's file, finished or not, and the suspects that lack theirs.

    Args:
        file: csv.
        words: columns that are text.

    Raises:
        UserError: it is damaged.
    """
    rows, absent = [], []
    for row in read_rows(file, {*words, *ABSENT}):
        name, group, reason = (row.pop(column, "") for column in ABSENT)
        if name:
            absent.append(Absent(name, group, reason))
        else:
            rows.append(row)
    return rows, absent


def lacking_of(tables: Mapping[str, PlannedTable]) -> Lacking:
    """Return what a report on some tables, by name, lacks."""
    absent = tuple((name, one) for name, table in tables.items() for one in table.read()[1])
    return Lacking(tuple(name for name in missing_of(tables) if not is_whole(tables[name].unfinished)), absent)


def print_tables(tables: Mapping[str, PlannedTable], figure: str) -> None:
    """Print which tables are done and which are missing, for a dry run of a figure.

    Args:
        tables: by name.
        figure: of the experiment.
    """
    for name, table in tables.items():
        lacks = counted(len(table.read()[1]), "suspect") + " missing" if is_whole(table.unfinished) else "missing"
        print(f"  {name}: {'done' if is_whole(table.file) else lacks}")
    print(no_estimate(figure))


def make_tables(tables: Mapping[str, PlannedTable], stages_dir: Path) -> list[str]:
    """Make the tables whose files are missing or damaged, and return those that failed, each with its error.

    Args:
        tables: by name.
        stages_dir: folder of the stages.

    Raises:
        UserError: the folder cannot be made.
    """
    missing = missing_of(tables)
    if missing:
        make_folder(stages_dir, "stages_dir")
    failed = []
    for (name,), error in execute(lambda name: tables[name].make(), [(name,) for name in missing]):
        absent = 0 if error or is_whole(tables[name].file) else len(tables[name].read()[1])
        done = f"done, without {counted(absent, 'suspect')}" if absent else "done"
        say(f"{time.strftime('%H:%M:%S')} {name}: {error or done}")
        if error:
            failed.append(f"{name}: {error}")
    return failed


def missing_of(tables: Mapping[str, PlannedTable]) -> list[str]:
    """Return the names of the tables without a whole file."""
    return [name for name, table in tables.items() if not is_whole(table.file)]


def rows_of(tables: Iterable[PlannedTable]) -> list[Row]:
    """Return the rows of all tables that are there, in order."""
    return [row for table in tables for row in table.read()[0]]


def refuse_failed(failed: Sequence[str], n: int, lacking: Lacking | None = None) -> None:
    """End an experiment whose tables did not all succeed; its report has been written.

    Args:
        failed: tables that failed, each with its error.
        n: number of all tables.
        lacking: suspects that failed in the others.

    Raises:
        UserError: there are any of both.
    """
    faults = []
    if failed:
        faults.append(f"{len(failed)} of {n} tables failed, finished ones are kept: {'; '.join(failed)}")
    if lacking and lacking.suspects:
        number = counted(len({table for table, _ in lacking.suspects}), "table")
        reasons = "; ".join(dict.fromkeys(one.reason for _, one in lacking.suspects))
        faults.append(f"suspects of {number} failed, the others are kept: {reasons}")
    if faults:
        raise UserError("; ".join(faults))
