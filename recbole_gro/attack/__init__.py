"""Model extraction attacks: a black box to ask, ways to ask it, and a surrogate trained on the answers."""

from recbole_gro.attack.black_box import BlackBox, BudgetSpent
from recbole_gro.attack.extraction import ExtractionTrainer, create_surrogate
from recbole_gro.attack.queries import create_query_strategy, register_query_strategy

__all__ = [
    "BlackBox",
    "BudgetSpent",
    "ExtractionTrainer",
    "create_query_strategy",
    "create_surrogate",
    "register_query_strategy",
]
