"""The folder of an audit: one process at a time, and the same settings when it is resumed."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole.evaluator.register import metrics_dict

from recbole_gro import __version__
from recbole_gro.attack import attacks_of, create_attacker
from recbole_gro.attack.surrogate_model import surrogate_models
from recbole_gro.config.config import plain
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.models import sequential_model
from recbole_gro.config.plugins import sources_of
from recbole_gro.config.settings import fingerprint_inputs, plugin_keys
from recbole_gro.scoring import scorer_class
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import make_folder, undamaged, write_whole
from recbole_gro.utils.log import LOG, console, logged_to
from recbole_gro.utils.work_folder import takes_files, used_alone, work_folder

SETTINGS, RESULTS, LOCK, CODE = "audit.json", "results.json", "audit", "your code"
WORK = "work"  # folder of trainings that are not finished
# which change neither queries nor surrogate
WITHOUT_EFFECT = {"output_dir", "stages_dir", "checkpoint_dir", "state", "show_progress", "plugins", "device", "gpu_id"}


def settings_of_audit(config: ConfigLike, service: dict[str, Any], contents: dict[str, Any]) -> dict[str, Any]:
    """Return everything that the numbers of an audit depend on, without any secret.

    Args:
        config: of the attack.
        service: what results may hold of its description.
        contents: catalogue, histories and others by name, of which digests are kept.
    """
    own = plugin_keys().keys()
    settings = plain({name: value for name, value in config.final_config_dict.items() if name not in own})
    settings |= plain(fingerprint_inputs(config, own))
    digests = {
        name: hashlib.sha256(json.dumps(value).encode()).hexdigest() for name, value in contents.items() if value
    }
    kept = {name: value for name, value in settings.items() if name not in WITHOUT_EFFECT}
    found = {"recbole_gro": __version__, "service": service, **digests, **kept, **_users_code(config)}
    return json.loads(json.dumps(found, sort_keys=True))


def _users_code(config: ConfigLike) -> dict[str, dict[str, str]]:
    """Return {CODE: {module: digest of its source}} of the attacks, models and metrics that a user wrote, if any."""
    models = {sequential_model(name) if name else config.model_class for name in surrogate_models(config)}
    classes = models | {scorer_class(model) for model in models}
    classes |= {cls for name in attacks_of(config) for cls in create_attacker(name, config).classes}
    classes |= {metrics_dict[str(name).lower()] for name in config["metrics"]}
    found = {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in sources_of(*classes).items()}
    return {CODE: found} if found else {}


@contextlib.contextmanager
def open_audit_folder(config: ConfigLike, settings: dict[str, Any]) -> Iterator[Path]:
    """Open `output_dir`, or runs/audit-TIME, inside the block; run.log is written there.

    An unfinished audit goes on where code of a user's own has changed, with the answers that it has.

    A folder with a finished audit may be one that cannot be written: it is read alone.

    Args:
        config: of the attack; `output_dir` is set to the folder.
        settings: from `settings_of_audit`.

    Raises:
        UserError: the folder holds anything but an audit of the same settings, another process uses it, or it cannot
            be written.
    """
    folder, edited = work_folder(config["output_dir"], "audit"), False
    file = folder / SETTINGS
    if file.exists():
        with undamaged(file, "name another folder"):
            earlier = dict(json.loads(file.read_text(encoding="utf-8")))
        other = [name for name in sorted(earlier | settings) if earlier.get(name) != settings.get(name)]
        # such as after a fault in it: answers of the service, which may have cost something, stay; trainings do not
        edited = other == [CODE] and not (folder / RESULTS).exists()
        if other and not edited:
            raise UserError(
                f"output_dir: {folder} holds an audit with other settings ({', '.join(other[:6])}); name another "
                f"folder, or repeat that audit's settings to resume it"
            )
    elif folder.exists() and (not folder.is_dir() or {*os.listdir(folder)} - {f"{LOCK}.lock"}):
        raise UserError(f"output_dir: {folder} is not an empty folder; name a new one, so that nothing is lost")
    if (folder / RESULTS).exists() and not takes_files(folder, LOG):
        yield folder
        return
    make_folder(folder)
    with contextlib.ExitStack() as stack:
        stack.enter_context(used_alone(folder, LOCK))
        if edited:
            shutil.rmtree(folder / WORK, ignore_errors=True)
        write_whole(file, json.dumps(settings, indent=2, sort_keys=True) + "\n")
        config["output_dir"] = config["checkpoint_dir"] = str(folder)
        stack.enter_context(logged_to(folder, config["state"] or "INFO"))
        if edited:
            console.info("audit: your code has changed; answers of the service are kept, all else is computed again")
        yield folder
