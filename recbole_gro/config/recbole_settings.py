"""Types and ranges of RecBole's own keys. RecBole has none: a wrong value fails late, or is ignored silently."""

from typing import Any

from recbole_gro.config.properties import model_sizes
from recbole_gro.config.recbole_checks import (
    COLUMNS,
    EVAL_ARGS,
    FURTHER,
    INTERVALS,
    LEAVE_ONE_OUT,
    SPLITS,
    is_number,
)
from recbole_gro.config.settings import declared_keys
from recbole_gro.config.value_type import ValueType
from recbole_gro.config.values import as_fields, as_names, in_known_case, tuple_as_list
from recbole_gro.utils.errors import UserError

MASKED_TRANSFORM = "mask_itemseq"  # the `transform` of masked models
TYPES = {
    **dict.fromkeys(
        (
            "field_separator", "seq_separator", "encoding", "wandb_project",
            "USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD", "RATING_FIELD", "LABEL_FIELD", "NEG_PREFIX", "LIST_SUFFIX",
            "ITEM_LIST_LENGTH_FIELD", "POSITION_FIELD", "HEAD_ENTITY_ID_FIELD", "TAIL_ENTITY_ID_FIELD",
            "RELATION_ID_FIELD", "ENTITY_ID_FIELD",
        ),
        "str",
    ),
    "data_path": "folder",
    "checkpoint_dir": "folder",
    "model": "model",
    "dataset_save_path": "str or None",
    "dataloaders_save_path": "str or None",
    "seed": "int 0..4294967295",
    "state": "debug|info|warning|error|critical",
    "reproducibility": "bool",
    "use_gpu": "bool",
    "worker": "int >= 0",
    "shuffle": "bool",
    "show_progress": "bool",
    "log_wandb": "bool",
    "train_batch_size": "int >= 1",
    "learner": "adam|adamw|sgd|adagrad|rmsprop",
    "learning_rate": "float > 0",
    "weight_decay": "float >= 0",
    "clip_grad_norm": "mapping or None",
    "loss_type": "CE|BPR",
    "loss_decimal_place": "int >= 0",
    "train_neg_sample_args": "mapping or None",
    "transform": "mask_itemseq|inverse_itemseq|crop_itemseq|reorder_itemseq or None",
    "enable_amp": "bool",
    "enable_scaler": "bool",
    "MAX_ITEM_LIST_LENGTH": "int >= 1",
    "mask_ratio": "float 0..1",
    **dict.fromkeys(
        (
            "load_col", "unload_col", "unused_col", "val_interval", "seq_len", "threshold", "discretization",
            "preload_weight",
        ),
        "mapping or None",
    ),
    **dict.fromkeys(
        ("additional_feat_suffix", "alias_of_user_id", "alias_of_item_id", "benchmark_filename", "normalize_field"),
        "fields or None",
    ),
    "numerical_features": "fields",
    "selected_features": "fields",
    "normalize_all": "bool or None",
    "rm_dup_inter": "first|last or None",
    "filter_inter_by_user_or_item": "bool",
    "eval_args": "mapping",
    "repeatable": "bool",
    "valid_metric_bigger": "bool",
}  # fmt: skip
VALUE_TYPES = {name: ValueType.parse(text) for name, text in TYPES.items()}
COUNT = ValueType.parse("int >= 1")
UNSUPPORTED = {
    "save_dataset": "a run reads the atomic files each time",
    "save_dataloaders": "a run makes its batches anew each time",
    "dataset_save_path": "reading a pickled dataset would execute the file",
    "dataloaders_save_path": "reading pickled data loaders would execute the file",
    "local_rank": "a run uses one process",
    **dict.fromkeys(("config_file", "config_files"), "--config_files names files, or config_file_list in Python"),
    **dict.fromkeys(
        ("ip", "port", "world_size", "offset", "group_offset"), "torchrun starts several processes, and reads its own"
    ),
}


def type_of(name: str) -> ValueType | None:
    """Return the type of a key of this plugin or of RecBole; None where it is not known."""
    declared = declared_keys().get(name)
    return VALUE_TYPES.get(name) if declared is None else declared.value_type


def is_text(name: str) -> bool:
    """Return whether a key, of this plugin or of RecBole, takes a text, which is then never read as anything else."""
    value_type = type_of(name)
    return value_type is not None and value_type.is_text


def is_path(name: str) -> bool:
    """Return whether a key takes the path of a file or a folder."""
    value_type = type_of(name)
    return value_type is not None and value_type.kind in ("file", "folder")


def may_be_none(name: str) -> bool:
    """Return whether None is a value of a key whose type is known."""
    value_type = type_of(name)
    return value_type is not None and value_type.or_none


def normalised(name: str, value: Any) -> Any:
    """Return a value as RecBole reads it: as `ValueType.normalise` does, and RecBole's own forms of some keys.

    A separator of the two characters `\\t`, which single-quoted yaml and a shell leave of a tab, is a tab. An interval
    that yaml reads as a list, such as [5,10], is the text of one. `eval_args` without a split or an order get those of
    sequences, LS and TO. Metrics may have commas between.

    Args:
        name: of the key.
        value: that was given.
    """
    if name in ("field_separator", "seq_separator") and isinstance(value, str):
        return value.replace("\\t", "\t")
    if name == "eval_args" and isinstance(value, dict):
        return _normalised_eval_args(value)
    if name == "metrics" and isinstance(value, str):
        return as_names(value)
    if name in INTERVALS and isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    if name in COLUMNS and isinstance(value, dict):
        return {suffix: columns if columns == "*" else as_fields(columns) for suffix, columns in value.items()}
    value_type = type_of(name)
    return value if value_type is None else value_type.normalise(value)


def _normalised_eval_args(value: dict[str, Any]) -> dict[str, Any]:
    parts = {"split": {"LS": LEAVE_ONE_OUT[0]}, "order": "TO"}
    parts |= {part: in_known_case(entry, EVAL_ARGS.get(part, ())) for part, entry in value.items()}
    if isinstance(value.get("split"), dict):
        split = {in_known_case(kind, SPLITS): how for kind, how in value["split"].items()}
        parts["split"] = {kind: in_known_case(tuple_as_list(how), LEAVE_ONE_OUT) for kind, how in split.items()}
    return parts


def check_value(name: str, value: Any, default: Any) -> None:
    """Check a value of one of RecBole's keys; a key without a type here takes what its default is.

    Args:
        name: of the key.
        value: that was given, as of `normalised`.
        default: RecBole's.

    Raises:
        UserError: the value is not of the key's type, is out of range, or is not supported.
    """
    if name in UNSUPPORTED and value is not None and value is not False:
        raise UserError(f"{name}: not supported; {UNSUPPORTED[name]}")
    value_type = type_of(name)
    if value_type is not None:
        value_type.check(name, value)
    elif value is not None and is_number(default) and not is_number(value):
        raise UserError(f"{name}: {value!r} is not allowed; it takes a number (default {default})")
    elif type(default) is int and name in model_sizes():
        COUNT.check(name, value)
    if name in FURTHER and value is not None:
        FURTHER[name](name, value)
