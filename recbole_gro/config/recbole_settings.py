"""What RecBole's own keys take. RecBole has no types for them: a wrong value fails late, or goes by without a word."""

import importlib.util
import re
from collections.abc import Callable
from typing import Any

from recbole.evaluator.register import metric_types
from recbole.utils import EvaluatorType

from recbole_gro.config.settings import Key, declared_keys
from recbole_gro.utils.errors import UserError, nearest, unknown_name

MASKED_TRANSFORM = "mask_itemseq"  # what models have for `transform` that learn to fill in masked items
TYPES = {
    "seed": "int 0..4294967295",
    "state": "debug|info|warning|error|critical",
    "reproducibility": "bool",
    "use_gpu": "bool",
    "worker": "int >= 0",
    "shuffle": "bool",
    "show_progress": "bool",
    "log_wandb": "bool",
    "data_path": "str",
    "checkpoint_dir": "str",
    "train_batch_size": "int >= 1",
    "learner": "adam|adamw|sgd|adagrad|rmsprop",
    "learning_rate": "float > 0",
    "weight_decay": "float >= 0",
    "clip_grad_norm": "mapping or None",
    "loss_type": "ce|bpr",
    "loss_decimal_place": "int >= 0",
    "enable_amp": "bool",
    "enable_scaler": "bool",
    "MAX_ITEM_LIST_LENGTH": "int >= 1",
    "mask_ratio": "float 0..1",
    "USER_ID_FIELD": "str",
    "ITEM_ID_FIELD": "str",
    "TIME_FIELD": "str",
    "load_col": "mapping or None",
    "unload_col": "mapping or None",
    "unused_col": "mapping or None",
    "val_interval": "mapping or None",
    "rm_dup_inter": "first|last or None",
    "filter_inter_by_user_or_item": "bool",
    "eval_args": "mapping",
}
UNSUPPORTED = {
    "save_dataset": "a run reads the atomic files each time",
    "save_dataloaders": "a run makes its batches anew each time",
    "dataset_save_path": "reading a pickled dataset would execute the file",
    "dataloaders_save_path": "reading pickled data loaders would execute the file",
}
CLIPPING = {"max_norm": "float > 0", "norm_type": "float > 0", "error_if_nonfinite": "bool", "foreach": "bool or None"}
EVAL_ARGS = ("split", "order", "group_by", "mode")
LEAVE_ONE_OUT = ("valid_and_test", "valid_only", "test_only")
INTERVAL = re.compile(r"[\[(] *(?P<low>-?inf|-?[\d.]+) *, *(?P<high>inf|-?[\d.]+) *[\])]")


def type_of(name: str) -> str | None:
    """The type of one of RecBole's keys, as the comments of properties/overall.yaml write types; None: not known."""
    declared = declared_keys().get(name)
    return TYPES.get(name) if declared is None else declared.type


def check_value(name: str, value: Any, default: Any) -> None:
    """Check a value that the user gave for one of RecBole's keys; one without a type here goes by its default.

    Raises:
        UserError: the value is not of the key's type, is out of range, or asks for what a run does not do.
    """
    if name in UNSUPPORTED and value:
        raise UserError(f"{name}: not supported; {UNSUPPORTED[name]}")
    kind = type_of(name)
    if kind is not None:
        # RecBole does not mind the case of a name
        Key(name, default, kind, "").check(value.lower() if "|" in kind and isinstance(value, str) else value)
    elif value is not None and _is_number(default) and not _is_number(value):
        raise UserError(f"{name}: {value!r} is not allowed; it takes a number (default {default})")
    if name in FURTHER:
        FURTHER[name](name, value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_clipping(name: str, value: Any) -> None:
    if value is None:
        return
    if "max_norm" not in value:
        raise UserError(f"{name}: {value!r} lacks max_norm; write {{'max_norm': 5}}")
    for part, entry in value.items():
        if part not in CLIPPING:
            raise UserError(f"{name}: unknown part {part!r}; the parts are {', '.join(CLIPPING)}")
        Key(f"{name}: {part}", None, CLIPPING[part], "").check(entry)


def _check_eval_args(name: str, value: Any) -> None:
    for part in value:
        if part not in EVAL_ARGS:
            hint = nearest(part, EVAL_ARGS)
            raise UserError(
                f"{name}: unknown part {part!r}; " + (f"did you mean {hint!r}?" if hint else f"parts are {EVAL_ARGS}")
            )
    split = value.get("split", {"LS": LEAVE_ONE_OUT[0]})
    if not isinstance(split, dict) or len(split) != 1 or not set(split) <= {"LS", "RS"}:
        raise UserError(f"{name}: split {split!r} is not allowed; it takes {{'LS': 'valid_and_test'}}, leave-one-out")
    if "LS" in split and split["LS"] not in LEAVE_ONE_OUT:
        raise UserError(f"{name}: split LS {split['LS']!r} is not allowed; it takes one of {', '.join(LEAVE_ONE_OUT)}")
    mode = value.get("mode", "full")
    modes = mode.values() if isinstance(mode, dict) else [mode]
    if any(each != "full" for each in modes):
        raise UserError(f"{name}: mode {mode!r} is not supported; served lists are ranked over all items (full)")


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


def _check_wandb(name: str, value: Any) -> None:
    if value and importlib.util.find_spec("wandb") is None:
        raise UserError(f"{name}: wandb is not installed; pip install wandb, or leave {name} out")


def _check_processes(name: str, value: Any) -> None:
    if value not in (None, 1):
        raise UserError(f"{name}: {value!r} is not supported; a run uses one process ({name}=1)")


# checks that go on where a type is met
FURTHER: dict[str, Callable[[str, Any], None]] = {
    "clip_grad_norm": _check_clipping,
    "eval_args": _check_eval_args,
    "user_inter_num_interval": _check_interval,
    "item_inter_num_interval": _check_interval,
    "metrics": _check_metrics,
    "log_wandb": _check_wandb,
    "nproc": _check_processes,
}


def as_names(names: str | list[str]) -> list[str]:
    """Return a list of names; a text is one name or several with commas between.

    >>> as_names("none, gro"), as_names(["none"])
    (['none', 'gro'], ['none'])
    """
    return [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
