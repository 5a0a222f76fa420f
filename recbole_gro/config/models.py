"""Which models there are: RecBole's sequential recommenders by name, and classes of one's own."""

import copy
import importlib
import os
import sys
from functools import cache
from pathlib import Path

import recbole
from recbole.data.dataset import Dataset
from recbole.model.abstract_recommender import SequentialRecommender

from recbole_gro.utils.errors import UserError, nearest, unknown_name

OTHER_KINDS = {
    "general_recommender": "general",
    "context_aware_recommender": "context-aware",
    "knowledge_aware_recommender": "knowledge-aware",
    "exlib_recommender": "external-library",
}
# Models of RecBole that cannot serve a list for an item sequence, and why; docs/models.md says it in these words
CANNOT_SERVE = {
    "DIEN": "it is not a full-ranking model: it rates one item at a time and has no scores of all items",
    "DIN": "it is not a full-ranking model: it rates one item at a time and has no scores of all items",
    "GRU4RecKG": "it needs pre-trained embeddings of a knowledge graph's entities",
    "KSR": "it needs pre-trained embeddings of a knowledge graph's entities and relations",
    "S3Rec": "it needs a pre-training run of its own before it ranks items",
}


@cache
def sequential_models() -> dict[str, type[SequentialRecommender]]:
    """RecBole's sequential models by class name."""
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
    """The model class for a name; a class is checked and given back.

    Args:
        model: a class, RecBole's name of one, or `module:Class` for one of one's own that Python can import.
        key: that named it, for the message.

    Raises:
        UserError: no such model, one that does not read sequences, or one that cannot rank all items for them.
    """
    known = sequential_models()
    if isinstance(model, str) and ":" in model:
        model = imported_class(model, key)
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
            f"unknown {key} {model!r}; one of your own is named module:Class, such as my_module:{model}. "
            f"Known: {', '.join(serving())}."
        )
    raise unknown_name(key, model, serving())


def serving() -> list[str]:
    """Names of RecBole's models that can serve lists."""
    return sorted(set(sequential_models()) - set(CANNOT_SERVE))


def _check_serves(model_class: type, key: str) -> None:
    for name, reason in CANNOT_SERVE.items():
        if model_class is sequential_models()[name]:
            raise UserError(f"{key}: {name} cannot serve lists: {reason}")


def imported_class(reference: str, key: str = "model") -> type:
    """The class that `module:Class` names; modules in the working folder count. `key`, for the message, named it.

    Raises:
        UserError: no such module or class, or the module fails when it is imported.
    """
    module_name, _, class_name = reference.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ValueError as error:
        raise UserError(f"{key}: {reference} is not of the form module:Class, such as my_module:MyModel") from error
    except ModuleNotFoundError as error:
        raise UserError(
            f"{key}: {reference}: {error}; modules are looked up in {os.getcwd()} and where Python looks"
        ) from error
    except Exception as error:
        raise UserError(f"{key}: {reference}: importing {module_name} failed: {in_a_line(error)}") from error
    finally:
        sys.path.remove(os.getcwd())
    member = getattr(module, class_name, None)
    if isinstance(member, type):
        return member
    models = [name for name, entry in vars(module).items() if _is_own_model(entry, module)]
    raise UserError(
        f"{key}: {module_name} has no class {class_name!r}; its sequential models are {', '.join(models) or 'none'}"
    )


def copied_model(model):
    """A copy of a model with weights of its own; data that it holds on to are shared, not copied."""
    held = [value for module in model.modules() for value in vars(module).values() if isinstance(value, Dataset)]
    return copy.deepcopy(model, {id(dataset): dataset for dataset in held})


def reference_to(model_class: type) -> str:
    """How a model is named in settings: RecBole's name, or `module:Class` for one of one's own."""
    name = model_class.__name__
    return name if sequential_models().get(name) is model_class else f"{model_class.__module__}:{name}"


def _is_own_model(entry, module) -> bool:
    return isinstance(entry, type) and issubclass(entry, SequentialRecommender) and entry.__module__ == module.__name__


def in_a_line(error: Exception) -> str:
    """Return what an error is and says, in a line."""
    return f"{type(error).__name__} {' '.join(str(error).split())}".strip()
