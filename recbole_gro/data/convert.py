"""Published datasets as RecBole's atomic files."""

import shlex
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from recbole_gro.data.atomic_writer import atomic_files, write_row
from recbole_gro.data.raw_formats import PUBLISHED, RawFile
from recbole_gro.data.raw_lines import LONGEST_LINE, raw_lines
from recbole_gro.utils.errors import UserError, unknown_name

SHOWN = 5  # bad lines per file that are reported individually
LONGEST_REASON = 200  # characters; a reason may quote what it found
RECBOLES_FOLDER = "dataset"  # default of data_path


@dataclass
class Conversion:
    """The outcome for one published file.

    Attributes:
        source: the published file.
        file: the atomic file.
        rows: number of rows written to it.
        bad: number of lines left out.
        reasons: why, for the first of them, `line 7: ...`.
    """

    source: Path
    file: Path
    rows: int = 0
    bad: int = 0
    reasons: list[str] = field(default_factory=list)

    def leave_out(self, number: int, reason: str) -> None:
        """Count line `number` as left out, and keep the reason of the first ones."""
        self.bad += 1
        if self.bad <= SHOWN:
            self.reasons.append(f"line {number}: {textwrap.shorten(reason, LONGEST_REASON, placeholder=' ...')}")


def convert(
    name: str, path: str | Path, output: str | Path = RECBOLES_FOLDER, show_progress: bool = False
) -> list[Conversion]:
    """Write OUTPUT/NAME/NAME.inter, and NAME.item where the publishers describe the items, line by line.

    Args:
        name: a dataset of PUBLISHED.
        path: its file of interactions, or a folder that has it directly or one level down.
        output: RecBole's `data_path`.
        show_progress: whether to show a progress bar per file.

    Returns:
        One conversion per published file.

    Raises:
        UserError: unknown name or file, an existing output, or no valid line; nothing is written then.
    """
    if name not in PUBLISHED:
        raise unknown_name("dataset", name, PUBLISHED)
    folder = Path(output) / name
    work = [
        (raw, Conversion(source, folder / f"{name}.{raw.suffix}")) for raw, source in _find_sources(name, Path(path))
    ]
    for _, done in work:
        if done.file.exists():
            raise UserError(f"{done.file} exists; remove it or name another folder with --output")
    try:
        with atomic_files(folder, {done.file.name: raw.columns for raw, done in work}) as files:
            for raw, done in work:
                _convert_file(raw, done, files[done.file.name], show_progress)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror or error})") from error
    return [done for _, done in work]


def _find_sources(name: str, path: Path) -> list[tuple[RawFile, Path]]:
    """Return the files of dataset `name` at `path`: its interactions, then the files beside them."""
    interactions, *others = PUBLISHED[name]
    if path.is_dir():
        source = _find_in(path, interactions)
    elif path.suffix == ".zip":
        raise UserError(f"{path}: extract it first, and give the folder")
    elif path.is_file():
        source = path
    else:
        raise UserError(f"{path}: no such file or folder; {' or '.join(interactions.names)} is expected")
    beside = [(raw, [source.parent / file for file in raw.names_or_compressed]) for raw in others]
    found = [(raw, next((file for file in files if file.is_file()), None)) for raw, files in beside]
    return [(interactions, source), *((raw, file) for raw, file in found if file)]


def _find_in(folder: Path, raw: RawFile) -> Path:
    for file in raw.names_or_compressed:
        found = [place for place in (folder / file, *sorted(folder.glob(f"*/{file}"))) if place.is_file()]
        if len(found) > 1:
            raise UserError(f"{folder}: {' and '.join(map(str, found))} both exist; give one of them")
        if found:
            return found[0]
    raise UserError(f"{folder}: neither it nor a folder in it has {' or '.join(raw.names)}")


def _convert_file(raw: RawFile, done: Conversion, stream: TextIO, show_progress: bool) -> None:
    with warnings.catch_warnings():
        # reading a Python literal warns of odd escapes in the text of reviews
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        for number, line in raw_lines(done.source, show_progress):
            try:
                if line is None:
                    raise ValueError(f"longer than {LONGEST_LINE} bytes")
                text = line.decode(raw.encoding)
                if number == 1 and text == raw.header:
                    continue
                row = raw.row(text)
            except ValueError as error:
                done.leave_out(number, str(error))
            else:
                write_row(stream, row)
                done.rows += 1
    if not done.rows:
        reason = f"none of its {done.bad} lines is valid ({done.reasons[0]})" if done.bad else "it has no row"
        raise UserError(f"{done.source}: {reason}; lines such as {raw.example} are expected")


def summary(name: str, output: str, conversions: Sequence[Conversion]) -> str:
    """Return the report on a conversion: files, lines left out, and the next commands."""
    lines = []
    for done in conversions:
        lines.append(f"{done.source} -> {done.file}: {done.rows} rows")
        if done.bad:
            lines.append(f"  bad lines left out: {done.bad}")
            lines += [f"    {reason}" for reason in done.reasons]
        if done.bad > len(done.reasons):
            lines.append("    ...")
    data_path = f"--data_path={shlex.quote(output)}"
    return "\n".join(
        [
            *lines,
            f"Measure it: recbole-gro dataset statistics {name} {data_path}",
            f"Use it:     recbole-gro -m BERT4Rec -d {name} {data_path}",
        ]
    )
