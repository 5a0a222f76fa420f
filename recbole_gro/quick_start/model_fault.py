"""What an exception of a model is in a line: where it stands, and settings that are not set."""

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.known_names import keys_read
from recbole_gro.utils.errors import in_one_line
from recbole_gro.utils.own_code import place_in_own_code

LONGEST = 200  # characters of an exception's message
OVERLOADS = ", but expected one of"  # torch lists every way to call a function after it


def fault_of_model(error: BaseException, model_class: type, config: ConfigLike) -> str:
    """Return what a model raised, in place of the text of a library where a setting that it reads is not set.

    Args:
        error: an exception that was caught; RecBole's CPR models end the process at settings they do not support.
        model_class: of the model.
        config: of the run.
    """
    reason = "it ends the process" if isinstance(error, SystemExit) else in_one_line(error).partition(OVERLOADS)[0]
    if "None" in reason and (unset := [key for key in keys_read(model_class) if config[key] is None]):
        options = " ".join(f"--{key}=" for key in unset)
        reason = (
            f"{type(error).__name__}: {', '.join(unset)} {'is' if len(unset) == 1 else 'are'} not set; give {options}"
        )
    reason = reason if len(reason) <= LONGEST else reason[:LONGEST] + "..."
    place = place_in_own_code(error)
    return reason + (f" ({place})" if place else "")
