"""Documents of headings, paragraphs, tables and pictures, as markdown and as one HTML page; csv files."""

import base64
import csv
import io
import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from recbole_gro.utils.files import ANEW, make_folder, undamaged, write_whole
from recbole_gro.utils.table import markdown_table

TEMPLATES = Environment(
    loader=PackageLoader("recbole_gro.report"),
    autoescape=True,
    trim_blocks=True,
    keep_trailing_newline=True,
    undefined=StrictUndefined,
)


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return rows below their head as the text of a csv file."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([head, *rows])
    return text.getvalue()


def read_rows(file: Path, words: Collection[str]) -> list[dict[str, Any]]:
    """Return the rows of a csv file by column, numbers and booleans as such; None where a cell is empty.

    Args:
        file: that a report wrote.
        words: columns whose cells are text.

    Raises:
        UserError: it is damaged.
    """
    with undamaged(file, ANEW), open(file, newline="", encoding="utf-8") as stream:
        return [
            {name: text if name in words else json.loads(text.lower()) if text else None for name, text in row.items()}
            for row in csv.DictReader(stream)
        ]


class Block:
    """A part of a document; templates/report.html has a section for each class."""

    def markdown(self) -> str:
        """Return the block as markdown."""
        raise NotImplementedError


@dataclass
class Heading(Block):
    """The heading of a section."""

    text: str

    def markdown(self) -> str:
        return f"## {inline(self.text)}"


@dataclass
class Paragraph(Block):
    """Plain text."""

    text: str

    def markdown(self) -> str:
        return inline(self.text)


@dataclass
class Bullets(Block):
    """A list of items."""

    items: Sequence[str]

    def markdown(self) -> str:
        return "\n".join(f"- {inline(item)}" for item in self.items)


@dataclass
class Table(Block):
    """A table.

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
class Picture(Block):
    """A png image.

    Attributes:
        file: its name beside the markdown.
        png: the bytes.
        alt: text for readers who do not see the image.
        caption: what the image shows.
    """

    file: str
    png: bytes
    alt: str
    caption: str

    @property
    def base64(self) -> str:
        """The image as text, to embed it in a page."""
        return base64.b64encode(self.png).decode()

    def markdown(self) -> str:
        return f"![{inline(self.alt)}]({self.file})\n\n{inline(self.caption)}"


def markdown(title: str, blocks: Sequence[Block]) -> str:
    """Return the document as markdown, with pictures as files beside it."""
    return "\n\n".join([f"# {inline(title)}", *(block.markdown() for block in blocks)]) + "\n"


def html(title: str, blocks: Sequence[Block]) -> str:
    """Return the document as one HTML page that loads nothing else."""
    return TEMPLATES.get_template("report.html").render(title=title, blocks=blocks)


def write_document(title: str, blocks: Iterable[Block], table: str, folder: Path) -> None:
    """Write results.csv, report.md with its pictures, and report.html, which embeds them; each appears complete.

    Args:
        title: of the document.
        blocks: its parts; of an iterator, they are made once results.csv is there.
        table: content of results.csv.
        folder: of the files; made if it does not exist.

    Raises:
        UserError: a file cannot be written.
    """
    make_folder(folder)
    write_whole(folder / "results.csv", table)  # measurements outlast a picture that cannot be drawn
    parts = list(blocks)
    pictures = {block.file: block.png for block in parts if isinstance(block, Picture)}
    texts = {"report.md": markdown(title, parts), "report.html": html(title, parts)}
    for name, content in (pictures | texts).items():
        write_whole(folder / name, content)


def inline(text: str) -> str:
    r"""Return text that markdown shows literally, in a table too.

    >>> print(inline("<b> | p < 0.01"))
    &lt;b> \| p < 0.01
    """
    text = re.sub(r"([\\`*|])", r"\\\1", " ".join(text.split()))
    text = re.sub(r"&(?=#|\w+;)", "&amp;", text)
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
