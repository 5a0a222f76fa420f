"""What our trainers share: checkpoints of plain data, resuming, and the registry of trainers."""

from recbole_gro.trainer.base import StageTrainer, TargetTrainer, get_trainer, register_trainer

__all__ = ["StageTrainer", "TargetTrainer", "get_trainer", "register_trainer"]
