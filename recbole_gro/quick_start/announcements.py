"""What the log of a run says before and after a stage."""

from recbole_gro.attack import Attacker, BlackBox, query_length
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.utils import units
from recbole_gro.utils.log import console


def announce_target(config: ConfigLike, rows: int) -> None:
    """Log what the training of a target starts from.

    Args:
        config: of the run.
        rows: number of training rows.
    """
    console.info(
        f"target: {config['model']} trains on {rows} rows for at most {config['epochs']} "
        f"epochs, with early stopping on validation {config['valid_metric']}"
    )


def report_target(metric: str, best: float, epochs: int, still_improving: bool) -> None:
    """Log how the training of a target ended.

    Args:
        metric: name of the metric that early stopping watches.
        best: its best value.
        epochs: number of epochs trained.
        still_improving: whether the maximum number of epochs ended the training before early stopping.
    """
    console.info(
        f"target: best validation {metric} {units.with_unit(metric, best)} after {epochs} epochs"
        + (", its maximum, before early stopping" if still_improving else "")
    )


def announce_attack(attack: str, name: str, attacker: Attacker, black_box: BlackBox, longest: int) -> None:
    """Log what an attack queries, and warn of sequences of which the target reads a part.

    Args:
        attack: its name.
        name: of the defense that it attacks.
        attacker: made for it.
        black_box: that it queries.
        longest: most items of a sequence that the target reads.
    """
    kind, length = attacker.sequence_source or attacker.strategy_name, query_length(attacker.config)
    repeats = "" if attacker.repeats == 1 else f", every prefix {attacker.repeats} times"
    console.info(f"attack on {name}: {attack}: {attacker.summary}")
    console.info(
        f"attack on {name}: {kind} sequences of at most {length} items{repeats}, {black_box.budget} lists of "
        f"{black_box.k} at most"
    )
    if length > longest:
        console.warning(
            f"query_length: of the {length} items of a sequence the target reads the last {longest}; shorter sequences "
            "query more different histories with the same budget"
        )
