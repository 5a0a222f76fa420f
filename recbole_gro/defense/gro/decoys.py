"""GRO as we mended it (not the paper's): the same decoys below the head of every list, the rest held as it was."""

from typing import Any, ClassVar

from recbole_gro.defense.base import register_defense
from recbole_gro.defense.gro.defense import GRODefense
from recbole_gro.defense.gro.trainer import GROTrainer
from recbole_gro.trainer.base import register_trainer


@register_trainer("gro_decoys")
class DecoyGROTrainer(GROTrainer):
    """GROTrainer with the settings that results/effect.md arrived at; all of them are keys that `gro` reads too.

    The swap loss draws one set of items, those that a student scores lowest after an epoch, into every list below its
    first `gro_head_k` positions (`gro_swap: decoys`). In place of the target's own loss stands its distance from the
    converged target over the other items (`gro_target_loss: hold`), so the head of a list stays. The learning rate
    falls to 0 (`gro_decay`), or the decoys would jitter by more than the room there is below the head; and it takes
    its time (`gro_steps`: 40 epochs of ml-100k's windows), or they are still on their way there.

    Args:
        config: RecBole's Config or ours; keys of this plugin that a plain one lacks take our defaults.
        model: the target, any RecBole sequential model.
    """

    stage = "target-gro_decoys"
    least_steps = 1520
    chosen: ClassVar[dict[str, Any]] = {
        "gro_start": "converged",
        "gro_swap": "decoys",
        "gro_target_loss": "hold",
        "gro_decay": True,
        "gro_lambda": 0.1,
    }


@register_defense("gro_decoys")
class DecoyGRODefense(GRODefense):
    """A copy of the converged target, fine-tuned by DecoyGROTrainer; its ranking is served as it is."""

    summary = "ours: a copy of the target is trained to list the same decoys below the head of every list"
    trainer = DecoyGROTrainer
