"""Histories of users, as item tokens, from an atomic file of RecBole."""

import os

import pandas as pd

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.data.atomic_header import check_columns
from recbole_gro.data.atomic_reader import AtomicTable
from recbole_gro.data.time_order import time_ranks
from recbole_gro.utils.errors import UserError


def read_histories(file: str | os.PathLike[str], config: ConfigLike, least: int = 2) -> list[list[str]]:
    """Return the items of each user who has two or more, in time order, such as a history and a test item.

    Args:
        file: RecBole's NAME.inter.
        config: names of the columns, `field_separator` and `encoding`.
        least: minimum number of items of a user; 1 returns those without a history too, to be counted.

    Raises:
        UserError: the file is invalid, or no user has two items.
    """
    table = AtomicTable(file, config["field_separator"], config["encoding"])
    user, item, time = (config[f"{name}_FIELD"] for name in ("USER_ID", "ITEM_ID", "TIME"))
    needed = {"USER_ID_FIELD": (user, "token"), "ITEM_ID_FIELD": (item, "token"), "TIME_FIELD": (time, "float")}
    check_columns(file, table.columns, needed)
    rows = table.read([user, item, time], complete=[user, item, time], exact=time)
    rows["rank"] = time_ranks(rows[time].to_numpy())
    by_user: pd.Series = (
        rows.sort_values("rank", kind="stable").groupby(user, sort=False, observed=True)[item].agg(list)
    )
    if all(len(items) < 2 for items in by_user):
        raise UserError(f"histories: {file} has no user with two or more items, a history and a test item")
    return [items for items in by_user if len(items) >= least]
