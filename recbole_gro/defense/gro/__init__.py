"""GRO (Zhang et al., WSDM'24): the paper's trainer and swap rule, and our variants of them."""

from recbole_gro.defense.gro.decoys import DecoyGRODefense, DecoyGROTrainer
from recbole_gro.defense.gro.defense import GRODefense
from recbole_gro.defense.gro.swap_rules import SwapRule, create_swap_rule, register_swap_rule
from recbole_gro.defense.gro.swap_variants import AssignedSwap, AssignedTailSwap, DecoySwap
from recbole_gro.defense.gro.trainer import GROTrainer, create_student

__all__ = [
    "AssignedSwap",
    "AssignedTailSwap",
    "DecoyGRODefense",
    "DecoyGROTrainer",
    "DecoySwap",
    "GRODefense",
    "GROTrainer",
    "SwapRule",
    "create_student",
    "create_swap_rule",
    "register_swap_rule",
]
