"""The key of keyed defenses: from the run's seed in an experiment, a secret in a service."""

import hashlib
import os
import secrets
import stat
import tempfile
from pathlib import Path

from recbole_gro.config.settings import setting
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.log import console

VARIABLE = "RECBOLE_GRO_DEFENSE_KEY"
FILE = "defense.key"
FEWEST_CHARACTERS = 16  # of the variable; far below what a generated key has, far above what is guessed in passing
OWNER_ONLY = 0o600


def check_defense_key(config) -> None:
    """Check the key that the environment holds, where `defense_key` is `secret`.

    Raises:
        UserError: it is too short for a secret.
    """
    if setting(config, "defense_key") == "secret":
        _from_environment()


def defense_key(config) -> bytes:
    """Return the 32 bytes of a keyed defense's key, from the source that `defense_key` names.

    `seed` (the default) derives it from the run's seed. Every draw of an experiment comes from its seed, so the same
    seed gives the same table, and the simulated attack does not read it. A service must not use it: seeds are small
    numbers that stand in configs and results, and an adversary who knows the seed undoes the draws.

    `secret` reads the environment variable RECBOLE_GRO_DEFENSE_KEY; where it is unset, the file defense.key in
    `output_dir`, which is made from the operating system's randomness at the first use and readable by its owner
    alone. Processes that make it at the same time end with the same key. The same key gives the same lists, so only
    its holder can repeat a run. No config, result, log or checkpoint holds the key.

    Args:
        config: `defense_key`, `seed` and `output_dir` are read.

    Raises:
        UserError: the variable's or the file's content is no key, the file is open to others, or there is no place to
            store a new one.
    """
    if setting(config, "defense_key") == "seed":
        return _stretched(f"seed {config['seed']}")
    given = _from_environment()
    return _stretched(given) if given is not None else _from_file(config)


def _stretched(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=32, person=b"recbole_gro").digest()


def _from_environment() -> str | None:
    given = os.environ.get(VARIABLE)
    if given is not None and len(given) < FEWEST_CHARACTERS:
        raise UserError(
            f"{VARIABLE}: {len(given)} characters are too few for a secret; give at least {FEWEST_CHARACTERS}, "
            f"such as 64 from `openssl rand -hex 32`, or unset it"
        )
    return given


def _from_file(config) -> bytes:
    folder = setting(config, "output_dir")
    if not folder:
        raise UserError(
            f"defense_key: a secret key needs a place to be in; set output_dir, the environment variable {VARIABLE}, "
            f"or defense_key=seed"
        )
    file = Path(folder) / FILE
    try:
        if not file.exists():
            _make(file)
        return _read(file)
    except OSError as error:
        raise UserError(f"defense_key: {file} can be neither read nor made: {error.strerror or error}") from error


def _make(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # no moment at which another user could open it or it is half there, none at which two processes hold different keys
    descriptor, part = tempfile.mkstemp(dir=file.parent, prefix=f".{FILE}-")
    try:
        with os.fdopen(descriptor, "w") as target:
            target.write(secrets.token_hex(32) + "\n")
        os.link(part, file)
        # a warning, so that a service shows it too: with another output_dir than before its lists change
        console.warning(f"defense_key: made a new key, {file}; it draws other lists than any key before it")
    except FileExistsError:
        pass  # another process was first, and its key is complete
    finally:
        os.unlink(part)


def _read(file: Path) -> bytes:
    rights = stat.S_IMODE(file.stat().st_mode)
    if os.name == "posix" and rights & ~OWNER_ONLY & 0o777:
        raise UserError(f"defense_key: {file} is open to others (mode {rights:03o}); run chmod 600 on it")
    try:
        key = bytes.fromhex(file.read_text(encoding="ascii"))
    except ValueError:
        key = b""
    if len(key) != 32:
        raise UserError(f"defense_key: {file} holds no key of 64 hexadecimal digits; restore or remove it")
    return key
