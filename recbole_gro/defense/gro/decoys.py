"""Ours: GRO that raises the same decoys into every list below its head, and holds the other items (`gro_decoys`)."""

from typing import Any, ClassVar

from recbole_gro.defense.base import register_defense
from recbole_gro.defense.gro.defense import GRODefense
from recbole_gro.defense.gro.trainer import GROTrainer
from recbole_gro.trainer.base import register_trainer

STEPS = 1520  # 40 epochs of ml-100k's windows


@register_trainer("gro_decoys")
class DecoyGROTrainer(GROTrainer):
    """Train with settings that are settings of `gro` too; results/effect.md says how they were chosen.

    The swap loss raises one set of items, those that the student scores lowest after an epoch, into every list below
    its first `gro_head_k` positions (`gro_swap: decoys`). The target's own loss is replaced by its divergence from the
    converged target over the other items (`gro_target_loss: hold`), so the head of a list stays. The learning rate
    falls to 0 (`gro_decay`); without it the decoys move by more than the gap below the head. Training takes at least
    1520 steps unless `gro_steps` is set.

    Args:
        config: RecBole's Config or ours; settings of this plugin that RecBole's lacks take our defaults.
        model: the target, any RecBole sequential model.
    """

    stage = "target-gro_decoys"
    overrides: ClassVar[dict[str, Any]] = {
        "gro_start": "converged",
        "gro_swap": "decoys",
        "gro_target_loss": "hold",
        "gro_decay": True,
        "gro_lambda": 0.1,
    }

    @classmethod
    def effective_settings(cls, config):
        settings = super().effective_settings(config)
        settings.gro_steps = settings.gro_steps or STEPS
        return settings


@register_defense("gro_decoys")
class DecoyGRODefense(GRODefense):
    """Serve a copy of the converged target, fine-tuned by DecoyGROTrainer."""

    summary = "ours: a copy of the target is trained to list the same decoys below the head of every list"
    trainer = DecoyGROTrainer
