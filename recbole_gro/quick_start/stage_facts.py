"""Facts about query logs and surrogates that rows of results hold."""

from typing import Any

from torch import Tensor

from recbole_gro.attack import Attacker, ExtractionTrainer
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.config.models import reference_to


def query_facts(attacker: Attacker, log: QueryLog, auxiliary: Tensor | None, lists_returned: int) -> dict[str, Any]:
    """Return the facts about the query log of an attack.

    Args:
        attacker: that queried.
        log: what it received.
        auxiliary: its auxiliary data [U, L]; None without any.
        lists_returned: number of lists that the black box returned.
    """
    return {
        "query_strategy": attacker.sequence_source or attacker.strategy_name,
        "query_sequences": len(log.sequences),
        "auxiliary_sequences": 0 if auxiliary is None else min(len(auxiliary), len(log.sequences)),
        "repeats": attacker.repeats,
        "lists_returned": lists_returned,
    }


def surrogate_facts(trainer: ExtractionTrainer, attacker: Attacker) -> dict[str, Any]:
    """Return the facts about a trained surrogate.

    Args:
        trainer: of the surrogate that the attack kept.
        attacker: that trained it.
    """
    return {
        "surrogate_model": reference_to(trainer.config.model_class),
        "surrogate_epochs": len(trainer.train_loss_dict),
        "held_out": trainer.best_valid_result,
        "held_out_untrained": trainer.untrained_loss,
        "surrogate_improved": trainer.improved,
        "surrogate_still_improving": trainer.still_improving,
        "selected_hyperparameters": attacker.selected,
    }
