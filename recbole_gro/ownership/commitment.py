"""The commitment of a verification: what its folder was bound to before the suspect was queried."""

import datetime
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_gro.ownership.key import sha256
from recbole_gro.ownership.method import Probes
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import write_whole
from recbole_gro.utils.log import show
from recbole_gro.utils.terminal import Text

COMMITMENT = "commitment.json"


def check_committed(folder: Path, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the commitment that a folder holds, after a check of some of its parts.

    Args:
        folder: of the verification.
        given: parts; of `references` the names alone may be given, as a list.

    Returns:
        The contents of commitment.json; None where there is none.

    Raises:
        UserError: a part is another one, or the file is damaged.
    """
    file = folder / COMMITMENT
    if not file.exists():
        return None
    try:
        earlier = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        earlier = None
    if not isinstance(earlier, dict):
        raise UserError(f"output_dir: {file} is damaged, it holds no commitment; name another folder")
    held = {name: list(earlier.get(name, ())) if isinstance(value, list) else earlier.get(name)
            for name, value in given.items()}  # fmt: skip
    if other := [name for name, value in json.loads(json.dumps(dict(given))).items() if value != held[name]]:
        raise UserError(
            f"output_dir: {folder} holds a commitment to something else ({', '.join(other)}); name another folder"
        )
    return earlier


def committed(folder: Path, commitment: Mapping[str, Any]) -> dict[str, Any]:
    """Write a commitment with the time, or keep the one that the folder holds; show its sha256.

    Args:
        folder: of the verification.
        commitment: all of its parts but the time.

    Returns:
        The contents of commitment.json.

    Raises:
        UserError: the folder holds another one.
    """
    file = folder / COMMITMENT
    plain = json.loads(json.dumps(dict(commitment)))
    if (earlier := check_committed(folder, plain)) is not None:
        plain = earlier
    else:
        plain["time"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        write_whole(file, _text(plain))
    show(Text(f"commitment: sha256 {digest_of(file)} of {file}; publish it before the suspect is queried"))
    return plain


def _text(commitment: Mapping[str, Any]) -> str:
    return json.dumps(commitment, indent=2) + "\n"


def commitment_digest(commitment: Mapping[str, Any]) -> str:
    """Return the sha256 of the commitment.json whose contents results hold."""
    return sha256(_text(commitment).encode())


def digest_of(file: str | Path) -> str:
    """Return the sha256 of a file, in hexadecimal digits."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def probes_digest(probes: Probes) -> str:
    """Return the sha256 of probes and of what the verdict reads besides the suspect's lists."""
    return sha256(json.dumps([probes.histories, probes.expected], sort_keys=True).encode())
