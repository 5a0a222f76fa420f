"""Results as a table, a file and a picture."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Protocol


def markdown_table(head: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a markdown table, its columns aligned: names to the left, all else to the right."""
    widths = [max(3, *map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [rule if line is None else _align(line, widths) for line in (head, None, *rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _align(line: list[str], widths: list[int]) -> list[str]:
    return [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]


STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 70rem; padding: 1rem; background: #fff; color: #1c1c1c;
       font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.25; }
h2 { font-size: 1.2rem; margin-top: 2.5rem; }
.wide { overflow-x: auto; }
.wide:focus-visible { outline: 2px solid #0072b2; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { caption-side: top; padding-bottom: .5rem; text-align: left; color: #555; }
caption span { display: block; position: sticky; left: 0; max-width: calc(100vw - 2rem); }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; text-align: right; vertical-align: top; }
thead th { border-bottom: 2px solid #888; vertical-align: bottom; }
th.label { text-align: left; }
td { white-space: nowrap; }
td.text { white-space: normal; text-align: left; }
figure { margin: 1.5rem 0; }
img { max-width: 100%; height: auto; }
figcaption { color: #555; font-size: .9rem; }
"""
# The page loads nothing, whatever a name in it may look like
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Block(Protocol):
    """A part of a document."""

    def markdown(self) -> str: ...

    def html(self) -> str: ...


@dataclass
class Heading:
    """Of a section."""

    text: str

    def markdown(self) -> str:
        return f"## {inline(self.text)}"

    def html(self) -> str:
        return f"<h2>{escape(self.text)}</h2>"


@dataclass
class Paragraph:
    """Plain text."""

    text: str

    def markdown(self) -> str:
        return inline(self.text)

    def html(self) -> str:
        return f"<p>{escape(self.text)}</p>"


@dataclass
class Bullets:
    """A list of sentences."""

    items: Sequence[str]

    def markdown(self) -> str:
        return "\n".join(f"- {inline(item)}" for item in self.items)

    def html(self) -> str:
        return "<ul>\n" + "".join(f"<li>{escape(item)}</li>\n" for item in self.items) + "</ul>"


@dataclass
class Table:
    """Rows under a head.

    Attributes:
        caption: what the numbers are.
        head: names of the columns.
        rows: of one text a column.
        labels: so many columns at the left name their row.
        text: the cells are words, not numbers.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    labels: int = 1
    text: bool = False

    def markdown(self) -> str:
        lines = markdown_table([inline(name) for name in self.head], [[*map(inline, row)] for row in self.rows])
        return "\n".join([*lines, "", inline(self.caption)])

    def html(self) -> str:
        head = "".join(
            f'<th scope="col"{_class("label", i < self.labels or self.text)}>{escape(name)}</th>'
            for i, name in enumerate(self.head)
        )
        rows = "".join(f"<tr>{self._html_cells(row)}</tr>\n" for row in self.rows)
        label = escape(self.caption.partition(".")[0])
        return (
            f'<div class="wide" role="region" tabindex="0" aria-label="{label}">\n'
            f"<table>\n<caption><span>{escape(self.caption)}</span></caption>\n"
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>"
        )

    def _html_cells(self, row: Sequence[str]) -> str:
        labels = (f'<th scope="row" class="label">{escape(cell)}</th>' for cell in row[: self.labels])
        cells = (f"<td{_class('text', self.text)}>{escape(cell)}</td>" for cell in row[self.labels :])
        return "".join((*labels, *cells))


@dataclass
class Picture:
    """A png.

    Attributes:
        file: its name beside the markdown.
        png: the bytes.
        alt: for who cannot see it.
        caption: what is to be seen.
    """

    file: str
    png: bytes
    alt: str
    caption: str

    def markdown(self) -> str:
        return f"![{inline(self.alt)}]({self.file})\n\n{inline(self.caption)}"

    def html(self) -> str:
        data = base64.b64encode(self.png).decode()
        return (
            f'<figure>\n<img src="data:image/png;base64,{data}" alt="{escape(self.alt)}">\n'
            f"<figcaption>{escape(self.caption)}</figcaption>\n</figure>"
        )


def markdown(title: str, blocks: Sequence[Block]) -> str:
    """The document as markdown; its pictures are files beside it."""
    return "\n\n".join([f"# {inline(title)}", *(block.markdown() for block in blocks)]) + "\n"


def html(title: str, blocks: Sequence[Block]) -> str:
    """The document as one HTML page that asks for nothing else."""
    body = "\n".join(block.html() for block in blocks)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def inline(text: str) -> str:
    r"""Text that markdown shows as it is, in a table too.

    >>> print(inline("<b> | p < 0.01"))
    &lt;b> \| p < 0.01
    """
    text = re.sub(r"([\\`*|])", r"\\\1", " ".join(text.split()))
    text = re.sub(r"&(?=#|\w+;)", "&amp;", text)
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)


def _class(name: str, applies: bool) -> str:
    return f' class="{name}"' if applies else ""
