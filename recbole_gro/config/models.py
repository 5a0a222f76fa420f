"""Model classes by name: RecBole's sequential recommenders and custom ones, `module:Class`."""

import copy
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import recbole
import torch
from recbole.data.dataset import Dataset
from recbole.model.abstract_recommender import SequentialRecommender

from recbole_gro.config.plugins import imported_module
from recbole_gro.config.value_type import check_one
from recbole_gro.config.values import as_names, is_several
from recbole_gro.utils.errors import UserError, nearest, unknown_name

ROLES = ("student_model", "surrogate_model")  # keys of the models beside the target
OTHER_KINDS = {
    "general_recommender": "general",
    "context_aware_recommender": "context-aware",
    "knowledge_aware_recommender": "knowledge-aware",
    "exlib_recommender": "external-library",
}
# Models of RecBole that cannot serve a list for an item sequence, and the reason, as in docs/reference/models.md
CANNOT_SERVE = {
    "DIEN": "it is not a full-ranking model: it rates one item at a time and has no scores of all items",
    "DIN": "it is not a full-ranking model: it rates one item at a time and has no scores of all items",
    "GRU4RecKG": "it needs pre-trained embeddings of a knowledge graph's entities",
    "KSR": "it needs pre-trained embeddings of a knowledge graph's entities and relations",
    "S3Rec": "it needs a pre-training run of its own before it ranks items",
}


@cache
def sequential_models() -> dict[str, type[SequentialRecommender]]:
    """Return RecBole's sequential models by class name."""
    from recbole.model import sequential_recommender

    return {
        name: member
        for name, member in vars(sequential_recommender).items()
        if isinstance(member, type)
        and issubclass(member, SequentialRecommender)
        and member is not SequentialRecommender
        and member.__module__.startswith(sequential_recommender.__name__)
    }


def sequential_model(model: str | type, key: str = "model") -> type[SequentialRecommender]:
    """Return the model class for a name; a class is checked and returned.

    Args:
        model: a class, RecBole's name of one, or `module:Class` for a custom one that Python can import.
        key: the setting whose value it is, for messages.

    Raises:
        UserError: no such model, one that does not read sequences, or one that cannot rank all items for them.
    """
    known = sequential_models()
    if isinstance(model, str) and ":" in model:
        model = _imported_class(model, key)
    if isinstance(model, type):
        if not issubclass(model, SequentialRecommender):
            raise UserError(f"{key}: {model.__name__} is not a sequential model (a subclass of SequentialRecommender)")
        _check_serves(model, key)
        return model
    if model in known:
        _check_serves(known[model], key)
        return known[model]
    for package, kind in OTHER_KINDS.items():
        if (Path(recbole.__file__).parent / "model" / package / f"{str(model).lower()}.py").is_file():
            raise UserError(
                f"{key}: {model} is a {kind} model; queries are item sequences, so a sequential model is needed: "
                f"{', '.join(serving())}."
            )
    if isinstance(model, str) and model.isidentifier() and nearest(model, known) is None:
        raise UserError(
            f"unknown {key} {model!r}; a custom model is named module:Class, such as my_module:{model}. "
            f"Known: {', '.join(serving())}."
        )
    raise unknown_name(key, model, serving())


def serving() -> list[str]:
    """Return the names of RecBole's models that can serve lists."""
    return sorted(set(sequential_models()) - set(CANNOT_SERVE))


def _check_serves(model_class: type, key: str) -> None:
    for name, reason in CANNOT_SERVE.items():
        if model_class is sequential_models()[name]:
            raise UserError(f"{key}: {name} cannot serve lists: {reason}")


def imported_model(reference: str) -> type[SequentialRecommender] | None:
    """Return the model class of a reference module:Class if its module is imported already and has it, else None."""
    module, _, name = reference.partition(":")
    member = getattr(sys.modules.get(module), name, None)
    return member if isinstance(member, type) and issubclass(member, SequentialRecommender) else None


def _imported_class(reference: str, key: str) -> type:
    module_name, _, class_name = reference.partition(":")
    if not module_name:
        raise UserError(f"{key}: {reference} is not of the form module:Class, such as my_module:MyModel")
    module = imported_module(module_name, f"{key}: {reference}")
    member = getattr(module, class_name, None)
    if isinstance(member, type):
        return member
    members = [entry for entry in vars(module).values() if isinstance(entry, type) and entry.__module__ == module_name]
    models = [entry.__name__ for entry in members if issubclass(entry, SequentialRecommender)]
    raise UserError(
        f"{key}: {module_name} has no class {class_name!r}; its sequential models are {', '.join(models) or 'none'}"
    )


def models_of(value: Any) -> list[Any]:
    """Return the models that a setting names, in a list; [None] where it names none."""
    if isinstance(value, str):
        return as_names(value)
    return list(value) if isinstance(value, list | tuple) else [value]


def check_one_model(key: str, value: Any) -> None:
    """Check that a setting of one model names no list of them, with or without brackets.

    Raises:
        UserError: it does.
    """
    has_commas = isinstance(value, str) and "," in value and not is_several(value)
    check_one(key, models_of(value) if has_commas else value, "one model")


def role_models(settings: dict[str, Any], roles: Iterable[str] = ROLES) -> list[type[SequentialRecommender]]:
    """Return the classes of student and surrogates, where others than the target's are given.

    Raises:
        UserError: an unknown model, or several for the student.
    """
    if "student_model" in roles:
        check_one_model("student_model", settings.get("student_model"))
    return [sequential_model(model, role) for role in roles for model in models_of(settings.get(role)) if model]


def copied_model(model: torch.nn.Module) -> torch.nn.Module:
    """Return a deep copy of a model that shares the datasets which the model refers to."""
    members = [member for module in model.modules() for member in vars(module).values()]
    return copy.deepcopy(model, {id(member): member for member in members if isinstance(member, Dataset)})


def model_name(model: str | type) -> str:
    """Return a model's name in settings, from a class or such a name."""
    return model if isinstance(model, str) else reference_to(model)


def reference_to(model_class: type) -> str:
    """Return a model class's name in settings: RecBole's, or `module:Class` for a custom one."""
    name = model_class.__name__
    return name if sequential_models().get(name) is model_class else f"{model_class.__module__}:{name}"
