"""Names of the keys that RecBole, this plugin or a model class reads, and suggestions for unknown ones."""

import ast
import contextlib
import inspect
import sys
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from recbole_gro.config.models import sequential_models
from recbole_gro.config.own_modules import is_own
from recbole_gro.config.properties import model_keys, recbole_keys, recbole_model_settings
from recbole_gro.config.settings import declared_keys, names_of
from recbole_gro.utils.errors import SettingWarning, UserError, nearest

READ_UNLISTED = {"encoding", "tail_ratio", "eta", "local_rank"}  # keys that RecBole reads but does not list
SET_BY_RECBOLE = {"device", "eval_type", "single_spec", "MODEL_TYPE", "MODEL_INPUT_TYPE"}  # set by RecBole
# Names of settings in other libraries and in RecBole before 1.1, and the names today
TODAY = {
    "query_log": "access_log",
    "batch_size": "train_batch_size",
    "cuda": "gpu_id, or use_gpu",
    "device": "gpu_id, or use_gpu",
    "gpu": "gpu_id, or use_gpu",
    "lr": "learning_rate",
    **dict.fromkeys(("l2", "l2_reg", "wd"), "weight_decay"),
    **dict.fromkeys(("max_len", "maxlen", "max_length", "max_seq_len", "max_seq_length"), "MAX_ITEM_LIST_LENGTH"),
    "optimizer": "learner",
    **dict.fromkeys(("patience", "early_stop", "early_stopping"), "stopping_step"),
    "random_seed": "seed",
    **dict.fromkeys(("num_blocks", "n_blocks"), "n_layers"),
    "eval_setting": "eval_args, such as {'split': {'LS': 'valid_and_test'}, 'order': 'TO', 'mode': 'full'}",
    "split_ratio": "eval_args, such as {'split': {'RS': [0.8, 0.1, 0.1]}}",
    "leave_one_num": "eval_args, such as {'split': {'LS': 'valid_and_test'}}",
    "group_by_user": "eval_args, such as {'group_by': 'user'}",
    **dict.fromkeys(
        ("neg_sampling", "training_neg_sample_num", "training_neg_sample_distribution"),
        "train_neg_sample_args, such as {'distribution': 'uniform', 'sample_num': 1}",
    ),
    **dict.fromkeys(("min_user_inter_num", "max_user_inter_num"), "user_inter_num_interval, such as [5,inf)"),
    **dict.fromkeys(("min_item_inter_num", "max_item_inter_num"), "item_inter_num_interval, such as [5,inf)"),
    **dict.fromkeys(
        ("lowest_val", "highest_val", "equal_val", "not_equal_val"), "val_interval, such as {'rating': '[3,inf)'}"
    ),
}
# Options that are no settings, and the command that has them
OF_A_COMMAND = {
    **dict.fromkeys(("black_box", "histories", "catalogue", "item_type"), "audit"),
    **dict.fromkeys(("owner", "suspect", "probes"), "verify"),
    **dict.fromkeys(("log", "benign"), "detect"),
    **dict.fromkeys(("ledger", "on_alarm", "host"), "serve"),
    **dict.fromkeys(("seeds", "executor"), "experiment"),
    "budget": "keys",
}
OF_ARCHITECTURES = {"MAX_ITEM_LIST_LENGTH", "selected_features", "numerical_features"}  # of every model
GONE = ("real_time_process", "drop_filter_field", "drop_preload_weight", "fill_nan")  # of RecBole before 1.1


@cache
def recbole_names() -> frozenset[str]:
    """Return the keys that RecBole reads with every sequential model."""
    return frozenset(recbole_keys() - model_keys() | READ_UNLISTED)


@cache
def names_in(model_class: type) -> frozenset[str]:
    """Return the settings that a model class can read, by its source and the sources of its base classes.

    Every string of the source counts, as in `config["width"]` and `config.get("width")`, every `config.width`, and all
    keys of a class of settings, as in `WidthSettings.of(config)`. A class that composes names at run time declares
    them: `config_keys = ("width_1", "width_2")`.
    """
    found: set[str] = set()
    for cls in model_class.__mro__:
        if cls.__module__.split(".")[0] in ("builtins", "torch") or cls.__module__.endswith("abstract_recommender"):
            continue
        for node in _nodes(cls):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, ast.Attribute) and _is_config(node.value):
                found.add(node.attr)
            elif isinstance(node, ast.Name):
                found.update(names_of(getattr(sys.modules.get(cls.__module__), node.id, None)))
    return frozenset(found - SET_BY_RECBOLE | set(getattr(model_class, "config_keys", ())))


def keys_read(model_class: type) -> list[str]:
    """Return the settings that a model class of a user's own reads for certain, by `config["width"]` in its source.

    Those that RecBole or this package reads too have defaults, which may be None.
    """
    found: dict[str, None] = {}
    for node in (node for cls in model_class.__mro__ if is_own(cls.__module__) for node in _nodes(cls)):
        if isinstance(node, ast.Attribute) and _is_config(node.value):
            found[node.attr] = None
        elif isinstance(node, ast.Subscript) and _is_config(node.value) and isinstance(node.slice, ast.Constant):
            found[str(node.slice.value)] = None
    general = recbole_names() | declared_keys().keys() | SET_BY_RECBOLE
    return [key for key in found if key not in general and not hasattr(dict, key)]


def trees_of(classes: Iterable[type]) -> Iterator[ast.AST]:
    """Yield the syntax of classes that have a source."""
    for each in classes:
        with contextlib.suppress(OSError, TypeError, SyntaxError):
            yield ast.parse(textwrap.dedent(inspect.getsource(each)))


def _nodes(cls: type) -> Iterator[ast.AST]:
    """Yield the parts of a class's source; nothing where it has none."""
    return (node for tree in trees_of([cls]) for node in ast.walk(tree))


def _is_config(node: ast.AST) -> bool:
    return ast.unparse(node) in ("config", "self.config")


def is_known(name: str, models: Iterable[type]) -> bool:
    """Return whether RecBole, this plugin or one of the models reads a key."""
    return name in recbole_names() or name in declared_keys() or any(name in own_names(each) for each in models)


@cache
def own_names(model_class: type) -> frozenset[str]:
    """Return the keys that a model class reads besides general ones."""
    loss = () if hasattr(model_class, "input_type") else ("loss_type",)  # from which RecBole derives the input type
    return names_in(model_class).union(recbole_model_settings(model_class), loss)


def only_read(given: dict[str, Any], models: Sequence[type]) -> dict[str, Any]:
    """Return settings without those that nothing reads; all of them where a model is not RecBole's."""
    return {name: value for name, value in given.items() if is_known(name, models) or not _all_of_recbole(models)}


def read_by_others_alone(names: Iterable[str], model: type, others: Sequence[type]) -> set[str]:
    """Return the keys that some models read and one of RecBole's does not; none for a user's, which may read any."""
    read = {name for name in names if any(name in own_names(other) for other in others)}
    return {name for name in read if not is_known(name, [model])} if _all_of_recbole([model]) else set()


def _all_of_recbole(models: Iterable[type]) -> bool:
    return all(model in sequential_models().values() for model in models)


def check_architecture(settings: Iterable[str], model: type, key: str) -> None:
    """Refuse settings of a second model that are not of its architecture, and would change nothing.

    Args:
        settings: names.
        model: its class; one of a user's own may read any.
        key: the setting that names their file, for the message.

    Raises:
        UserError: one of them is not.
    """
    for name in settings if _all_of_recbole([model]) else ():
        if name not in own_names(model) | OF_ARCHITECTURES:
            right = f"set it beside {key}, for all models" if is_known(name, [model]) else _meant(name, [model])
            raise UserError(f"{key}: {name} is no setting of {model.__name__}'s architecture; {right}")


def check_names(names: Iterable[str], models: Sequence[type]) -> None:
    """Refuse keys that nothing reads; warn of them instead where a custom model might read them.

    Args:
        names: the given keys.
        models: classes of the target, the student and the surrogate.

    Raises:
        UserError: a key is unknown; the message suggests a known one.
    """
    for name in names:
        if is_known(name, models):
            continue
        read_by = " or ".join(dict.fromkeys(model.__name__ for model in models))
        of_another = any(name in recbole_model_settings(model) for model in sequential_models().values())
        what = f"{name}: not read by {read_by}" if of_another else f"unknown key {name!r}"
        what = f"{what}; {_meant(name, models)}"
        if _all_of_recbole(models):
            raise UserError(what)
        warnings.warn(f"{what} (a custom model can declare it in config_keys)", SettingWarning, stacklevel=2)


def _meant(name: str, models: Sequence[type]) -> str:
    if name in TODAY:
        return f"use {TODAY[name]}"
    if name in OF_A_COMMAND:
        return f"it is an option of recbole-gro {OF_A_COMMAND[name]}"
    if name in GONE:
        return "RecBole does not read it since 1.1; leave it out"
    own = {key for model in models for key in recbole_model_settings(model)}
    own |= {key for model in models if not _all_of_recbole([model]) for key in _like_settings(names_in(model))}
    general = recbole_keys() - model_keys() | set(declared_keys())
    hint = nearest(name, own) or nearest(name, general | own)
    if hint:
        return f"did you mean {hint!r}?"
    return f"{models[0].__name__} reads {', '.join(sorted(own)) or 'no settings'} of its own"


def _like_settings(names: Iterable[str]) -> set[str]:
    """Return what can be a key, out of the strings of a source."""
    words = {name for name in names if name.isidentifier() and name.islower() and not name.endswith("_")}
    return words - recbole_names() - set(dir(dict))
