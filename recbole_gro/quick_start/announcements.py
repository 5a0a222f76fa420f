"""What the log of a run says before a stage."""

from recbole_gro.attack import Attacker, BlackBox, query_length
from recbole_gro.utils.log import console


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
