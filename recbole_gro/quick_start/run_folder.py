"""One folder a run: where it is, and run.log in it."""

import contextlib
import datetime
import errno
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole_gro.config.config import plain
from recbole_gro.config.settings import key_contents, plugin_keys
from recbole_gro.quick_start.fingerprint import WITHOUT_EFFECT, data_fingerprint
from recbole_gro.serving.settings import AccessLogSettings
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import PART, one_at_a_time, written
from recbole_gro.utils.log import LOG


def new_run_folder(config) -> Path:
    """Make the folder that `output_dir` names, or runs/DATASET-MODEL-TIME; one that holds a run may be gone on with.

    Raises:
        UserError: it holds anything else or cannot be written.
    """
    if config["output_dir"]:
        folder = Path(config["output_dir"])
    else:
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        folder = Path("runs") / f"{config['dataset']}-{config['model']}-{stamp}"
        folder = next(f for f in (folder, *(Path(f"{folder}-{n}") for n in range(2, 1000))) if not f.exists())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()}
        if SETTINGS not in names and not names <= BARE_START:
            raise UserError(f"output_dir: {folder} is not empty; name a new folder, so that no earlier run is lost")
        probe = folder / LOG
        probe.touch()
    except OSError as error:
        raise UserError(f"output_dir: {folder} cannot be written: {error.strerror or error}") from error
    return folder


@contextlib.contextmanager
def full_disk_reported(folder: Path) -> Iterator[None]:
    """A full disk inside ends in one line, whoever was writing.

    Raises:
        UserError: which file could not be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f"{error.filename or folder} cannot be written: {error.strerror}") from error


SETTINGS, RESULTS, LOCKED = "run.json", "results.json", "run"
# a process that is cut off before it has written its settings leaves these
BARE_START = {LOG, f"{LOCKED}.lock", f"{SETTINGS}{PART}"}


def settings_of_run(config: Any) -> dict[str, Any]:
    """Return every setting that the numbers of a run depend on, the contents of files and data among them.

    No secret is among them: a defense's key stands in the environment or in a file of its own, never in a config.
    """
    from recbole_gro import __version__

    unread = {*WITHOUT_EFFECT, *AccessLogSettings.names, "stages_dir"}
    settings = {name: plain(value) for name, value in config.final_config_dict.items() if name not in unread}
    settings |= {name: plain(key_contents(config, name)) for name in plugin_keys() if name not in unread}
    settings |= {"data": data_fingerprint(config), "recbole_gro": __version__}
    return json.loads(json.dumps(settings, sort_keys=True))


@contextlib.contextmanager
def lock_run_folder(folder: Path, settings: dict[str, Any]) -> Iterator[None]:
    """Lock the folder inside the block, to begin a run of these settings in it or to resume one.

    The lock ends with the process, however that ends.

    Raises:
        UserError: another process holds it, or the run in the folder has other settings.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(one_at_a_time(folder / LOCKED, wait=False))
        except TimeoutError:
            raise UserError(
                f"output_dir: another run is at work in {folder}; wait for its end or name another folder"
            ) from None
        file = folder / SETTINGS
        if file.exists():
            _check_same(folder, json.loads(file.read_text(encoding="utf-8")), settings)
        else:
            with written(file) as stream:
                stream.write((json.dumps(settings, indent=2, sort_keys=True) + "\n").encode())
        yield


SHOWN = 6  # settings that differ and are named


def _check_same(folder: Path, there: dict[str, Any], now: dict[str, Any]) -> None:
    absent = "not set"
    differing = [
        f"{name}: {_short(there.get(name, absent))} there, {_short(now.get(name, absent))} now"
        for name in sorted(there.keys() | now.keys())
        if there.get(name, absent) != now.get(name, absent)
    ]
    if differing:
        more = f"; and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        raise UserError(
            f"output_dir: {folder} holds a run of other settings ({'; '.join(differing[:SHOWN])}{more}); "
            f"name another folder, or repeat that run's settings to go on with it"
        )


def _short(value: Any) -> str:
    return textwrap.shorten(str(value), 60, placeholder="...")


def finished_results(folder: Path) -> dict[str, Any] | None:
    """The results of the run in the folder, where it has come to its end."""
    file = folder / RESULTS
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
