"""GRO (Zhang et al., WSDM'24): the paper's trainer and swap rule, and our variants, which register themselves."""

from recbole_gro.defense.gro.callback import GROCallback, register_callback
from recbole_gro.defense.gro.decoys import DecoyGRODefense, DecoyGROTrainer
from recbole_gro.defense.gro.defense import GRODefense
from recbole_gro.defense.gro.hold import Hold
from recbole_gro.defense.gro.learning_rate_decay import LearningRateDecay
from recbole_gro.defense.gro.minimum_steps import MinimumSteps
from recbole_gro.defense.gro.quality_constraint import QualityConstraint
from recbole_gro.defense.gro.restricted_swap import RestrictedSwap
from recbole_gro.defense.gro.swap_rules import SwapRule, create_swap_rule, register_swap_rule
from recbole_gro.defense.gro.swap_variants import AssignedSwap, AssignedTailSwap, DecoySwap
from recbole_gro.defense.gro.trainer import GROTrainer, create_student

__all__ = [
    "AssignedSwap",
    "AssignedTailSwap",
    "DecoyGRODefense",
    "DecoyGROTrainer",
    "DecoySwap",
    "GROCallback",
    "GRODefense",
    "GROTrainer",
    "Hold",
    "LearningRateDecay",
    "MinimumSteps",
    "QualityConstraint",
    "RestrictedSwap",
    "SwapRule",
    "create_student",
    "create_swap_rule",
    "register_callback",
    "register_swap_rule",
]
