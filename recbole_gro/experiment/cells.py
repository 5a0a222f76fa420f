"""Cells of an experiment, each a comparison of one defense: run, resumed, and kept as files; they share stages."""

import hashlib
import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.data.digests import data_fingerprint
from recbole_gro.evaluator.agreement import agreement
from recbole_gro.evaluator.ranks import ranks
from recbole_gro.experiment.kept_loaders import shared_loaders
from recbole_gro.experiment.plan import Experiment, Task
from recbole_gro.quick_start.comparison import compare, measure_own_references, measure_references
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.quick_start.stage_fingerprints import Fingerprints
from recbole_gro.report.environment import environment
from recbole_gro.report.run_report import split_in_words
from recbole_gro.utils.compat import no_scaler_warning
from recbole_gro.utils.files import ANEW, check_sums, make_folder, undamaged, written
from recbole_gro.utils.log import logged_to
from recbole_gro.utils.random_state import global_state_kept

AGREEMENT_AT = (1, 5, 10, 100)


@dataclass(kw_only=True)
class Cell:
    """Results of one setting at one seed.

    Attributes:
        values: the varied keys of this cell, such as {"defense": "gro", "gro_lambda": 0.1}.
        seed: of the run.
        target_ranks: [U] rank of each user's test item in the served list, from 1; 0 where the list lacks it.
        surrogate_ranks: [U] the same for the surrogate's lists.
        agreement: {k: share of common items in the top k of both lists, mean over the test rows}.
        test_rows: digest of the users and items of the test rows, by which cells can be compared.
        facts: models, dataset, k, query budget, epochs, seconds per stage, versions.
        reference_ranks: the same ranks by reference.
        reference_agreement: agreement with the undefended target's lists by reference; empty where it was not measured.
        row_users: [N] number of each test row's user; None where each has one row, in ascending order.
    """

    values: dict[str, Any]
    seed: int
    target_ranks: np.ndarray
    surrogate_ranks: np.ndarray
    agreement: dict[int, float]
    test_rows: str
    facts: dict[str, Any] = field(default_factory=dict)
    reference_ranks: dict[str, np.ndarray] = field(default_factory=dict)
    reference_agreement: dict[str, dict[int, float]] = field(default_factory=dict)
    row_users: np.ndarray | None = None

    @property
    def ranks(self) -> dict[str, np.ndarray]:
        """Ranks [U] by side: target, surrogate, and references."""
        return {"target": self.target_ranks, "surrogate": self.surrogate_ranks, **self.reference_ranks}

    def save(self, file: str | os.PathLike) -> None:
        """Write a .npz file, which appears complete or not at all.

        Raises:
            UserError: it cannot be written.
        """
        plain = {name: value for name, value in vars(self).items() if not name.endswith(("_ranks", "_users"))}
        with written(file) as stream:
            ranks: dict[str, Any] = {f"{side}_ranks": found.astype(np.int32) for side, found in self.ranks.items()}
            users = {} if self.row_users is None else {"row_users": self.row_users}
            plain["arrays"] = [*ranks, *users]
            np.savez_compressed(stream, plain=np.array(json.dumps(plain, sort_keys=True)), **ranks, **users)

    @classmethod
    def load(cls, file: str | os.PathLike) -> "Cell":
        """Read a file of `save`; nothing in it is executed.

        Raises:
            UserError: it is damaged.
        """
        with undamaged(file, ANEW):
            check_sums(file)
            with np.load(Path(file), allow_pickle=False) as stored:
                plain = json.loads(stored["plain"].item())
                if {*plain.pop("arrays", stored.files), "plain"} != {*stored.files}:  # files of 0.1.0 name none
                    raise ValueError("an array is missing")
                names = [name for name in stored.files if name.endswith("_ranks")]
                ranks = {name.removesuffix("_ranks"): stored[name] for name in names}
                plain["row_users"] = stored["row_users"] if "row_users" in stored.files else None
            plain["agreement"] = _by_cut_off(plain["agreement"])
            plain["reference_agreement"] = {name: _by_cut_off(of) for name, of in plain["reference_agreement"].items()}
            target, surrogate = ranks.pop("target"), ranks.pop("surrogate")
            return cls(target_ranks=target, surrogate_ranks=surrogate, reference_ranks=ranks, **plain)


def _by_cut_off(agreement: dict[str, float]) -> dict[int, float]:
    return {int(k): share for k, share in agreement.items()}


def cell_file(experiment: Experiment, values: dict[str, Any], seed: int, folder: Path) -> Path:
    """Return the file of a finished cell, named by the fingerprint of everything that the cell depends on.

    Args:
        experiment: the plan that the cell belongs to.
        values: of the varied keys.
        seed: of the cell.
        folder: of the experiment.
    """
    config = experiment.config(values, seed)
    name = "-".join(f"{value}" for value in values.values()).replace("/", "_").replace(":", "_")[-100:]
    return folder / "cells" / f"{name}-{seed}-{Fingerprints(config, config['defense'][0]).comparison}.npz"


def files_and_missing(experiment: Experiment, folder: Path) -> tuple[list[tuple[dict[str, Any], Path]], list[Task]]:
    """Return (values, file) of the finished cells of an experiment in its folder, and (values, seed) of the others."""
    files, missing = [], []
    for values, seed in experiment.cells():
        file = cell_file(experiment, values, seed, folder)
        if file.exists():
            files.append((values, file))
        else:
            missing.append((values, seed))
    return files, missing


def loaded(files: list[tuple[dict[str, Any], Path]]) -> list[Cell]:
    """Return the cells of files, with the values given for each: keys may have been renamed since.

    Args:
        files: (values, file) of each, as of `files_and_missing`.
    """
    return [replace(Cell.load(file), values=values) for values, file in files]


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
    """Run the stages of a cell that are missing, and save it; its log is logs/CELL/run.log.

    Args:
        experiment: the plan that the cell belongs to.
        values: of the varied keys.
        seed: of the cell.
        folder: of the experiment.
        stages_dir: folder of stages, which experiments and runs may share; None: stages in the experiment's folder.
        threads: of torch; None: as many as now.
        show_progress: whether each stage has a progress bar.

    Raises:
        UserError: invalid settings or data.
    """
    if threads:
        torch.set_num_threads(threads)
    file = cell_file(experiment, values, seed, folder)
    if file.exists():
        return Cell.load(file)
    logs = folder / "logs" / file.stem
    make_folder(logs)
    with logged_to(logs), no_scaler_warning():
        config = experiment.config(values, seed)
        config["show_progress"] = show_progress
        given = config.data_digests = data_fingerprint(config)
        cell = measure_cell(config, values, seed, StageCache(stages_dir or folder / "stages"))
        if not given:  # the fingerprint of data that this cell downloaded is known only now
            file = cell_file(experiment, values, seed, folder)
        make_folder(file.parent)
        cell.save(file)
    return cell


def measure_cell(config: ConfigLike, values: dict[str, Any], seed: int, cache: StageCache) -> Cell:
    """Compare one defense and return the cell: its facts, and the ranks of the test items, those of references too.

    Args:
        config: of the cell.
        values: of the varied keys.
        seed: of the cell.
        cache: of its stages.
    """
    config["checkpoint_dir"] = str(cache.folder)  # a folder that RecBole makes in any case
    loaders = shared_loaders(config)
    measure_own_references(config, loaders, cache)
    compared, *others = compare(config, config["defense"][0], loaders, cache)
    compared = next((one for one in (compared, *others) if one.row.get("strongest")), compared)
    beside, undefended = measure_references(config, loaders, cache, [compared.row])
    references = {one.name: one.lists["test"] for one in beside}
    served, extracted, row = compared.served["test"], compared.surrogate_lists["test"], compared.row
    data = loaders[2]._dataset
    items, users = data.inter_feat[data.iid_field], data.inter_feat[data.uid_field].numpy()
    about = environment(config)
    facts = {name: value for name, value in row.items() if name not in ("defense", "target", "surrogate")}
    facts |= {name: config[name] for name in ("model", "dataset", "served_k")}
    facts |= {name: about[name] for name in ("versions", "revision", "device")}
    facts |= {"split": split_in_words(config), "threads": torch.get_num_threads()}
    # feature models leave out interactions with items that have no features
    facts |= {"items": data.item_num - 1, "training_interactions": loaders[0]._dataset.interaction_counter.total()}
    longest = config["served_k"]  # below 10 one of the cut-offs, as of a run
    cut_offs = sorted({*(k for k in AGREEMENT_AT if k <= longest), min(10, longest)})
    of_references = {
        name: agreement(lists, undefended["test"], cut_offs) for name, lists in references.items() if undefended
    }
    return Cell(
        values=values,
        seed=seed,
        target_ranks=ranks(served, items),
        surrogate_ranks=ranks(extracted, items),
        agreement=agreement(extracted, served, cut_offs),
        facts=facts,
        reference_ranks={name: ranks(lists, items) for name, lists in references.items()},
        reference_agreement=of_references,
        row_users=None if (np.diff(users) > 0).all() else users,
        test_rows=_digest_of_rows(data),
    )


def _digest_of_rows(data: Any) -> str:
    """Return a digest of the tokens of a dataset's rows, their users and items, user by user."""
    order, digest = np.argsort(data.inter_feat[data.uid_field].numpy(), kind="stable"), hashlib.sha256()
    for name in (data.uid_field, data.iid_field):
        digest.update("\n".join(data.id2token(name, data.inter_feat[name].numpy()[order])).encode())
    return digest.hexdigest()[:16]
