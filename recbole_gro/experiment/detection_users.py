"""Users of an experiment on detection: half of them give thresholds, the others are the benign side."""

import math
from typing import Any

import torch
from torch import Tensor

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.detection.conformal import users_needed
from recbole_gro.detection.settings import DetectionSettings
from recbole_gro.utils.errors import UserError


def last_of_each(users: Tensor, lengths: Tensor) -> Tensor:
    """Return the place of the last of the longest histories of each user: a split by ratio has several test rows.

    >>> last_of_each(torch.tensor([2, 1, 2, 1]), torch.tensor([5, 3, 4, 3]))
    tensor([0, 3])
    """
    order = lengths.argsort(stable=True)
    order = order[users[order].argsort(stable=True)]
    _, count = users[order].unique_consecutive(return_counts=True)
    return order[count.cumsum(0) - 1].sort().values


def calibrating_users(data: Any, draw: torch.Generator) -> Tensor:
    """Return the ids of the half of all users who give thresholds.

    Args:
        data: a dataset of theirs.
        draw: a generator that has the seed of the cell, and no more.
    """
    return torch.randperm(data.user_num, generator=draw).chunk(2)[0]


def rows_of_users(config: ConfigLike, data: Any, users: Tensor, inside: bool) -> Tensor:
    """Return the place of the test row of each of some users, or of each of all others.

    Args:
        config: of the cell.
        data: the dataset of the test rows.
        users: ids.
        inside: whether the rows of these are meant.
    """
    rows = data[torch.arange(len(data))]
    last = last_of_each(rows[config["USER_ID_FIELD"]], rows[config["ITEM_LIST_LENGTH_FIELD"]])
    return last[torch.isin(rows[config["USER_ID_FIELD"]][last], users) == inside]


def check_users(config: ConfigLike, data: Any) -> None:
    """Check that the data have enough users for thresholds, and others for the benign side.

    Args:
        config: of a cell.
        data: the dataset of its test rows.

    Raises:
        UserError: too few.
    """
    rate, seed = DetectionSettings.of(config).false_positive_rate, config["seed"]
    half = calibrating_users(data, torch.Generator().manual_seed(seed))
    found, others = (len(rows_of_users(config, data, half, inside)) for inside in (True, False))
    if found < users_needed(rate):
        possible = math.ceil(1e4 / (found + 1)) / 1e4  # of thresholds from so many
        remedy = f"set it to {possible:g} or more, or take data of more users" if found > 1 else "take more data"
        raise UserError(
            f"false_positive_rate: {rate:g} takes {users_needed(rate):,} users, and half of those of dataset "
            f"{config['dataset']}, who give the thresholds, are {found:,} with test items at seed {seed}; {remedy}"
        )
    if not others:
        raise UserError(f"dataset {config['dataset']}: no user is left besides those who give thresholds; take more")
