"""A run from top to bottom: target, defense, attack, evaluation."""

from recbole_gro.quick_start.run import run_recbole_gro

__all__ = ["run_recbole_gro"]
