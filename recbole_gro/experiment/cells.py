"""Cells run and resumed: each is a file when it is done, and its stages are shared."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.evaluator.agreement import common_share
from recbole_gro.experiment.cell import Cell
from recbole_gro.experiment.plan import Experiment
from recbole_gro.quick_start.comparison import compare
from recbole_gro.quick_start.fingerprint import Fingerprints
from recbole_gro.quick_start.run import read_data
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.report.environment import environment
from recbole_gro.utils.compat import no_scaler_warning
from recbole_gro.utils.log import logged_to
from recbole_gro.utils.random_state import global_state_kept

AGREEMENT_AT = (1, 10, 100)
CHECKED_BY = ("dataset", "data_path", "model", "student_model", "surrogate_model", "served_k", "defense")


def cell_file(experiment: Experiment, values: dict[str, Any], seed: int, folder: Path) -> Path:
    """Return where the cell is when it is done; named by the fingerprint of all that it depends on."""
    config = experiment.config(values, seed)
    name = "-".join(f"{value}" for value in values.values()).replace("/", "_").replace(":", "_")
    return folder / "cells" / f"{name}-{seed}-{Fingerprints(config, config['defense'][0]).comparison}.npz"


def done_and_missing(experiment: Experiment, folder: Path) -> tuple[list[Cell], list[tuple[dict[str, Any], int]]]:
    """Return the cells there are, and (values, seed) of those still to run."""
    done, missing = [], []
    for values, seed in experiment.cells():
        file = cell_file(experiment, values, seed, folder)
        if file.exists():
            done.append(Cell.load(file))
        else:
            missing.append((values, seed))
    return done, missing


@global_state_kept()
def check_cells(experiment: Experiment, cells: list[tuple[dict[str, Any], int]]) -> None:
    """Read the data and try the models of every kind of cell once, before any is run.

    Raises:
        UserError: data or models that cannot work.
    """
    seen = set()
    for values, seed in cells:
        config = experiment.config(values, seed)
        kind = tuple(str(config[name]) for name in CHECKED_BY)
        if kind not in seen:
            seen.add(kind)
            read_data(config)


@global_state_kept()
def run_cell(
    experiment: Experiment,
    values: dict[str, Any],
    seed: int,
    folder: Path,
    stages_dir: Path | None = None,
    *,
    threads: int | None = None,
    show_progress: bool = False,
) -> Cell:
    """Run what of the cell is not there yet, and save it.

    Args:
        experiment: it belongs to.
        values: of the varied keys.
        seed: of the run.
        folder: of the experiment; cells lie in it.
        stages_dir: where stages lie, of other experiments and runs too; None: stages in the folder.
        threads: of torch; None leaves them.
        show_progress: a bar for each stage; what is logged goes to logs/CELL/run.log either way.

    Raises:
        UserError: settings that cannot work.
    """
    if threads:
        torch.set_num_threads(threads)
    file = cell_file(experiment, values, seed, folder)
    if file.exists():
        return Cell.load(file)
    logs = folder / "logs" / file.stem
    logs.mkdir(parents=True, exist_ok=True)
    with logged_to(logs), no_scaler_warning():
        config = experiment.config(values, seed)
        config["show_progress"] = show_progress
        cell = measured(config, values, seed, StageCache(stages_dir or folder / "stages"))
        # data downloaded by this cell change what it is named by
        file = cell_file(experiment, values, seed, folder)
        file.parent.mkdir(parents=True, exist_ok=True)
        cell.save(file)
    return cell


def measured(config: Any, values: dict[str, Any], seed: int, cache: StageCache) -> Cell:
    """Return a cell: a comparison of one defense, with the ranks of the test items.

    Args:
        config: of the cell.
        values: of the varied keys.
        seed: of the run.
        cache: of its stages.
    """
    config["checkpoint_dir"] = str(cache.folder)  # RecBole makes it, wherever it is
    loaders = build_loaders(config, build_dataset(config))
    compared = compare(config, config["defense"][0], loaders, cache)
    served, copied, row = compared.served["test"], compared.surrogate_lists["test"], compared.row
    test = loaders[2]._dataset
    wanted = test.inter_feat[config["ITEM_ID_FIELD"]]
    about = environment(config)
    facts = {name: value for name, value in row.items() if name not in ("defense", "target", "surrogate")}
    facts |= {name: config[name] for name in ("model", "dataset", "served_k")}
    facts["split"] = config["eval_args"]["split"]
    facts |= {name: about[name] for name in ("versions", "revision", "device")}
    return Cell(
        values,
        seed,
        ranks(served, wanted),
        ranks(copied, wanted),
        {k: float(common_share(copied[:, :k], served[:, :k]).mean()) for k in AGREEMENT_AT if k <= config["served_k"]},
        {**facts, "threads": torch.get_num_threads()},
    )


def ranks(lists: Tensor, wanted: Tensor) -> np.ndarray:
    """Return [U] the rank of each user's item `wanted` [U] in the user's list [U, k], from 1; 0 where it is not in it.

    >>> ranks(torch.tensor([[4, 2], [3, 1]]), torch.tensor([2, 9]))
    array([2, 0])
    """
    found = lists == wanted.unsqueeze(1)
    return torch.where(found.any(1), found.int().argmax(1) + 1, 0).numpy()
