"""Defenses: on the served list (none, random, reverse) and in training (gro, gro_decoys)."""

from recbole_gro.defense.base import Defense, create_defense, register_defense
from recbole_gro.defense.gro import GRODefense, GROTrainer, create_student
from recbole_gro.defense.gro_decoys import DecoyGROTrainer
from recbole_gro.defense.ranking import NoDefense, RandomDefense, ReverseDefense
from recbole_gro.defense.swap_rule import SwapRule, register_swap_rule

__all__ = [
    "DecoyGROTrainer",
    "Defense",
    "GRODefense",
    "GROTrainer",
    "NoDefense",
    "RandomDefense",
    "ReverseDefense",
    "SwapRule",
    "create_defense",
    "create_student",
    "register_defense",
    "register_swap_rule",
]
