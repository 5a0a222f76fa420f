"""Settings of the defenses on the served list."""

from recbole_gro.config.settings import Settings, key


class TailSettings(Settings):
    """Where the tail of a list begins."""

    section = "Defense"
    head_k: int = key(
        20,
        "int >= 1",
        "tail_shuffle, tail_random, tail_decoy, truncate: first positions of a list, which stay as they are; "
        "below served_k",
    )


class RandomSettings(Settings):
    """How `random` draws."""

    section = "Defense"
    random_keyed: bool = key(
        False,
        "bool",
        "random: the same query always gets the same shuffle; False: afresh each time, as in the paper; ours",
    )


class KeyedSettings(Settings):
    """Where the key of keyed draws comes from."""

    section = "Defense"
    defense_key: str = key(
        "seed",
        "seed|secret",
        "source of the key of keyed draws: the run's seed, for experiments; or a secret, from RECBOLE_GRO_DEFENSE_KEY "
        "or output_dir/defense.key",
    )
