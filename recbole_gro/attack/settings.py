"""Settings of the attack: queries, attackers, surrogate."""

from recbole_gro.config.settings import Settings, key


class AttackSettings(Settings):
    """The attacker."""

    section = "Attack"
    attacker: str = key(
        "standard",
        "name of attacker",
        "standard: the paper's; ours, against a defense: head, repeat, filtered, few_shot; all within the same budget "
        "of lists",
    )


class QuerySettings(Settings):
    """The query budget, and how query sequences are generated."""

    section = "Attack"
    query_strategy: str = key("autoregressive", "name of query strategy", "how query sequences are generated")
    query_sequences: int = key(3000, "int >= 2", "sequences the attack queries; every prefix of one is a query")
    query_length: int | None = key(None, "int >= 1 or None", "items per sequence; None: MAX_ITEM_LIST_LENGTH")


class HeadSettings(Settings):
    """Settings of the attacker `head`."""

    section = "Attack"
    attacker_head_k: int | None = key(
        None,
        "int >= 1 or None",
        "head: first positions of a list that the attack trains on; None: selected on held-out queries",
    )


class RepeatSettings(Settings):
    """Settings of the attacker `repeat`."""

    section = "Attack"
    attacker_repeats: int = key(
        4, "int >= 1", "repeat: how often a prefix is queried; the sequences are that many times fewer"
    )


class FewShotSettings(Settings):
    """Settings of the attacker `few_shot`."""

    section = "Attack"
    attacker_known_share: float = key(
        0.05, "float 0..1", "few_shot: share of the users whose training items are auxiliary data of the attack"
    )


class SurrogateSettings(Settings):
    """The surrogate and its training."""

    section = "Attack"
    surrogate_model: str | None = key(None, "model or None", "architecture of the surrogate; None: the target's")
    surrogate_config: str | None = key(None, "file or None", "yaml file with the surrogate's architecture settings")
    surrogate_knows_features: bool = key(
        False,
        "bool",
        "the attack sees the item features (FDSA, GRU4RecF, SASRecF read them); False: it knows the number of items",
    )
    surrogate_epochs: int = key(
        200, "int >= 1", "maximum epochs over the query log; surrogate_patience ends training before"
    )
    surrogate_learning_rate: float = key(0.001, "float > 0", "learning rate of the surrogate")
    surrogate_batch_size: int = key(256, "int >= 1", "maximum lists per step")
    surrogate_patience: int = key(
        3, "int >= 0", "epochs without a better loss on held-out queries before training stops"
    )
