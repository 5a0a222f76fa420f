"""Which models there are: RecBole's sequential recommenders by name."""

from functools import cache
from pathlib import Path

import recbole
from recbole.model.abstract_recommender import SequentialRecommender

from recbole_gro.errors import UserError, unknown_name

OTHER_KINDS = {
    "general_recommender": "general",
    "context_aware_recommender": "context-aware",
    "knowledge_aware_recommender": "knowledge-aware",
    "exlib_recommender": "external-library",
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


def sequential_model(model: str | type) -> type[SequentialRecommender]:
    """The model class for a name; a class is checked and given back.

    Raises:
        UserError: no such model, or one that does not read sequences.
    """
    known = sequential_models()
    if isinstance(model, type):
        if issubclass(model, SequentialRecommender):
            return model
        raise UserError(f"model: {model.__name__} is not a sequential model (a subclass of SequentialRecommender)")
    if model in known:
        return known[model]
    for package, kind in OTHER_KINDS.items():
        if (Path(recbole.__file__).parent / "model" / package / f"{str(model).lower()}.py").is_file():
            raise UserError(
                f"model: {model} is a {kind} model; queries are item sequences, so a sequential model is needed: "
                f"{', '.join(sorted(known))}."
            )
    raise unknown_name("model", model, known)
