"""The key of keyed defenses: from the run's seed in an experiment, a secret in a service."""

import hashlib
import os
import re
from pathlib import Path

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.settings import setting
from recbole_gro.defense.settings import KeyedSettings
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.log import console
from recbole_gro.utils.secret_file import check_owner_only, read_or_create_secret

VARIABLE = "RECBOLE_GRO_DEFENSE_KEY"
FILE = "defense.key"
SHORTEST = 16  # characters of the variable


def check_defense_key(config: ConfigLike) -> None:
    """Check the key that the environment holds, where `defense_key` is `secret`.

    Raises:
        UserError: it is too short for a secret.
    """
    if KeyedSettings.of(config).defense_key == "secret":
        _from_environment()


def defense_key(config: ConfigLike) -> bytes:
    """Return the 32 bytes of a keyed defense's key, from the source that `defense_key` names.

    `seed` (the default) derives it from the run's seed, so that an experiment can be repeated. A service must not use
    it: configs and results hold the seed, and an adversary that has the seed undoes the draws.

    `secret` reads the environment variable RECBOLE_GRO_DEFENSE_KEY; where it is unset, the file defense.key in
    `output_dir`, which is made from the operating system's randomness at the first use and readable by its owner
    alone. Processes that make it at the same time end with the same key. No config, result, log or checkpoint holds
    the key, so only its holder can repeat a run.

    Args:
        config: `defense_key`, `seed` and `output_dir` are read.

    Raises:
        UserError: the variable or the file holds no key, the file is open to others, or a new one cannot be stored.
    """
    if KeyedSettings.of(config).defense_key == "seed":
        return _stretched(f"seed {config['seed']}")
    given = _from_environment()
    return _stretched(given) if given is not None else _from_file(config)


def key_digest(config: ConfigLike) -> str | None:
    """Return a digest that tells secret keys apart and from which none can be computed; None for the run's seed."""
    if KeyedSettings.of(config).defense_key == "seed":
        return None
    return hashlib.blake2b(b"fingerprint", key=defense_key(config), digest_size=16).hexdigest()


def possible_keys(given: bytes) -> list[bytes]:
    """Return what may be the 32 bytes of a key: given is the text of the variable, or the contents of the file."""
    whole = given.decode("utf-8", "replace")
    # a variable may end in the newline of the file that it was made from, and a file in one that it did not have
    texts = dict.fromkeys((whole.strip(), whole, whole.removesuffix("\n")))
    in_file = [bytes.fromhex(whole.strip())] if re.fullmatch("[0-9a-fA-F]{64}", whole.strip()) else []
    return [*map(_stretched, texts), *in_file]


def _stretched(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=32, person=b"recbole_gro").digest()


def _from_environment() -> str | None:
    given = os.environ.get(VARIABLE)
    if given is not None and len(given) < SHORTEST:
        raise UserError(
            f"{VARIABLE}: {len(given)} characters are too few for a secret; give at least {SHORTEST}, "
            f"such as 64 from `openssl rand -hex 32`, or unset it"
        )
    return given


def _from_file(config: ConfigLike) -> bytes:
    folder = setting(config, "output_dir")
    if not folder:
        raise UserError(
            f"defense_key: a secret key has to be stored; set output_dir, the environment variable {VARIABLE}, "
            f"or defense_key=seed"
        )
    file = Path(folder) / FILE
    content, is_new = read_or_create_secret(file, "defense_key", with_folder=True)
    if is_new:
        # a warning, which a service shows too: a new key changes its lists
        console.warning(
            f"defense_key: made a new key, {file}; random items in lists are drawn with it, so keep it: with another "
            "key the same histories get other ones"
        )
    check_owner_only(file, "defense_key")
    try:
        key = bytes.fromhex(content.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != 32:
        raise UserError(f"defense_key: {file} holds no key of 64 hexadecimal digits; restore or remove it")
    return key
