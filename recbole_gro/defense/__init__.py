"""Defenses: on the served list (none, random, reverse; those that keep its head) and in training (gro, .., aow)."""

from recbole_gro.defense.base import Defense, register_defense
from recbole_gro.defense.combined import CombinedDefense, create_defense
from recbole_gro.defense.gro.decoys import DecoyGROTrainer
from recbole_gro.defense.gro.defense import GRODefense
from recbole_gro.defense.gro.swap_rules import SwapRule, register_swap_rule
from recbole_gro.defense.gro.trainer import GROTrainer, create_student
from recbole_gro.defense.list_level import NoDefense, RandomDefense, ReverseDefense
from recbole_gro.defense.marks.aow import AOWTrainer
from recbole_gro.defense.tail import TailDecoy, TailRandom, TailShuffle, Truncate

__all__ = [
    "AOWTrainer",
    "CombinedDefense",
    "DecoyGROTrainer",
    "Defense",
    "GRODefense",
    "GROTrainer",
    "NoDefense",
    "RandomDefense",
    "ReverseDefense",
    "SwapRule",
    "TailDecoy",
    "TailRandom",
    "TailShuffle",
    "Truncate",
    "create_defense",
    "create_student",
    "register_defense",
    "register_swap_rule",
]
