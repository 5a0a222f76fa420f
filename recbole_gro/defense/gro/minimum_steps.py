"""Ours: a GRO phase of at least so many optimizer steps (`gro_steps`)."""

import math

from recbole_gro.defense.gro.callback import GROCallback, register_callback


@register_callback("gro_steps")
class MinimumSteps(GROCallback):
    """Raise the number of GRO epochs to the fewest that take `gro_steps` steps."""

    def on_phase_start(self, trainer, train_data, valid_data):
        trainer.gro_epochs = max(trainer.gro_epochs, math.ceil(self.value / len(train_data)))
