"""The folder of a run: one process at a time writes to it, and only a run of the same settings resumes in it."""

import contextlib
import datetime
import itertools
import json
import os
import shutil
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole_gro import __version__
from recbole_gro.config.config import plain
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.settings import fingerprint_inputs, plugin_keys
from recbole_gro.data.digests import data_fingerprint
from recbole_gro.defense.defense_key import VARIABLE, key_digest
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.quick_start.stage_fingerprints import WITHOUT_EFFECT, code_of_run
from recbole_gro.serving.settings import AccessLogSettings
from recbole_gro.trainer import processes
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import PART, make_folder, not_made, undamaged, write_whole
from recbole_gro.utils.log import LOG, console, logged_to
from recbole_gro.utils.work_folder import takes_files, used_alone

SETTINGS, RESULTS, LOCK = "run.json", "results.json", "run"
# what a process leaves that is interrupted before it has written its settings
STARTED = {LOG, f"{LOCK}.lock", f"{SETTINGS}{PART}"}
UNHEEDED = ("access_log", "log_wandb")  # settings of output alone, which a finished run does not heed
DIFFERENCES_SHOWN = 6  # settings that differ and are named


@contextlib.contextmanager
def open_run_folder(config: ConfigLike, saved: bool = True) -> Iterator[tuple[Path, StageCache]]:
    """Open the folder of a run inside the block, and the cache of its stages; run.log is written there.

    Args:
        config: of the run; `output_dir` is set to the folder.
        saved: False opens a temporary folder.

    Raises:
        UserError: the folder holds anything but a run of the same settings, another process uses it, or it cannot be
            written.
    """
    if config["stages_dir"]:
        make_folder(config["stages_dir"], "stages_dir")
    with contextlib.ExitStack() as stack:
        folder = processes.by_first(lambda: _entered(stack, config, saved))
        config["output_dir"] = config["checkpoint_dir"] = str(folder)
        console.debug(str(config))
        stages = Path(config["stages_dir"] or folder / "stages")
        try:
            yield folder, StageCache(stages)
        except KeyboardInterrupt as error:
            if saved:
                error.add_note(f"the same command with --output_dir={folder} resumes this run")
            raise
        if not config["stages_dir"] and processes.is_first():
            shutil.rmtree(stages, ignore_errors=True)


def _entered(stack: contextlib.ExitStack, config: ConfigLike, saved: bool) -> Path:
    """Return the folder of a run, whose lock and log a stack holds; neither of a finished run that is read alone."""
    given = Path(config["output_dir"]) if saved and config["output_dir"] else None
    if given and all((given / file).exists() for file in (SETTINGS, RESULTS)) and not takes_files(given, LOG):
        _check_settings(given, settings_of_run(config))
        _warn_of_no_effect(config, given)
        return given
    if saved:
        folder = new_run_folder(config)
        stack.enter_context(used_alone(folder, LOCK))
        _check_settings(folder, settings_of_run(config))
    else:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    stack.enter_context(logged_to(folder, config["state"] or "INFO"))
    if saved and finished_results(folder) is None:
        console.info(f"output: {folder}; --output_dir={folder} resumes this run")
    elif saved:
        _warn_of_no_effect(config, folder)
    return folder


def new_run_folder(config: ConfigLike) -> Path:
    """Make the folder that `output_dir` names, or runs/DATASET-MODEL-TIME, and return it.

    Raises:
        UserError: it holds anything but a run, or cannot be written.
    """
    folder = Path(config["output_dir"] or "runs")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not config["output_dir"]:
            return _made_in(folder, f"{config['dataset']}-{config['model']}-{datetime.datetime.now():%Y%m%d-%H%M%S}")
        names = {path.name for path in folder.iterdir()}
        if SETTINGS not in names and not names <= STARTED:
            raise UserError(f"output_dir: {folder} is not empty; name a new folder, so that no earlier run is lost")
        (folder / LOG).touch()
    except OSError as error:
        raise UserError(f"output_dir: {folder} cannot be written: {not_made(folder, error)}") from error
    return folder


def _made_in(parent: Path, name: str) -> Path:
    """Make a folder that no other run has, with a log, and return it: NAME, NAME-2, NAME-3, .."""
    (parent / name).parent.mkdir(exist_ok=True)  # names of data sets may have a folder
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):  # of a run of the same second, started beside it or before
            folder.mkdir()
            break
    (folder / LOG).touch()
    return folder


def settings_of_run(config: ConfigLike) -> dict[str, Any]:
    """Return every setting that the numbers of a run depend on, with the contents of files and data, and a user's code.

    It holds no secret: of a key in the environment it has a digest from which the key cannot be computed.
    """
    own, unread = plugin_keys().keys(), {*WITHOUT_EFFECT, *AccessLogSettings.names, "stages_dir", "workers"}
    settings = plain({name: value for name, value in config.final_config_dict.items() if name not in own | unread})
    settings |= plain(fingerprint_inputs(config, own - unread))
    settings |= {"data": data_fingerprint(config), "recbole_gro": __version__}
    settings |= {f"code of {module}": digest for module, digest in code_of_run(config).items()}
    if VARIABLE in os.environ and (digest := key_digest(config)):  # else the key is in the folder of the run
        settings[VARIABLE] = digest
    return json.loads(json.dumps(settings, sort_keys=True))


def _check_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Compare the settings with those of the run in the folder; write them where there is none."""
    file = folder / SETTINGS
    if not file.exists():
        write_whole(file, json.dumps(settings, indent=2, sort_keys=True) + "\n")
        return
    with undamaged(file, "name another folder"):
        earlier, absent = dict(json.loads(file.read_text(encoding="utf-8"))), "not set"
    differing = [
        f"{name}: {_short(earlier.get(name, absent))} there, {_short(settings.get(name, absent))} now"
        for name in sorted(earlier.keys() | settings.keys())
        if earlier.get(name, absent) != settings.get(name, absent)
    ]
    if differing:
        more = f"; and {len(differing) - DIFFERENCES_SHOWN} more" if len(differing) > DIFFERENCES_SHOWN else ""
        raise UserError(
            f"output_dir: {folder} holds a run of other settings ({'; '.join(differing[:DIFFERENCES_SHOWN])}{more}); "
            f"name another folder, or repeat that run's settings to resume it"
        )


def _warn_of_no_effect(config: ConfigLike, folder: Path) -> None:
    """Log the settings of output that the finished run in the folder no longer heeds."""
    names = [name for name in UNHEEDED if config[name] and not (name == "access_log" and any(folder.glob("access-*")))]
    if names:
        console.warning(
            f"{' and '.join(names)}: without effect, since the run in {folder} has finished; name a new output_dir"
        )


def _short(value: Any) -> str:
    return textwrap.shorten(str(value), 60, placeholder="...")


def finished_results(folder: Path) -> dict[str, Any] | None:
    """Return the results of the run in the folder; None where it has not finished."""
    file = folder / RESULTS
    with undamaged(file, "delete it, and run the command again, which repeats what it lacks"):
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
