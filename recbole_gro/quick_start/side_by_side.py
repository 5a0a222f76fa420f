"""The stages of a run in worker processes side by side; they share its stage cache."""

import contextlib
import functools
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch

from recbole_gro.attack import attacks_of
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.plugins import import_plugins
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.defense import create_defense
from recbole_gro.defense.combined import trains
from recbole_gro.quick_start.comparison import attack_service, attacked_name, serve_defended, shown_references
from recbole_gro.quick_start.references import UNDEFENDED, create_references, measured
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.quick_start.stage_fingerprints import Fingerprints
from recbole_gro.quick_start.stages import Stages
from recbole_gro.utils.compat import no_scaler_warning
from recbole_gro.utils.executor import execute
from recbole_gro.utils.log import console, logged_to, shown_on_console

DEFENSE, ATTACK, REFERENCE = "defense", "attack", "reference"  # kinds of parts
_loaders: dict[str, Any] = {}  # by folder of the run: a worker reads its data once


class RunPart(NamedTuple):
    """A part of a run, which one worker computes.

    Attributes:
        kind: `defense`, `attack` or `reference`.
        name: of the defense, the defense attacked, or the reference.
        attack: name of the attack; None in other parts.
    """

    kind: str
    name: str
    attack: str | None = None


def parts_of(config: ConfigLike) -> list[RunPart]:
    """Return the parts of a run that train or query, in the order in which they need the stages of each other."""
    names = sorted(config["defense"], key=lambda name: trains(type(create_defense(name, config).parts[0])))
    first, *others = names
    undefended = Fingerprints(config, UNDEFENDED)
    references = [one.name for one in shown_references(config)[0] if one.trained(undefended)]
    attacks = attacks_of(config) if config["attack"] else []
    return [
        RunPart(DEFENSE, first),
        *(RunPart(REFERENCE, name) for name in references),
        *(RunPart(DEFENSE, name) for name in others),
        *(RunPart(ATTACK, name, attack) for name in names for attack in attacks),
    ]


def compute_side_by_side(config: ConfigLike, cache: StageCache, output_dir: Path | None, workers: int) -> None:
    """Compute the stages of a run into its cache, `workers` of its parts at a time.

    Args:
        config: of the run, whose data have been read.
        cache: of the results of stages.
        output_dir: folder for checkpoints and logs; None writes none.
        workers: number of processes, among which torch's threads are divided.

    Raises:
        UserError: a part failed; the stages that finished stay.
    """
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))  # here too, so that no number depends on workers
    threads = torch.get_num_threads()
    run = functools.partial(_compute, config=config, folder=cache.folder, output_dir=output_dir, threads=threads)
    parts, start = parts_of(config), time.perf_counter()
    console.info(f"{len(parts)} parts of the run, {workers} side by side, threads of each: {threads}")
    with warnings.catch_warnings(), contextlib.closing(execute(run, parts, workers=workers)) as outcomes:
        warnings.filterwarnings("ignore", ".*cancelled", UserWarning)  # joblib's, where an error ends the others
        for done, (part, error) in enumerate(outcomes, 1):
            if error:
                raise error
            took = time.perf_counter() - start
            console.info(f"{'-'.join(filter(None, part[1:]))}: done, {done} of {len(parts)} parts after {took:.0f} s")


def _compute(
    kind: str, name: str, attack: str | None, *, config: ConfigLike, folder: Path, output_dir: Path | None, threads: int
) -> None:
    """Compute the stages of a part in a worker; arguments as of `RunPart` and `compute_side_by_side`."""
    torch.set_num_threads(threads)
    with contextlib.ExitStack() as stack:
        stack.enter_context(shown_on_console())
        stack.enter_context(no_scaler_warning())
        import_plugins({"plugins": config["plugins"]})
        config["show_progress"] = False
        if config["output_dir"] not in _loaders:
            _loaders[config["output_dir"]] = build_loaders(config, build_dataset(config))
        loaders = _loaders[config["output_dir"]]
        stack.enter_context(logged_to(Path(config["output_dir"]), config["state"] or "INFO"))
        cache = StageCache(folder, announce=False)
        if kind == REFERENCE:
            stages = Stages(config, loaders, cache, Fingerprints(config, UNDEFENDED), None)
            measured(create_references(config)[name], stages)
            return
        stages = Stages(config, loaders, cache, Fingerprints(config, name, attack), output_dir)
        service, *_ = serve_defended(stages)
        if kind == ATTACK:
            attack_service(stages, service, attacked_name(config, name, stages.prints.attack))
