"""Runs of unpopular items in the training data (DWRS, Zhang et al., KDD'25, arXiv 2411.12989), as a defense."""

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.data import SequenceDataset, build_dataset, build_loaders
from recbole_gro.data.loaders import reseed
from recbole_gro.defense.base import register_defense
from recbole_gro.defense.defense_key import defense_key
from recbole_gro.defense.marks.base import MarkingDefense
from recbole_gro.defense.marks.marks import Marks, grow_marks, keyed_order, keyed_word
from recbole_gro.defense.marks.settings import InjectedSettings
from recbole_gro.defense.settings import KeyedSettings
from recbole_gro.serving.settings import ServiceSettings
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.errors import UserError

SHORTEST = 6  # training interactions of a user who gets a run
OLDEST = 0.75  # share of a user's training interactions in which a run begins


def unpopular_runs(counts: Tensor, key: bytes, settings: InjectedSettings) -> Marks:
    """Return keyed runs of different items from those with the fewest interactions.

    Args:
        counts: [n_items] interactions of each item; padding first.
        key: of the owner.
        settings: number and length of the runs, and how many items are candidates.

    Raises:
        UserError: fewer candidates than a run, or all runs, need.
    """
    pool = (counts[1:].argsort(stable=True)[: settings.injected_pool] + 1).sort().values
    check_pool(len(pool), settings)
    others = pool.expand(settings.injected_runs, -1)

    def remaining(runs: Tensor) -> Tensor:
        left = (others.unsqueeze(2) != runs.unsqueeze(1)).all(2)
        return others[left].view(len(runs), -1)

    starts = keyed_order(key, "injected start", pool.tolist())[: settings.injected_runs]
    return grow_marks(key, "injected", starts, settings.injected_length, remaining)


def check_pool(n: int, settings: InjectedSettings) -> None:
    """Check that n items leave a choice for the first item of each run, and for each next one.

    Raises:
        UserError: they do not.
    """
    if max(settings.injected_length, settings.injected_runs) >= n:
        raise UserError(
            f"injected_pool: {n} items are too few for injected_runs={settings.injected_runs} that begin differently, "
            f"or for injected_length={settings.injected_length}; raise it, or lower them"
        )


def insert_runs(dataset: SequenceDataset, marks: Marks, key: bytes, share: float, trained: Tensor) -> None:
    """Insert each run into the training part of keyed users' histories, at a keyed place.

    Args:
        dataset: as of `build_dataset`, not built yet.
        marks: the runs.
        key: of the owner.
        share: of the users with training interactions enough, for each run.
        trained: [n_users] training interactions of each user, which are the first of the history.

    Raises:
        UserError: no user has a history long enough.
    """
    rows, user = dataset.inter_feat.reset_index(drop=True), dataset.uid_field
    rank = np.argsort(np.argsort(dataset.time_ranks.to_numpy(), kind="stable"))  # files' order among equal times
    by_user = np.lexsort((rank, rows[user]))
    users, first = np.unique(rows[user].to_numpy()[by_user], return_index=True)
    length, eval_args = marks.sequences.shape[1], dataset.config["eval_args"]
    count = trained[torch.from_numpy(users)].numpy()
    by_ratio = "LS" not in eval_args["split"]  # what is inserted ends the training part at earlier interactions
    if "TS" in eval_args["split"] or (by_ratio and eval_args["group_by"] == "none"):
        n_inserted = marks.sequences.numel() * max(1, math.ceil(share * (count >= SHORTEST).sum()))
        count = _before_the_last(n_inserted, rank[by_user], first, count)
    able = np.flatnonzero(count >= SHORTEST).tolist()
    if not able:
        raise UserError(f"injected: no user has {SHORTEST} training interactions, so no run can be inserted")
    n_users = max(1, math.ceil(share * len(able)))
    chosen = [
        (run, place)
        for run in marks.sequences.tolist()
        for place in keyed_order(key, f"injected users {run}", able)[:n_users]
    ]
    room = OLDEST * (count - 1)
    if by_ratio:
        room = np.minimum(room, count - length * np.bincount([place for _, place in chosen], minlength=len(users)))
    runs, source = [], []
    for run, place in chosen:
        after = keyed_word(key, "injected place", run, int(users[place])) % max(1, int(room[place]))
        runs.append(run)
        source.append(by_user[first[place] + after])
    inserted = rows.iloc[np.repeat(source, length)].assign(**{dataset.iid_field: np.concatenate(runs)})
    dataset.inter_feat = pd.concat([rows, inserted], ignore_index=True).astype(rows.dtypes)
    # one after another, since two runs may be inserted after the same interaction
    within = np.arange(1, len(runs) * length + 1) / (len(runs) * length + 1)
    ranks = np.r_[rank, np.repeat(rank[source], length) + within]
    dataset.time_ranks = pd.Series(np.argsort(np.argsort(ranks, kind="stable")))


def _before_the_last(n: int, rank: np.ndarray, first: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return the number [u] of each user's training interactions that are not among the last n of all users.

    Args:
        n: of interactions.
        rank: [interactions] place in time, user by user.
        first: [u] position of each user's first interaction.
        count: [u] training interactions of each.
    """
    length = np.diff(first, append=len(rank))  # of each history
    is_trained = np.arange(len(rank)) < np.repeat(first + count, length)
    in_time = np.sort(rank[is_trained])
    end = in_time[-n] if n <= len(in_time) else -1
    return np.add.reduceat(is_trained & (rank < end), first)


def _trained(rows: SequenceDataset) -> Tensor:
    """Return the number [n_users] of training interactions of each user."""
    users, first, end = rows.spans_of_users()
    return torch.zeros(rows.user_num, dtype=torch.long).index_put_((users,), end - first)


@register_defense("injected")
class InjectedDefense(MarkingDefense):
    """Serve a model trained from scratch on data with keyed runs of unpopular items; its best validation epoch."""

    summary = "a model is trained on data with keyed runs of unpopular items, for ownership verification"
    training_settings = (InjectedSettings, KeyedSettings, ServiceSettings)  # loaders check the length of a list
    output_settings = ()

    def __init__(self, config: ConfigLike):
        super().__init__(config)
        settings = InjectedSettings.of(config)
        check_pool(settings.injected_pool, settings)
        if "benchmark_filename" in config and config["benchmark_filename"] is not None:
            raise UserError("benchmark_filename: injected needs complete histories; choose another defense")

    @property
    def needs_target(self) -> bool:
        return False

    def new_marks(self, target: nn.Module, train_data: Any) -> Marks:
        counter, n_items = train_data._dataset.interaction_counter, train_data._dataset.item_num
        counts = torch.tensor([counter[item] for item in range(n_items)])
        return unpopular_runs(counts, defense_key(self.config), InjectedSettings.of(self.config))

    def protect(self, target, train_data, valid_data, show_progress: bool = False):
        key, settings = defense_key(self.config), InjectedSettings.of(self.config)
        marks = self.new_marks(target, train_data)
        dataset = build_dataset(self.config)
        insert_runs(dataset, marks, key, settings.injected_share, _trained(train_data._dataset))
        marked, *_ = build_loaders(self.config, dataset)
        reseed(marked, self.config["seed"])
        model = type(target)(self.config, marked._dataset).to(self.config["device"])
        trainer = TargetTrainer(self.config, model, "target-injected")
        trainer.stored = {"marks": marks.state()}
        with tempfile.TemporaryDirectory() as scratch:
            if not self.config["output_dir"]:
                trainer.saved_model_file = str(Path(scratch) / "best.pth")
            trainer.fit(marked, valid_data, show_progress=show_progress)
            trainer.load_saved()
        return model
