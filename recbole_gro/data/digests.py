"""Digests of a dataset's files, by which a change of the data is noticed."""

import glob
import hashlib
import os
from functools import cache
from pathlib import Path

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.data.availability import ATOMIC
from recbole_gro.utils.errors import UserError


def data_fingerprint(config: ConfigLike) -> dict[str, str]:
    """Return {file name: digest of its contents} of the atomic files of a config's dataset.

    Raises:
        UserError: a folder stands in place of one, or one cannot be read.
    """
    suffixes = {*ATOMIC, *(config["additional_feat_suffix"] or ())}
    files = Path(config["data_path"]).glob(f"{glob.escape(str(config['dataset']))}.*")
    try:
        return {file.name: file_digest(file) for file in sorted(files) if file.suffix[1:] in suffixes}
    except OSError as error:
        raise UserError(f"dataset {config['dataset']}: {error.filename} cannot be read: {error.strerror}") from error


def file_digest(file: Path) -> str:
    """Return a digest of a file's contents; an unchanged file is read once per process."""
    stat = os.stat(file)
    return _digest(str(file.resolve()), stat.st_size, stat.st_mtime_ns)


@cache
def _digest(file: str, size: int, changed: int) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
