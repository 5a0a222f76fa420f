"""The base class of trainers, their checkpoints, and their registry."""

from recbole_gro.trainer.base import StageTrainer, TargetTrainer, get_trainer, register_trainer

__all__ = ["StageTrainer", "TargetTrainer", "get_trainer", "register_trainer"]
