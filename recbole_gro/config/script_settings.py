"""Settings of a RecBole script that a Config of ours refuses, though no model and no list depends on them."""

import contextlib
from typing import Any

from recbole.evaluator.register import metric_types

from recbole_gro.config.recbole_settings import check_value, normalised
from recbole_gro.config.settings import declared_keys, setting
from recbole_gro.utils.errors import UserError

# how a script evaluates, saves and starts; RecBole takes more values of them
OF_A_SCRIPT = (
    *("topk", "epochs", "eval_step", "stopping_step", "eval_batch_size", "metric_decimal_place"),
    *("show_progress", "log_wandb", "wandb_project"),
    *("state", "nproc", "world_size", "ip", "port", "offset", "group_offset", "local_rank"),
    *("config_file", "config_files", "save_dataset", "save_dataloaders", "dataset_save_path", "dataloaders_save_path"),
)


def without_refused(given: dict[str, Any]) -> dict[str, Any]:
    """Return settings without those of a script's own evaluation and output that a Config of ours refuses.

    A script may evaluate on sampled items (mode `uni100`), by scores (AUC, GAUC) or beyond the served list, and it may
    validate never (`eval_step: 0`). A student, a surrogate or a service of its model does none of that. The split
    stays whatever it is: references of a verification are trained on its training part.

    Args:
        given: settings of RecBole's Config, or of a checkpoint that a script made.
    """
    kept = {name: value for name, value in given.items() if name != "valid_metric_bigger"}  # follows from valid_metric
    if isinstance(kept.get("eval_args"), dict) and not _is_taken("eval_args", kept["eval_args"]):
        kept["eval_args"] = {part: value for part, value in kept["eval_args"].items() if part != "mode"}
    metrics = normalised("metrics", kept.get("metrics"))
    if isinstance(metrics, list):  # one that is not known is of a plugin, which the message of Config asks for
        kept["metrics"] = [name for name in metrics if _is_of_lists(str(name))]
        if not kept["metrics"]:
            del kept["metrics"]
    if not _is_of_lists(str(kept.get("valid_metric", "")).partition("@")[0]):
        del kept["valid_metric"]
    for name in OF_A_SCRIPT:
        if name in kept and not _is_taken(name, kept[name]):
            del kept[name]
    k, topk = setting(kept, "served_k"), setting(kept, "topk")  # RecBole's default is shorter than ours
    if not _is_taken("served_k", k):
        return kept
    cut_off = str(kept.get("valid_metric", "")).partition("@")[2]
    if cut_off.isdecimal() and int(cut_off) > k:
        del kept["valid_metric"]
    topk = topk if isinstance(topk, list) else [topk]
    if max(topk) > k:
        kept["topk"] = [n for n in topk if n <= k] or [k]
    return kept


def _is_of_lists(metric: str) -> bool:
    """Return whether a metric is measured on lists, or is not known."""
    return metric.lower() not in metric_types or _is_taken("metrics", [metric])


def _is_taken(name: str, value: Any) -> bool:
    """Return whether a Config of ours takes a value of a setting."""
    value = normalised(name, value)
    with contextlib.suppress(UserError):
        if name in declared_keys():
            declared_keys()[name].check(value)
        check_value(name, value, None)
        return True
    return False
