"""Model extraction attacks: a black box, query strategies, a surrogate trained on the query log, and attackers."""

# import what registers itself
from recbole_gro.attack import crawl, few_shot, filtered, head, mimic, oracle, repeat, rounds  # noqa: F401
from recbole_gro.attack.attacker import (
    STRONGEST,
    Attacker,
    attacks_of,
    create_attacker,
    query_budget,
    query_length,
    register_attacker,
)
from recbole_gro.attack.black_box import BlackBox, BudgetSpent, ListSource
from recbole_gro.attack.query_strategies import QueryStrategy, create_query_strategy, register_query_strategy
from recbole_gro.attack.selection import suite_agreement
from recbole_gro.attack.surrogate_model import create_surrogate
from recbole_gro.attack.surrogate_trainer import ExtractionTrainer

__all__ = [
    "STRONGEST",
    "Attacker",
    "BlackBox",
    "BudgetSpent",
    "ExtractionTrainer",
    "ListSource",
    "QueryStrategy",
    "attacks_of",
    "create_attacker",
    "create_query_strategy",
    "create_surrogate",
    "query_budget",
    "query_length",
    "register_attacker",
    "register_query_strategy",
    "suite_agreement",
]
