"""Cells run and resumed: each is a file when it is done, and its stages are shared."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_gro.attack import BlackBox
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.defense import create_defense
from recbole_gro.evaluator import evaluate_service
from recbole_gro.evaluator.agreement import common_share
from recbole_gro.experiment.cell import Cell
from recbole_gro.experiment.plan import Experiment
from recbole_gro.experiment.stages import Stages
from recbole_gro.quick_start.model_check import check_models
from recbole_gro.report.environment import environment
from recbole_gro.serving.service import Service
from recbole_gro.utils.compat import no_scaler_warning
from recbole_gro.utils.log import logged_to
from recbole_gro.utils.random_state import global_state_kept

AGREEMENT_AT = (1, 10, 100)
CHECKED_BY = ("dataset", "data_path", "model", "student_model", "surrogate_model", "served_k", "defense")
PLUMBING = ("show_progress", "output_dir", "checkpoint_dir", "query_log")  # keys that no result depends on


def cell_file(experiment: Experiment, values: dict[str, Any], seed: int, folder: Path) -> Path:
    """Where the cell is when it is done; named by all its settings, so after a change of one it is run again."""
    settings = {key: value for key, value in experiment.config(values, seed).plain().items() if key not in PLUMBING}
    told = json.dumps(settings, sort_keys=True)
    digest = hashlib.sha256(told.encode()).hexdigest()[:12]
    name = "-".join(f"{value}" for value in values.values()).replace("/", "_").replace(":", "_")
    return folder / "cells" / f"{name}-{seed}-{digest}.npz"


def done_and_missing(experiment: Experiment, folder: Path) -> tuple[list[Cell], list[tuple[dict[str, Any], int]]]:
    """The cells there are, and (values, seed) of those still to run."""
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
    """Read the data and build and ask the models of every kind of cell once, before any is run.

    Raises:
        UserError: data or models that cannot work.
    """
    seen = set()
    for values, seed in cells:
        config = experiment.config(values, seed)
        kind = tuple(str(config[name]) for name in CHECKED_BY)
        if kind in seen:
            continue
        seen.add(kind)
        data = build_dataset(config)
        train, *_ = build_loaders(config, data)
        check_models(config, data, {name: create_defense(name, config) for name in config["defense"]}, train)


@global_state_kept()
def run_cell(
    experiment: Experiment,
    values: dict[str, Any],
    seed: int,
    folder: Path,
    threads: int | None = None,
    show_progress: bool = False,
    stages_dir: Path | None = None,
) -> Cell:
    """Run what of the cell is not there yet, and save it.

    Args:
        experiment: it belongs to.
        values: of the varied keys.
        seed: of the run.
        folder: of the experiment; cells lie in it.
        threads: of torch; None leaves them.
        show_progress: a bar for each stage; what is logged goes to logs/CELL/run.log either way.
        stages_dir: where stages lie, of other experiments too; None: stages in the folder.

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
        cell = _measured(experiment.config(values, seed), values, seed, stages_dir or folder / "stages", show_progress)
    file.parent.mkdir(parents=True, exist_ok=True)
    cell.save(file)
    return cell


def _measured(config, values: dict[str, Any], seed: int, folder: Path, show_progress: bool) -> Cell:
    config["show_progress"] = show_progress
    config["checkpoint_dir"] = str(folder)  # RecBole makes it, wherever it is
    defense = create_defense(config["defense"][0], config)
    data = build_dataset(config)
    loaders = train, valid, test = build_loaders(config, data)
    check_models(config, data, {config["defense"][0]: defense}, train)
    stages = Stages(config, defense, folder)
    protected, settled = stages.protected(stages.target(train, valid), train, valid)
    service = Service(protected, config["served_k"], defense.answer)
    _, served = evaluate_service(config, service, *loaders)
    log = stages.queries(service, train._dataset)
    box = BlackBox(service)
    surrogate, facts = stages.surrogate(log, box.n_items, train._dataset)
    _, copied = evaluate_service(config, Service(surrogate, config["served_k"]), *loaders)
    wanted = test._dataset.inter_feat[config["ITEM_ID_FIELD"]]
    about = environment(config)
    return Cell(
        values,
        seed,
        ranks(served["test"], wanted),
        ranks(copied["test"], wanted),
        {
            k: float(common_share(copied["test"][:, :k], served["test"][:, :k]).mean())
            for k in AGREEMENT_AT
            if k <= config["served_k"]
        },
        {
            **facts,
            "model": config["model"],
            "dataset": config["dataset"],
            "served_k": config["served_k"],
            "attacker": config["attacker"],
            "lists_asked": log.n_lists * stages.attacker.times_asked,
            "settled": settled,
            "seconds": stages.seconds,
            "threads": torch.get_num_threads(),
            **{name: about[name] for name in ("versions", "revision", "device")},
        },
    )


def ranks(lists: Tensor, wanted: Tensor) -> np.ndarray:
    """[U] place of each user's item `wanted` [U] in the user's list [U, k], from 1; 0 where it is not in it.

    >>> ranks(torch.tensor([[4, 2], [3, 1]]), torch.tensor([2, 9]))
    array([2, 0])
    """
    found = lists == wanted.unsqueeze(1)
    return torch.where(found.any(1), found.int().argmax(1) + 1, 0).numpy()
