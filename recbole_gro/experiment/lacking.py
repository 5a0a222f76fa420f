"""What a report on tables of suspects lacks, and how it says so."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recbole_gro.experiment.planned_suspects import Absent
from recbole_gro.report.document import Block, Bullets, Heading, Paragraph
from recbole_gro.utils.units import counted

FEW = 3  # names that a caption has


@dataclass(frozen=True)
class Lacking:
    """What figures lack.

    Attributes:
        tables: names of the tables that failed.
        suspects: (table, suspect) of those that failed in the others.
    """

    tables: Sequence[str] = ()
    suspects: Sequence[tuple[str, Absent]] = ()

    def of(self, *groups: str) -> "Lacking":
        """Return what figures of some groups of suspects lack."""
        return Lacking(self.tables, tuple((table, one) for table, one in self.suspects if one.group in groups))

    def note(self, n: int) -> str:
        """Return the end of a caption of numbers that are of n suspects, each counted once per table.

        >>> Lacking(["GRU4Rec, seed 2"]).note(5)
        ' Unfinished: without GRU4Rec, seed 2.'
        >>> Lacking((), [("NARM, seed 1", Absent("popularity", "", "ValueError"))]).note(5)
        ' Over 5 of 6 suspects, without popularity (NARM, seed 1).'
        >>> Lacking().note(5)
        ''
        """
        notes = []
        if self.tables:
            notes.append(f" Unfinished: without {_listed(self.tables, 'tables')}.")
        if self.suspects:
            planned, there = n + len(self.suspects), " of the other tables" if self.tables else ""
            named = _listed([f"{one.name} ({table})" for table, one in self.suspects], "suspects")
            notes.append(f" Over {n} of {planned} suspects{there}, without {named}.")
        return "".join(notes)


WHOLE = Lacking()


def _listed(names: Sequence[str], what: str) -> str:
    return "; ".join(names) if len(names) <= FEW else f"{len(names)} {what}, which are listed at the end"


def unfinished(lacking: Lacking, n: int) -> Iterator[Block]:
    """Yield the paragraph at the head of a report that lacks tables or suspects; none where it has all.

    Args:
        lacking: what it lacks.
        n: number of all tables.
    """
    if lacking.tables:
        yield Paragraph(
            f"Unfinished: {len(lacking.tables)} of {n} tables are missing, listed at the end. All numbers are of the "
            "others."
        )
    if lacking.suspects:
        of = counted(len({table for table, _ in lacking.suspects}), "table")
        yield Paragraph(
            f"Unfinished: {counted(len(lacking.suspects), 'suspect')} of {of} failed and are left out, listed at the "
            "end. Captions say how many suspects the numbers are of, each counted once per table."
        )


def missing_list(lacking: Lacking, failed: Sequence[str] = ()) -> Iterator[Block]:
    """Yield the end of a report that lacks tables or suspects, and why; nothing where it has all.

    Args:
        lacking: what it lacks.
        failed: tables that failed, each with its error.
    """
    if lacking.tables:
        reasons = {name: next((fault for fault in failed if fault.startswith(f"{name}: ")), name)
                   for name in lacking.tables}  # fmt: skip
        yield Heading("Missing tables")
        yield Bullets([*reasons.values()])
    if lacking.suspects:
        yield Heading("Missing suspects")
        yield Bullets([f"{table}: {one.name}: {one.reason}" for table, one in lacking.suspects])
