"""The public names, imported at the first use of one: --help and the completion of words need no torch."""

from recbole_gro.utils import compat  # noqa: F401, I001  (first: RecBole on today's libraries)

from recbole_gro.attack import (
    Attacker,
    BlackBox,
    BudgetSpent,
    ExtractionTrainer,
    create_attacker,
    create_query_strategy,
    QueryStrategy,
    create_surrogate,
    register_attacker,
    register_query_strategy,
)
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.config.config import Config
from recbole_gro.config.settings import Settings, key
from recbole_gro.defense import (
    DecoyGROTrainer,
    Defense,
    GROTrainer,
    SwapRule,
    create_defense,
    register_defense,
    register_swap_rule,
)
from recbole_gro.detection import Detector, create_detector, register_detector
from recbole_gro.evaluator import agree_with, register_metric
from recbole_gro.objective.extraction import extraction_loss, sample_negatives
from recbole_gro.objective.swap import swap_loss, swap_targets
from recbole_gro.quick_start.run import run_recbole_gro
from recbole_gro.scoring import create_scorer, register_scorer
from recbole_gro.serving.saved_target import SavedTarget, load_target
from recbole_gro.serving.service import Service
from recbole_gro.trainer.base import get_trainer, register_trainer
from recbole_gro.utils.errors import UserError

__all__ = [
    "Attacker",
    "BlackBox",
    "BudgetSpent",
    "Config",
    "DecoyGROTrainer",
    "Defense",
    "Detector",
    "ExtractionTrainer",
    "GROTrainer",
    "QueryLog",
    "QueryStrategy",
    "SavedTarget",
    "Service",
    "Settings",
    "SwapRule",
    "UserError",
    "agree_with",
    "create_attacker",
    "create_defense",
    "create_detector",
    "create_query_strategy",
    "create_scorer",
    "create_surrogate",
    "extraction_loss",
    "get_trainer",
    "key",
    "load_target",
    "register_attacker",
    "register_defense",
    "register_detector",
    "register_metric",
    "register_query_strategy",
    "register_scorer",
    "register_swap_rule",
    "register_trainer",
    "run_recbole_gro",
    "sample_negatives",
    "swap_loss",
    "swap_targets",
]
