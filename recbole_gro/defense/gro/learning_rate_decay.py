"""Ours: a learning rate that falls to 0 over the GRO phase (`gro_decay`)."""

from torch.optim.lr_scheduler import LambdaLR

from recbole_gro.defense.gro.callback import GROCallback, register_callback


@register_callback("gro_decay")
class LearningRateDecay(GROCallback):
    """Lower the learning rate linearly, step by step, from its first value to 0 after the last step."""

    settings = ()
    off = False
    schedule: LambdaLR | None = None

    def on_optimizer(self, trainer, steps):
        schedule = self.schedule = LambdaLR(trainer.optimizer, lambda step: 1 - step / steps)
        trainer.optimizer.register_step_post_hook(lambda *_: schedule.step())

    def resumed_parts(self):
        return {} if self.schedule is None else {"schedule": self.schedule}
