"""Settings of the attack: queries, attackers, surrogate."""

from typing import Any

from recbole_gro.config.settings import Settings, key


class AttackSettings(Settings):
    """The attacker."""

    section = "Attack"
    attacker: Any = key(
        "standard",
        "names of attacker",
        "standard: the paper's; adaptive ones: head, repeat, filtered, few_shot, rounds; oracle: real histories, the "
        "limit of better queries; head+mixed names the query strategy too, standard+mixed+10 the items per sequence; "
        "strongest: all of attacker_suite; each has the whole query budget",
    )
    attacker_suite: Any = key(
        [
            *("standard+autoregressive", "standard+mixed", "standard+mixed+10"),
            *("rounds+mixed", "head+mixed", "filtered+mixed"),
        ],
        "names of attacker",
        "strongest: the attacks that are run, the best of them by agreement with the same held-out queries",
    )


class QuerySettings(Settings):
    """The query budget, and how query sequences are generated."""

    section = "Attack"
    query_strategy: str = key("autoregressive", "name of query strategy", "how query sequences are generated")
    query_sequences: int = key(3000, "int >= 2", "sequences the attack queries; every prefix of one is a query")
    query_length: int | None = key(None, "int >= 1 or None", "items per sequence; None: MAX_ITEM_LIST_LENGTH")
    query_choice: str | None = key(
        None,
        "function or None",
        "module:function that chooses the next item [S] of the lists [S, k] and sequences [S, t], instead of a draw",
    )


class MixedSettings(Settings):
    """Settings of the query strategy `mixed`."""

    section = "Attack"
    query_random_share: float = key(
        0.3, "float 0..1", "mixed: probability that the next item is drawn from the whole catalogue"
    )
    query_rank_decay: float = key(
        0.0, "float >= 0", "mixed, rounds: an item at rank r of a list is drawn with weight r^-decay; 0: uniformly"
    )


class CoverageSettings(Settings):
    """Settings of the query strategy `coverage`."""

    section = "Attack"
    query_coverage: float = key(
        0.9, "float 0..1", "coverage: share of the catalogue that random sequences query before autoregressive ones"
    )


class MimicSettings(Settings):
    """Settings of the query strategy `mimic`."""

    section = "Attack"
    mimic_listed_share: float = key(
        0.5, "float 0..1", "mimic: guessed share of users' next items that the list before them has"
    )
    mimic_rank_decay: float = key(
        0.5, "float >= 0", "mimic: guessed profile of ranks: a user takes the item at rank r with weight r^-decay"
    )


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


class RoundsSettings(Settings):
    """Settings of the attacker `rounds`."""

    section = "Attack"
    attacker_rounds: int = key(5, "int >= 1", "rounds: number of rounds; each trains a surrogate on the log so far")
    attacker_reproduced: float = key(
        0.8, "float 0..1", "rounds: agreement@10 with its latest lists from which on a sequence is not extended"
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
    surrogate_model: Any = key(
        None,
        "models or None",
        "architecture of the surrogate; of several the one that agrees best with held-out queries; None: the target's",
    )
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
    surrogate_min_steps: int = key(
        20, "int >= 1", "steps of an epoch at least: fewer lists per step where surrogate_batch_size leaves fewer"
    )
    surrogate_patience: int = key(
        3, "int >= 0", "epochs without a better loss on held-out queries that training survives; the next one ends it"
    )


class EnsembleSettings(Settings):
    """The size of the surrogate."""

    section = "Attack"
    surrogate_ensemble: int = key(
        1,
        "int >= 1",
        "surrogates that the attack trains on its lists, each from a seed of its own; the mean of their scores counts",
        omit_default_from_fingerprint=True,
    )


class AveragingSettings(Settings):
    """The mean of the surrogate's weights."""

    section = "Attack"
    surrogate_averaging: float | None = key(
        None,
        "float 0<..<1 or None",
        "the surrogate is the exponential mean of its weights over the steps of its training, by this factor per step, "
        "such as 0.999; None: the last ones",
        omit_default_from_fingerprint=True,
    )
