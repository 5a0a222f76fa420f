"""Checks of values of RecBole's own keys that have the right type."""

import importlib.util
import os
import re
from collections.abc import Callable
from typing import Any

import recbole
from recbole.evaluator.register import metric_information, metric_types
from recbole.utils import EvaluatorType

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.value_type import ValueType
from recbole_gro.utils.compat import SPLITS_BY_TIME
from recbole_gro.utils.errors import UserError, nearest, unknown_name

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
LEAVE_ONE_OUT = (
    "valid_and_test",
    "valid_only",
    "test_only",
)  # the last two in scripts alone, not in runs
INTERVAL = re.compile(r"[\[(](?P<low>[^,]+),(?P<high>[^,]+)[\])]")
INTERVALS = ("user_inter_num_interval", "item_inter_num_interval")
COLUMNS = ("load_col", "unload_col", "unused_col")  # mappings from the suffix of a file to names of its columns
BUCKETS = {"method": "ED|LD", "bucket": "int >= 1"}  # of discretization: by distance, or by logarithm


def is_number(value: Any) -> bool:
    """Return whether a value is a number, which True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_parts(name: str, value: dict[str, Any], kinds: dict[str, str]) -> None:
    for part, entry in value.items():
        if part not in kinds:
            hint = nearest(part, kinds)
            suggestion = f"did you mean {hint!r}?" if hint else f"the parts are {', '.join(kinds)}"
            raise UserError(f"{name}: unknown part {part!r}; {suggestion}")
        if kinds[part]:
            ValueType.parse(kinds[part]).check(f"{name}: {part}", entry)


def _check_negatives(name: str, value: Any) -> None:
    _check_parts(name, value, NEGATIVES)
    if value.get("dynamic") and not value.get("candidate_num"):
        raise UserError(f"{name}: dynamic chooses among candidates; add candidate_num, such as 5")


def _check_clipping(name: str, value: Any) -> None:
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
        raise UserError(f"{name}: split LS {how!r} is not allowed; it takes {LEAVE_ONE_OUT[0]}")
    sound = isinstance(how, list) and len(how) == 3 and all(is_number(part) and part > 0 for part in how)
    if kind != "LS" and not sound:
        raise UserError(
            f"{name}: split {kind} {how!r} is not allowed; it takes the shares of training, validation and test, "
            f"each above 0, such as [0.8, 0.1, 0.1]"
        )
    if kind == "TS" and not SPLITS_BY_TIME:
        raise UserError(
            f"{name}: split TS needs RecBole 1.2.1, and {recbole.__version__} is installed; it has LS and RS"
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


def _check_columns(name: str, value: Any) -> None:
    _check_parts(name, value, {suffix: "" if names == "*" else "fields" for suffix, names in value.items()})


def _check_threshold(name: str, value: Any) -> None:
    if len(value) != 1:
        raise UserError(f"{name}: {value!r} is not allowed; it takes one column, such as {{'rating': 3}}")
    _check_parts(name, value, dict.fromkeys(value, "float"))


def _check_discretization(name: str, value: Any) -> None:
    _check_parts(name, value, dict.fromkeys(value, "mapping"))
    for column, how in value.items():
        _check_parts(f"{name}: {column}", how, BUCKETS)
        if "method" not in how or (how["method"] == "ED" and "bucket" not in how):
            raise UserError(f"{name}: {column}: {how!r} lacks a part; write {{'method': 'ED', 'bucket': 5}}, or LD")


def _check_suffixes(name: str, value: Any) -> None:
    for suffix in {"inter", "user", "item"} & set(value):
        raise UserError(f"{name}: .{suffix} is always read; name further files only")


def check_interval(name: str, value: Any) -> None:
    """Check an interval, or several with ; between.

    Args:
        name: of the setting, for the message.
        value: a text; a list or tuple of two numbers is what [5,10] and (5,10) become when they are read as literals.

    Raises:
        UserError: it is none.
    """
    for part in str(value).split(";"):
        found = INTERVAL.fullmatch(part.strip())
        try:
            sound = found is not None and float(found["low"]) <= float(found["high"])
        except ValueError:
            sound = False
        if not sound:
            raise UserError(f"{name}: {value!r} is no interval; write one such as [5,inf), or several with ; between")


def _check_metrics(name: str, value: Any) -> None:
    listed = [metric.strip() for metric in value.split(",")] if isinstance(value, str) else value
    if len({metric.lower() for metric in listed}) < len(listed):
        raise UserError(f"{name}: {', '.join(listed)} name a metric twice, as upper and lower case do not differ")
    for metric in listed:
        kind = metric_types.get(metric.lower())
        ranking = [known for known, its_kind in metric_types.items() if its_kind is EvaluatorType.RANKING]
        if kind is None:
            raise UserError(f"{name}: {unknown_name('metric', metric, ranking, extensible=True)}")
        if kind is not EvaluatorType.RANKING:
            raise UserError(f"{name}: {metric} is measured on ratings; lists have {', '.join(sorted(ranking))}")
        if "rec.meanrank" in metric_information[metric.lower()]:
            raise UserError(f"{name}: {metric} needs scores of all items; a service returns lists without scores")


def complete_metrics(settings: dict[str, Any], given: dict[str, Any]) -> None:
    """Add a given valid_metric to the default metrics and topk, or derive it from given ones.

    Given metrics or topk that lack the default valid_metric have early stopping watch the largest topk, of the default
    metric or else of the first.

    Args:
        settings: of a config, which are changed.
        given: those that are not defaults.
    """
    metrics, topk = (value if isinstance(value, list) else [value] for value in (settings["metrics"], settings["topk"]))
    watched, _, cut_off = settings["valid_metric"].partition("@")
    measured = watched.lower() in {metric.lower() for metric in metrics}
    if "valid_metric" not in given:
        if not measured or cut_off not in map(str, topk):
            settings["valid_metric"] = f"{watched if measured else metrics[0]}@{max(topk)}"
        return
    if "metrics" not in given and not measured:
        settings["metrics"] = [*metrics, watched]
    if "topk" not in given and cut_off.isdecimal() and int(cut_off) > 0:
        settings["topk"] = sorted({*topk, int(cut_off)})


def check_valid_metric(config: ConfigLike, given: dict[str, Any]) -> None:
    """Check that the metric of early stopping is measured, and its direction where one is given."""
    watched, _, cut_off = str(config["valid_metric"]).partition("@")
    measured = {str(metric).lower() for metric in config["metrics"]}
    if watched.lower() not in measured or cut_off not in map(str, config["topk"]):
        raise UserError(
            f"valid_metric: {config['valid_metric']} is not measured; it takes METRIC@K, such as "
            f"{config['metrics'][0]}@{config['topk'][0]}, of metrics {', '.join(config['metrics'])} and topk "
            f"{', '.join(map(str, config['topk']))}"
        )
    bigger = config["valid_metric_bigger"]
    if given.get("valid_metric_bigger", bigger) != bigger:
        raise UserError(f"valid_metric_bigger: it is {bigger} for {watched}, from which it follows; leave it out")


def check_scaler(config: ConfigLike) -> None:
    """Check that gradients are not clipped before they are unscaled, as RecBole does with both settings."""
    if config["enable_scaler"] and config["clip_grad_norm"]:
        raise UserError(
            "enable_scaler: RecBole clips gradients that are still scaled, so that clip_grad_norm means another norm "
            "at every step; leave one of them out"
        )


def _check_wandb(name: str, value: Any) -> None:
    if value and importlib.util.find_spec("wandb") is None:
        raise UserError(f"{name}: wandb is not installed; pip install wandb, or leave {name} out")


def _check_processes(name: str, value: Any) -> None:
    if value != 1:
        raise UserError(f"{name}: {value!r} is not supported; a run uses one process ({name}=1)")


def own_gpu(given: Any) -> str:
    """Return the GPU of this process of several on a machine.

    Args:
        given: value of `gpu_id`; None: all GPUs.

    Raises:
        UserError: it names fewer GPUs than there are processes.
    """
    number = int(os.environ["LOCAL_RANK"])
    gpus = [gpu.strip() for gpu in str(given).strip("()[]").split(",")]
    if given is not None and number >= len(gpus):
        raise UserError(f"gpu_id: {given!r} names no GPU for process {number + 1}; name one for each, as in 0,1")
    return str(number) if given is None else gpus[number]


# setting -> check of a value other than None, called with both
FURTHER: dict[str, Callable[[str, Any], None]] = {
    "clip_grad_norm": _check_clipping,
    "eval_args": _check_eval_args,
    **dict.fromkeys(INTERVALS, check_interval),
    **dict.fromkeys(COLUMNS, _check_columns),
    "additional_feat_suffix": _check_suffixes,
    "threshold": _check_threshold,
    "discretization": _check_discretization,
    "seq_len": lambda name, value: _check_parts(name, value, dict.fromkeys(value, "int >= 1")),
    "preload_weight": lambda name, value: _check_parts(name, value, dict.fromkeys(value, "str")),
    "metrics": _check_metrics,
    "valid_metric": lambda name, value: _check_metrics(name, value.partition("@")[0]),
    "repeatable": _check_repeatable,
    "train_neg_sample_args": _check_negatives,
    "log_wandb": _check_wandb,
    "nproc": _check_processes,
}
