"""Model extraction attacks: a black box, query strategies, a surrogate trained on the query log, and attackers."""

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
from recbole_gro.attack.candidates import suite_agreement
from recbole_gro.attack.few_shot import FewShotAttacker
from recbole_gro.attack.filtered import FilteredAttacker
from recbole_gro.attack.head import HeadAttacker
from recbole_gro.attack.mimic import Mimic
from recbole_gro.attack.oracle import OracleAttacker
from recbole_gro.attack.query_strategies import QueryStrategy, create_query_strategy, register_query_strategy
from recbole_gro.attack.repeat import RepeatAttacker
from recbole_gro.attack.rounds import RoundsAttacker
from recbole_gro.attack.surrogate_model import create_surrogate
from recbole_gro.attack.surrogate_trainer import ExtractionTrainer

__all__ = [
    "STRONGEST",
    "Attacker",
    "BlackBox",
    "BudgetSpent",
    "ExtractionTrainer",
    "FewShotAttacker",
    "FilteredAttacker",
    "HeadAttacker",
    "ListSource",
    "Mimic",
    "OracleAttacker",
    "QueryStrategy",
    "RepeatAttacker",
    "RoundsAttacker",
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
