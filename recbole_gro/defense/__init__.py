"""Defenses: on the served list (none, random, reverse) and in training (gro)."""

from recbole_gro.defense.base import Defense, create_defense, register_defense
from recbole_gro.defense.gro import GROTrainer, create_student
from recbole_gro.defense.ranking import NoDefense, RandomDefense, ReverseDefense

__all__ = [
    "Defense",
    "GROTrainer",
    "NoDefense",
    "RandomDefense",
    "ReverseDefense",
    "create_defense",
    "create_student",
    "register_defense",
]
