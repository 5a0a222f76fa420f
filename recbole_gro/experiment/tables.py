"""Tables of an experiment that runs in one process: those that are missing are made, each whole or not at all."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_gro.experiment.dry_run import no_estimate
from recbole_gro.quick_start.executor import execute
from recbole_gro.report.document import Block, Bullets, Heading, Paragraph, csv_text, read_rows
from recbole_gro.utils.errors import UserError, in_one_line, out_of_memory
from recbole_gro.utils.files import make_folder, write_whole
from recbole_gro.utils.log import say
from recbole_gro.utils.own_code import fault_of_own_code
from recbole_gro.utils.random_state import global_state_kept


@dataclass(frozen=True)
class PlannedTable:
    """A table of a report that has a file of its own.

    Attributes:
        file: csv, named by everything that the rows depend on.
        head: names of the columns.
        rows: makes the rows.
    """

    file: Path
    head: Sequence[str]
    rows: Callable[[], Iterable[Mapping[str, Any]]]

    def make(self) -> None:
        """Write the file, once all rows are made."""
        make_folder(self.file.parent)
        with global_state_kept():
            text = csv_text(self.head, ([*row.values()] for row in self.rows()))
        write_whole(self.file, text)


def print_tables(tables: Mapping[str, PlannedTable], figure: str) -> None:
    """Print which tables are done and which are missing, for a dry run of a figure.

    Args:
        tables: by name.
        figure: of the experiment.
    """
    for name, table in tables.items():
        print(f"  {name}: {'done' if table.file.exists() else 'missing'}")
    print(no_estimate(figure))


def make_tables(tables: Mapping[str, PlannedTable], stages_dir: Path) -> list[str]:
    """Make the tables whose files are missing, and return those that failed, each with its error.

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
        say(f"{time.strftime('%H:%M:%S')} {name}: {error or 'done'}")
        if error:
            failed.append(f"{name}: {error}")
    return failed


def missing_of(tables: Mapping[str, PlannedTable]) -> list[str]:
    """Return the names of the tables without a file."""
    return [name for name, table in tables.items() if not table.file.exists()]


def rows_of(tables: Iterable[PlannedTable], words: Iterable[str]) -> list[dict[str, Any]]:
    """Return the rows of all tables that are there.

    Args:
        tables: in order.
        words: columns that are text.
    """
    return [row for table in tables if table.file.exists() for row in read_rows(table.file, {*words})]


def refuse_failed(failed: Sequence[str], n: int) -> None:
    """End an experiment whose tables did not all succeed; its report has been written.

    Args:
        failed: tables that failed, each with its error.
        n: number of all tables.

    Raises:
        UserError: there are any.
    """
    if failed:
        raise UserError(f"{len(failed)} of {n} tables failed, finished ones are kept: {'; '.join(failed)}")


@contextlib.contextmanager
def suspect_named(name: str) -> Iterator[None]:
    """Name the suspect that is made or measured inside the block in the error that ends it.

    Args:
        name: of the suspect.

    Raises:
        UserError: the block failed; an interrupt stays as it is.
    """
    try:
        yield
    except BaseException as error:
        fault = error if isinstance(error, UserError) else out_of_memory(error) or fault_of_own_code(error)
        if not isinstance(error, Exception) and not fault:
            raise
        raise UserError(f"{name}: {fault or in_one_line(error)}") from error


def unfinished(missing: Sequence[str], n: int) -> Iterator[Block]:
    """Yield the paragraph at the head of a report that lacks tables; none where it has all.

    Args:
        missing: names of the tables.
        n: number of all tables.
    """
    if missing:
        yield Paragraph(
            f"Unfinished: {len(missing)} of {n} tables are missing, listed at the end. All numbers are of the others."
        )


def missing_list(missing: Sequence[str]) -> Iterator[Block]:
    """Yield the end of a report that lacks tables: their names; nothing where it has all."""
    if missing:
        yield Heading("Missing tables")
        yield Bullets(missing)


def without(missing: Sequence[str]) -> str:
    """Return the end of a caption of numbers that lack tables.

    >>> without(["GRU4Rec, seed 2"])
    ' Unfinished: without GRU4Rec, seed 2.'
    >>> without([])
    ''
    """
    if not missing:
        return ""
    named = "; ".join(missing) if len(missing) <= 3 else f"{len(missing)} tables, which are listed at the end"
    return f" Unfinished: without {named}."
