"""Every model of a run tried once before anything is trained."""

from recbole_gro.attack import create_surrogate
from recbole_gro.defense import GRODefense, create_student
from recbole_gro.serving.service import Service
from recbole_gro.utils.errors import UserError


def check_models(config, data, defenses) -> None:
    """Build and ask each model once, so that one that cannot work ends the run before anything was trained.

    Raises:
        UserError: which model cannot work, and why.
    """
    makers = {"model": lambda: config.model_class(config, data)}
    if any(isinstance(part, GRODefense) for defense in defenses.values() for part in defense.parts):
        makers["student"] = lambda: create_student(config, config.model_class, data)
    if config["attack"]:
        makers["surrogate"] = lambda: create_surrogate(config, data.item_num, data)[0]
    for role, make in makers.items():
        try:
            Service(make(), 1).recommend([[1]])
        except UserError as error:
            told = str(error)
            if role == "model" or not told.startswith("model: "):
                raise
            raise UserError(f"{role}_{told}") from error  # the key is student_model or surrogate_model
        except (
            ArithmeticError,
            AssertionError,
            AttributeError,
            LookupError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{role}: cannot work with these settings: {reason}") from error
