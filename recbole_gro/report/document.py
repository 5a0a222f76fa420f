"""Documents made of headings, paragraphs, tables and pictures, as markdown and as one HTML page."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined
from tabulate import tabulate

TEMPLATES = Environment(
    loader=PackageLoader("recbole_gro.report"),
    autoescape=True,
    trim_blocks=True,
    keep_trailing_newline=True,
    undefined=StrictUndefined,
)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], labels: int = 1) -> list[str]:
    """Return the lines of a markdown table with aligned columns.

    Args:
        head: names of the columns.
        rows: one text per column; markdown in them is kept.
        labels: number of columns, from the left, that are aligned to the left; the others are numbers.
    """
    sides = ["left" if column < labels else "right" for column in range(len(head))]
    return tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=sides).split("\n")


class Block(Protocol):
    """A part of a document; templates/report.html has a section for each class."""

    def markdown(self) -> str: ...


@dataclass
class Heading:
    """The heading of a section."""

    text: str

    def markdown(self) -> str:
        return f"## {inline(self.text)}"


@dataclass
class Paragraph:
    """Plain text."""

    text: str

    def markdown(self) -> str:
        return inline(self.text)


@dataclass
class Bullets:
    """A list of sentences."""

    items: Sequence[str]

    def markdown(self) -> str:
        return "\n".join(f"- {inline(item)}" for item in self.items)


@dataclass
class Table:
    """Rows under a head.

    Attributes:
        caption: what the numbers are; its first sentence names the table to a screen reader.
        head: names of the columns.
        rows: one text per column.
        labels: number of columns, from the left, that name their row.
        text: whether the cells are words, not numbers.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    labels: int = 1
    text: bool = False

    def markdown(self) -> str:
        head, *rows = ([*map(inline, row)] for row in (self.head, *self.rows))
        lines = markdown_table(head, rows, len(head) if self.text else self.labels)
        return "\n".join([*lines, "", inline(self.caption)])


@dataclass
class Picture:
    """A png image.

    Attributes:
        file: its name beside the markdown.
        png: the bytes.
        alt: a text in place of the image.
        caption: what the image shows.
    """

    file: str
    png: bytes
    alt: str
    caption: str

    @property
    def base64(self) -> str:
        """The image as text, for a page that holds it."""
        return base64.b64encode(self.png).decode()

    def markdown(self) -> str:
        return f"![{inline(self.alt)}]({self.file})\n\n{inline(self.caption)}"


def markdown(title: str, blocks: Sequence[Block]) -> str:
    """Return the document as markdown; its pictures are files beside it."""
    return "\n\n".join([f"# {inline(title)}", *(block.markdown() for block in blocks)]) + "\n"


def html(title: str, blocks: Sequence[Block]) -> str:
    """Return the document as one HTML page that loads nothing else."""
    return TEMPLATES.get_template("report.html").render(title=title, blocks=blocks)


def inline(text: str) -> str:
    r"""Return text that markdown shows literally, in a table too.

    >>> print(inline("<b> | p < 0.01"))
    &lt;b> \| p < 0.01
    """
    text = re.sub(r"([\\`*|])", r"\\\1", " ".join(text.split()))
    text = re.sub(r"&(?=#|\w+;)", "&amp;", text)
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
