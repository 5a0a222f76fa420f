"""Tables of text: markdown, or aligned columns that fit a terminal."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], labels: int = 1) -> list[str]:
    """Return the lines of a markdown table with aligned columns.

    Args:
        head: names of the columns.
        rows: one text per column, which may hold markdown.
        labels: number of columns, from the left, that are aligned to the left; the others are numbers.
    """
    sides = ["left" if column < labels else "right" for column in range(len(head))]
    return tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=sides).split("\n")


@dataclass
class TextTable:
    """A table and the notes below it.

    Attributes:
        head: names of the columns.
        rows: one text per column.
        labels: number of columns, from the left, that name their row; where all do, a terminal wraps the last.
        groups: of each column, such as `target`; columns of one group stay side by side, empty ones join the group
            before. Markdown has it before the column's name.
        marks: of each row; markdown has them behind the last label.
        notes: paragraphs.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    labels: int = 1
    groups: Sequence[str] = ()
    marks: Sequence[str] = ()
    notes: Sequence[str] = ()

    def lines(self) -> list[str]:
        """Return the lines of the markdown table, without notes."""
        groups, marks = self.groups or [""] * len(self.head), self.marks or [""] * len(self.rows)
        head = [f"{group} {name}".strip() for group, name in zip(groups, self.head, strict=True)]
        last = self.labels - 1
        rows = [
            [*row[:last], f"{row[last]} {mark}".strip(), *row[self.labels :]]
            for row, mark in zip(self.rows, marks, strict=True)
        ]
        return markdown_table(head, rows, self.labels)

    def markdown(self) -> str:
        """Return the table and its notes as markdown."""
        notes = [re.sub(r"^\*", r"\*", note) for note in self.notes]  # else a note of the mark * would be a list
        return "\n\n".join(["\n".join(self.lines()), *notes])

    def aligned(self, columns: int) -> str:
        """Return the table and its notes in at most so many columns; groups that do not fit stand one below another."""
        notes = [textwrap.fill(note, columns) for note in self.notes]
        values = list(range(self.labels, len(self.head)))
        if not values:
            return "\n\n".join(["\n".join(self._wrapped(columns)), *notes])
        blocks = [values] if _width(self._block(values, last=True)) <= columns else self._by_group(values)
        fitting = [part for block in blocks for part in self._split(block, columns)]
        tables = ["\n".join(self._block(block, last=block is fitting[-1])) for block in fitting]
        return "\n\n".join([*tables, *notes])

    def _by_group(self, values: list[int]) -> list[list[int]]:
        blocks: list[list[int]] = [[]]
        for column in values:
            if blocks[-1] and self.groups and self.groups[column] not in ("", self.groups[blocks[-1][0]]):
                blocks.append([])
            blocks[-1].append(column)
        return blocks

    def _split(self, block: list[int], columns: int) -> list[list[int]]:
        """Return the columns of a block in parts that fit, each of one column at least."""
        fits = len(block)
        while fits > 1 and _width(self._block(block[:fits], last=True)) > columns:
            fits -= 1
        return [block[:fits], *(self._split(block[fits:], columns) if block[fits:] else [])]

    def _block(self, values: list[int], last: bool) -> list[str]:
        """Return the lines of some columns behind the labels; rows without a value in them are left out."""
        labels = list(range(self.labels))
        shown = [place for place, row in enumerate(self.rows) if any(row[column] for column in values)]
        if len({self.rows[place][0] for place in shown}) == len(shown) < len(self.rows):
            labels = labels[:1]  # one row per defense has no need of the attack's name
        columns, marks = labels + values, [self.marks[place] for place in shown] if self.marks and last else []
        head = [self.head[column] for column in columns]
        rows = [[self.rows[place][column] for column in columns] for place in shown]
        if any(marks):
            head.insert(len(labels), "")
            rows = [[*row[: len(labels)], mark, *row[len(labels) :]] for row, mark in zip(rows, marks, strict=True)]
        lines = aligned_lines(head, rows, len(head) - len(values))
        return [*self._group_line(values, lines[1]), *lines]

    def _group_line(self, values: list[int], rule: str) -> list[str]:
        """Return the line above the head that names the groups, if there are any."""
        spans = [found.span() for found in re.finditer("-+", rule)][-len(values) :]
        line = ""
        for group in dict.fromkeys(self.groups[column] for column in values) if self.groups else ():
            places = [span for span, column in zip(spans, values, strict=True) if self.groups[column] == group]
            start, end = places[0][0], places[-1][1]
            line = f"{line:<{start}}" + (f" {group} ".center(end - start, "-") if group else "")
        return [line.rstrip()] if line.strip() else []

    def _wrapped(self, columns: int) -> list[str]:
        """Return the lines of a table of words, whose last column takes the width that the others leave."""
        narrow = aligned_lines(self.head[:-1], [row[:-1] for row in self.rows], self.labels)
        rows: list[list[str]] = []
        for *others, last in self.rows:
            first, *more = textwrap.wrap(last, max(columns - _width(narrow) - 2, 20)) or [""]
            rows += [[*others, first], *([*("" for _ in others), line] for line in more)]
        return aligned_lines(self.head, rows, self.labels)


def aligned_lines(head: Sequence[str], rows: Sequence[Sequence[str]], labels: int) -> list[str]:
    """Return head, rule and rows with aligned columns, the first `labels` of them to the left, for a terminal."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    sides = ["<" if column < labels else ">" for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return ["  ".join(map(format, line, map("{}{}".format, sides, widths))).rstrip() for line in lines]


def _width(lines: list[str]) -> int:
    return max(map(len, lines))
