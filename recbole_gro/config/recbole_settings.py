"""Types and ranges of RecBole's own keys. RecBole has none: a wrong value fails late, or is ignored silently."""

import importlib.util
import re
from collections.abc import Callable, Iterable
from typing import Any

from recbole.evaluator.register import metric_information, metric_types
from recbole.utils import EvaluatorType

from recbole_gro.config.settings import Key, declared_keys
from recbole_gro.utils.errors import UserError, nearest, unknown_name

MASKED_TRANSFORM = "mask_itemseq"  # the `transform` of masked models
TYPES = {
    **dict.fromkeys(
        (
            "field_separator", "seq_separator", "encoding", "data_path", "checkpoint_dir", "wandb_project", "ip",
            "USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD", "RATING_FIELD", "LABEL_FIELD", "NEG_PREFIX", "LIST_SUFFIX",
            "ITEM_LIST_LENGTH_FIELD", "POSITION_FIELD", "HEAD_ENTITY_ID_FIELD", "TAIL_ENTITY_ID_FIELD",
            "RELATION_ID_FIELD", "ENTITY_ID_FIELD",
        ),
        "str",
    ),
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
    "load_col": "mapping or None",
    "unload_col": "mapping or None",
    "unused_col": "mapping or None",
    "val_interval": "mapping or None",
    "rm_dup_inter": "first|last or None",
    "filter_inter_by_user_or_item": "bool",
    "eval_args": "mapping",
    "repeatable": "bool",
    "valid_metric_bigger": "bool",
}  # fmt: skip
UNSUPPORTED = {
    "save_dataset": "a run reads the atomic files each time",
    "save_dataloaders": "a run makes its batches anew each time",
    "dataset_save_path": "reading a pickled dataset would execute the file",
    "dataloaders_save_path": "reading pickled data loaders would execute the file",
    "local_rank": "a run uses one process",
}
NEGATIVES = {
    "distribution": "uniform|popularity or None",
    "sample_num": "int >= 1",
    "alpha": "float",
    "dynamic": "bool",
    "candidate_num": "int >= 0",
}
CLIPPING = {"max_norm": "float > 0", "norm_type": "float > 0", "error_if_nonfinite": "bool", "foreach": "bool or None"}
EVAL_ARGS = {"split": (), "order": ("TO", "RO"), "group_by": ("user", "none"), "mode": ("full",)}
SPLITS = ("LS", "RS", "TS")
LEAVE_ONE_OUT = ("valid_and_test", "valid_only", "test_only")
INTERVAL = re.compile(r"[\[(] *(?P<low>-?inf|-?[\d.]+) *, *(?P<high>inf|-?[\d.]+) *[\])]")


def type_of(name: str) -> str | None:
    """Return the type of a key as the comments of properties/overall.yaml write types; None where it is not known."""
    declared = declared_keys().get(name)
    return TYPES.get(name) if declared is None else declared.type


def is_text(name: str) -> bool:
    """Return whether a key, of this plugin or of RecBole, takes a text, which is then never read as anything else."""
    kind = type_of(name) or ""
    return kind.split(" ")[0] in ("str", "file", "function", "model", "name") or "|" in kind


def may_be_none(name: str) -> bool:
    """Return whether None is a value of a text key."""
    return str(type_of(name)).endswith(" or None")


def normalised(name: str, value: Any) -> Any:
    """Return a value as RecBole reads it: a name in its case, a list for a tuple, a tab for the two characters `\\t`.

    Backslash and t are what single-quoted yaml and a shell leave of a tab. `eval_args` without a split or an order get
    those of sequences, LS and TO. The text None is None where a key takes it.
    """
    if value == "None" and may_be_none(name):
        return None
    if name in ("field_separator", "seq_separator") and isinstance(value, str):
        return value.replace("\\t", "\t")
    if name == "eval_args" and isinstance(value, dict):
        parts = {"split": {"LS": LEAVE_ONE_OUT[0]}, "order": "TO"}
        parts |= {part: _cased(entry, EVAL_ARGS.get(part, ())) for part, entry in value.items()}
        if isinstance(value.get("split"), dict):
            split = {_cased(kind, SPLITS): how for kind, how in value["split"].items()}
            parts["split"] = {kind: _cased(_listed(how), LEAVE_ONE_OUT) for kind, how in split.items()}
        return parts
    kind = (type_of(name) or "").removesuffix(" or None")
    if "|" in kind:
        return _cased(value, kind.split("|"))
    return _listed(value) if kind.startswith(("ints", "names", "models")) else value


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _cased(value: Any, names: Iterable[str]) -> Any:
    """Return the name that equals `value` but for case; of a mapping, for each entry."""
    if isinstance(value, dict):
        return {key: _cased(entry, names) for key, entry in value.items()}
    return next((name for name in names if isinstance(value, str) and name.lower() == value.lower()), value)


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
    kind = type_of(name)
    if kind is not None:
        Key(name, default, kind, "").check(value)
    elif value is not None and _is_number(default) and not _is_number(value):
        raise UserError(f"{name}: {value!r} is not allowed; it takes a number (default {default})")
    if name in FURTHER:
        FURTHER[name](name, value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_parts(name: str, value: dict[str, Any], kinds: dict[str, str]) -> None:
    for part, entry in value.items():
        if part not in kinds:
            hint = nearest(part, kinds)
            suggestion = f"did you mean {hint!r}?" if hint else f"the parts are {', '.join(kinds)}"
            raise UserError(f"{name}: unknown part {part!r}; {suggestion}")
        if kinds[part]:
            Key(f"{name}: {part}", None, kinds[part], "").check(entry)


def _check_clipping(name: str, value: Any) -> None:
    if value is None:
        return
    if "max_norm" not in value:
        raise UserError(f"{name}: {value!r} lacks max_norm; write {{'max_norm': 5}}")
    _check_parts(name, value, CLIPPING)


def _check_eval_args(name: str, value: Any) -> None:
    _check_parts(name, value, dict.fromkeys(EVAL_ARGS, ""))
    split = value.get("split", {"LS": LEAVE_ONE_OUT[0]})
    if not isinstance(split, dict) or len(split) != 1 or not set(split) <= set(SPLITS):
        raise UserError(f"{name}: split {split!r} is not allowed; it takes {{'LS': 'valid_and_test'}}, leave-one-out")
    ((kind, how),) = split.items()
    if kind == "LS" and how not in LEAVE_ONE_OUT:
        raise UserError(f"{name}: split LS {how!r} is not allowed; it takes one of {', '.join(LEAVE_ONE_OUT)}")
    sound = isinstance(how, list) and len(how) == 3 and all(_is_number(part) and part > 0 for part in how)
    if kind != "LS" and not sound:
        raise UserError(
            f"{name}: split {kind} {how!r} is not allowed; it takes the shares of training, validation and test, "
            f"each above 0, such as [0.8, 0.1, 0.1]"
        )
    if value.get("order", "TO") != "TO":
        raise UserError(f"{name}: order {value['order']!r} is not allowed; sequences are split in order of time (TO)")
    if value.get("group_by") not in (None, *EVAL_ARGS["group_by"]):
        raise UserError(f"{name}: group_by {value['group_by']!r} is not allowed; it takes user or none")
    mode = value.get("mode", "full")
    modes = mode.values() if isinstance(mode, dict) else [mode]
    if any(each != "full" for each in modes) or (isinstance(mode, dict) and not set(mode) <= {"valid", "test"}):
        raise UserError(f"{name}: mode {mode!r} is not supported; served lists are ranked over all items (full)")


def _check_repeatable(name: str, value: Any) -> None:
    if not value:
        raise UserError(f"{name}: False is not supported; sequential models may recommend an item again")


def _check_interval(name: str, value: Any) -> None:
    # a list or a tuple is what [5,10] and (5,10) become when they are read as literals
    for part in [] if value is None else str(value).split(";"):
        found = INTERVAL.fullmatch(part.strip())
        try:
            sound = found is not None and float(found["low"]) <= float(found["high"])
        except ValueError:
            sound = False
        if not sound:
            raise UserError(f"{name}: {value!r} is no interval; write one such as [5,inf), or several with ; between")


def _check_metrics(name: str, value: Any) -> None:
    for metric in [value] if isinstance(value, str) else value:
        kind = metric_types.get(metric.lower())
        ranking = [known for known, its_kind in metric_types.items() if its_kind is EvaluatorType.RANKING]
        if kind is None:
            raise UserError(f"{name}: {unknown_name('metric', metric, ranking)}")
        if kind is not EvaluatorType.RANKING:
            raise UserError(f"{name}: {metric} is measured on ratings; lists have {', '.join(sorted(ranking))}")
        if "rec.meanrank" in metric_information[metric.lower()]:
            raise UserError(f"{name}: {metric} needs scores of all items; a service returns lists without scores")


def _check_wandb(name: str, value: Any) -> None:
    if value and importlib.util.find_spec("wandb") is None:
        raise UserError(f"{name}: wandb is not installed; pip install wandb, or leave {name} out")


def _check_processes(name: str, value: Any) -> None:
    if value not in (None, 1):
        raise UserError(f"{name}: {value!r} is not supported; a run uses one process ({name}=1)")


# checks of values that have the right type
FURTHER: dict[str, Callable[[str, Any], None]] = {
    "clip_grad_norm": _check_clipping,
    "eval_args": _check_eval_args,
    "user_inter_num_interval": _check_interval,
    "item_inter_num_interval": _check_interval,
    "metrics": _check_metrics,
    "valid_metric": lambda name, value: _check_metrics(name, value.partition("@")[0]),
    "repeatable": _check_repeatable,
    "train_neg_sample_args": lambda name, value: _check_parts(name, value or {}, NEGATIVES),
    "log_wandb": _check_wandb,
    "nproc": _check_processes,
}


def as_names(names: str | list[str]) -> list[str]:
    """Return a list of names; a text is one name or several with commas between.

    >>> as_names("none, gro"), as_names(["none"])
    (['none', 'gro'], ['none'])
    """
    return [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
