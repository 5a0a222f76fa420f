"""Ours: a minimum number of optimizer steps of the GRO phase (`gro_steps`)."""

import math

from recbole_gro.defense.gro.callback import GROCallback, register_callback


@register_callback("gro_steps")
class MinimumSteps(GROCallback):
    """Raise the number of GRO epochs to the smallest with `gro_steps` steps."""

    settings = ()

    def on_phase_start(self, trainer, train_data, valid_data):
        trainer.gro_epochs = max(trainer.gro_epochs, math.ceil(self.value / len(train_data)))
