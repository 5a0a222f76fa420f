"""Checks of RecBole's settings that name columns; RecBole fails late on a wrong name, or ignores it."""

from typing import Any

from recbole.utils import FeatureSource

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.models import reference_to
from recbole_gro.config.recbole_checks import COLUMNS, check_interval
from recbole_gro.config.settings import Key
from recbole_gro.utils.errors import UserError, nearest
from recbole_gro.utils.log import console

FLOATS, TOKENS = ("float", "float_seq"), ("token", "token_seq")
# setting -> types of the columns that it may name
TYPES = {
    "val_interval": ("float", "token"),
    "normalize_field": FLOATS,
    "numerical_features": FLOATS,
    "discretization": FLOATS,
    "threshold": ("float",),
    "alias_of_user_id": TOKENS,
    "alias_of_item_id": TOKENS,
    "preload_weight": ("token",),
    "seq_len": ("token_seq", "float_seq"),
}
FILES = ("inter", "user", "item", "kg", "link", "net")
IDS = ("USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD")
ALIASES = ("alias_of_user_id", "alias_of_item_id")


def check_distinct_names(config: ConfigLike) -> None:
    """Check that the columns of users, items and times differ, and that files whose columns are named are known.

    Args:
        config: RecBole's Config or ours.

    Raises:
        UserError: two of them are the same column, or a file is unknown.
    """
    names = {config[key]: key for key in reversed(IDS)}
    for key in IDS:
        if names[config[key]] != key:
            raise UserError(f"{key}: {config[key]} is {names[config[key]]} too; they are different columns")
    users, items = ({config[IDS[n]], *(config[key] or ())} for n, key in enumerate(ALIASES))
    for column in users & items:
        raise UserError(f"alias_of_item_id: {column} has ids of users; a column has those of users or of items")
    files = [*FILES, *(config["additional_feat_suffix"] or ())]
    for key in COLUMNS:
        for suffix in config[key] or ():
            if suffix not in files:
                raise UserError(f"{key}: no file ends in .{suffix}; did you mean {nearest(suffix, files) or 'inter'}?")


def check_named_columns(dataset: Any) -> None:
    """Check that settings of filters and features name loaded columns of the right types.

    Args:
        dataset: with its columns loaded, before RecBole's filters.

    Raises:
        UserError: a column is not loaded or of another type, or its value is not allowed.
    """
    config = dataset.config
    for key, kinds in TYPES.items():
        for column in config[key] or ():
            _check_column(dataset, key, column, kinds)
    if config["normalize_field"] and config["normalize_all"]:
        raise UserError("normalize_field: normalize_all is True; set one of them, normalize_all=False here")
    for column, values in (config["val_interval"] or {}).items():
        if dataset.field2type[column].value == "float":
            check_interval(f"val_interval: {column}", values)
        else:
            Key(f"val_interval: {column}", None, "fields", "").check(values)
    for column in config["discretization"] or ():
        if column not in config["numerical_features"]:
            raise UserError(f"discretization: {column} is not in numerical_features; add it there")
    for ids, weights in (config["preload_weight"] or {}).items():
        _check_column(dataset, "preload_weight", weights, FLOATS)
        source = dataset.field2source[ids]
        # the source of a file of additional_feat_suffix is its suffix, which may be "useremb" or "itememb"
        elsewhere = isinstance(source, FeatureSource) and source is not FeatureSource.INTERACTION
        if dataset.field2source[weights] != source or elsewhere:
            raise UserError(
                f"preload_weight: {ids} and {weights} are not both in .inter or in one file of additional_feat_suffix"
            )
    _check_label(dataset)
    _check_unused(dataset)
    _warn_of_unread(config)


def _check_column(dataset: Any, key: str, column: str, kinds: tuple[str, ...]) -> None:
    known = dataset.field2type
    if column not in known:
        hint = nearest(column, known) or ", ".join(known)
        raise UserError(f"{key}: no loaded column is called {column!r}; did you mean {hint}? (load_col)")
    if known[column].value not in kinds:
        raise UserError(f"{key}: column {column} is {known[column].value}; it takes {' or '.join(kinds)}")


def _check_label(dataset: Any) -> None:
    """Check that the labels of `threshold`, and the lengths of lists, replace no column that a history needs."""
    config, label = dataset.config, dataset.label_field
    for column in config["threshold"] or ():
        if column not in dataset.inter_feat or column == dataset.time_field:
            raise UserError(
                f"threshold: {column} makes no labels; name a column of .inter other than {dataset.time_field}"
            )
        if label in [config[key] for key in IDS]:
            raise UserError(f"LABEL_FIELD: threshold would replace the column {label}; name a new one")
    length = config["ITEM_LIST_LENGTH_FIELD"]
    if length in dataset.inter_feat and dataset.benchmark_filename_list is None:
        raise UserError(f"ITEM_LIST_LENGTH_FIELD: {length} is a column of the data; name a new one")


def _warn_of_unread(config: ConfigLike) -> None:
    """Log a warning for settings that none of RecBole's models here reads; a user's model may."""
    model = reference_to(config.model_class)
    if ":" in model:
        return
    if config["threshold"]:
        ((column, least),) = config["threshold"].items()
        console.warning(
            f"threshold: {model} reads no labels, so it changes nothing; val_interval={{'{column}': '[{least},inf)'}} "
            f"keeps the interactions with a {column} of {least} or more"
        )
    if config["preload_weight"]:
        console.warning(f"preload_weight: {model} reads no weights of files, so it changes nothing")


def _check_unused(dataset: Any) -> None:
    for suffix, columns in (dataset.config["unused_col"] or {}).items():
        if getattr(dataset, f"{suffix}_feat", None) is None:
            raise UserError(f"unused_col: no columns of a file .{suffix} are loaded; leave it out")
        for column in {dataset.uid_field, dataset.iid_field} & set(columns):
            raise UserError(f"unused_col: {column} is always used; leave it out")
        there = dataset.file_columns[suffix]
        made = [dataset.label_field] if suffix == "inter" and dataset.config["threshold"] else []
        for column in columns:
            if column not in [*there, *made]:
                raise UserError(
                    f"unused_col: {dataset.dataset_name}.{suffix} has no column {column!r}; it has {', '.join(there)}"
                )
