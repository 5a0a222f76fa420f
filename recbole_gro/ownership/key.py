"""The key of a verification: read or made, and whether results of another one reveal it."""

import contextlib
import hashlib
import re
from pathlib import Path

from recbole_gro.defense.settings import KeyedSettings
from recbole_gro.serving.saved_target import SavedTarget
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import write_whole
from recbole_gro.utils.log import console
from recbole_gro.utils.secret_file import read_or_create_secret

SHORTEST_KEY = 16  # bytes


def read_key(file: Path) -> tuple[bytes, bool]:
    """Return the bytes of a key, which is made where there is none, and whether it was.

    A file that others can open is accepted, unlike that of `defense_key`: an owner may have written it by hand, and the
    results of its first verification hold the key.

    Raises:
        UserError: it cannot be read or made, or is short.
    """
    content, is_new = read_or_create_secret(file, "key")
    key = content.strip()
    if len(key) < SHORTEST_KEY:
        raise UserError(f"key: {file} holds {len(key)} bytes; a secret takes {SHORTEST_KEY} or more")
    return key, is_new


def check_file_name(key: str) -> None:
    """Check that a key is named by its file and is not given itself, which messages would show and a file be named by.

    Raises:
        UserError: it looks like a secret, and there is no file of this name.
    """
    if re.fullmatch(r"\s*[0-9a-fA-F]{32,}\s*", key) and not Path(key).exists():
        raise UserError(
            "key: it takes a file; what is given looks like the secret itself, which command lines reveal: write it "
            "to a file that others cannot read, and name that"
        )


def check_secret_marks(file: str, owner: SavedTarget) -> None:
    """Check that the marks of a model, if it has any, come from a secret key.

    Args:
        file: checkpoint of the model.
        owner: that model.

    Raises:
        UserError: they follow from the seed, of which one can be chosen that fits a suspect, whatever file is the key.
    """
    if owner.marks is not None and KeyedSettings.of(owner.config).defense_key == "seed":
        raise UserError(
            f"owner: the marks of {file} follow from its seed, as with defense_key=seed, so that no key in a file "
            "binds them; train it with --defense_key=secret"
        )


def check_planted_key(key: str, method: str) -> None:
    """Check that there is a file with the key of a model's training, which none that is made now could be.

    Args:
        key: the file.
        method: name of the verification method.

    Raises:
        UserError: there is none.
    """
    if not Path(key).exists():
        raise UserError(f"key: no file {key}; {method} takes the key that the owner's model was trained with")


def _revealed(key: str) -> Path:
    """Return the file that lists the verifications whose results hold a key: lines of its sha256 and their folder."""
    return Path(f"{key}.revealed")


def revealed_by(key: str, secret: bytes, folder: Path) -> list[str]:
    """Return the folders of other verifications whose results hold a key."""
    if not _revealed(key).exists():
        return []
    noted = [line.partition(" ") for line in _revealed(key).read_text(encoding="utf-8", errors="replace").splitlines()]
    return [where for digest, _, where in noted if digest == sha256(secret) and where != str(folder.resolve())]


def warn_if_revealed(key: str, folders: list[str], was_planted: bool = False) -> None:
    """Warn of a key that the results in some folders hold.

    Args:
        key: its file.
        folders: of other verifications with it.
        was_planted: whether the owner's model was trained with it, so that another one takes another model.
    """
    if folders:
        n = len(folders) + 1
        advice = "name a file that does not exist yet as --key; it is made"
        if was_planted:
            advice = (
                "for a suspect that may have read them the marks are spent, and a model trained with another key has "
                f"new ones; for any other suspect divide --level by {n}"
            )
        console.warning(
            f"key: {key} is revealed by the results in {', '.join(folders)}: who read them knows what will be queried, "
            f"and {n} tests of one key share its level; {advice}"
        )


def note_revealed(key: str, secret: bytes, folder: Path) -> None:
    """Note beside the key that the results in a folder hold it, where that folder can be written to."""
    line = f"{sha256(secret)} {folder.resolve()}\n"
    before = _revealed(key).read_text(encoding="utf-8", errors="replace") if _revealed(key).exists() else ""
    if line not in before:
        with contextlib.suppress(UserError):
            write_whole(_revealed(key), before + line)


def sha256(content: bytes) -> str:
    """Return the sha256 of a key or of probes, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
