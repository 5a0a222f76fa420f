"""Settings of the defenses on the served list."""

from recbole_gro.config.settings import Settings, key
from recbole_gro.utils.errors import UserError


class TailSettings(Settings):
    """Settings of the defenses that keep the head of a list."""

    section = "Defense"
    head_k: int = key(
        20,
        "int >= 1",
        "tail_shuffle, tail_random, tail_decoy, truncate: first positions of a list, which stay as they are; "
        "below served_k",
    )


class RandomSettings(Settings):
    """Settings of `random`."""

    section = "Defense"
    random_keyed: bool = key(
        False,
        "bool",
        "random: the same query always gets the same shuffle; False: afresh each time, as in the paper; ours",
    )


class KeyedSettings(Settings):
    """Settings of keyed draws."""

    section = "Defense"
    defense_key: str = key(
        "seed",
        "seed|secret",
        "source of the key of keyed draws: the run's seed, for experiments; or a secret, from RECBOLE_GRO_DEFENSE_KEY "
        "or output_dir/defense.key",
    )


def check_head(name: str, head_k: int, served_k: int) -> None:
    """Check that a list is longer than its head.

    Args:
        name: setting that gives the length of the head, for the message.
        head_k: length of the head.
        served_k: length of the list.

    Raises:
        UserError: no position is below the head.
    """
    if head_k >= served_k:
        raise UserError(
            f"{name}: {head_k} leaves nothing of lists of {served_k} to change; set it below served_k={served_k}"
        )
