"""Ours: the divergence from the converged target in place of the target's own loss (`gro_target_loss: hold`)."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from recbole_gro.config.models import copied_model
from recbole_gro.defense.gro.callback import GROCallback, register_callback
from recbole_gro.objective.extensions import hold_loss
from recbole_gro.scoring import create_scorer
from recbole_gro.scoring.base import NextItemScorer


@register_callback("gro_target_loss")
class Hold(GROCallback):
    """Replace L_target of Eq. 6 by the divergence from the converged target (`hold_loss`).

    Both models score without dropout, as they are served. The swap rule's `left_out` items do not count.
    """

    settings = ()
    off = "own"
    needs_converged = "leaves gro_target_loss=hold without a converged target; set gro_target_loss=own"
    converged: NextItemScorer | None = None

    def on_phase_start(self, trainer, train_data, valid_data):
        self.converged = create_scorer(copied_model(trainer.model).eval())

    def target_loss(self, trainer, interaction):
        assert self.converged is not None
        with as_served(trainer.model):
            scores = trainer.with_contexts(trainer.scorer, trainer.scorer.position_scores(interaction))
        with torch.no_grad():
            converged = trainer.with_contexts(self.converged, self.converged.position_scores(interaction))
        return hold_loss(scores, converged, trainer.swap_rule.left_out), scores

    def on_phase_end(self):
        self.converged = None

    def resumed_parts(self):
        return {} if self.converged is None else {"converged": self.converged.model}


@contextlib.contextmanager
def as_served(model: nn.Module) -> Iterator[None]:
    """Put a model in eval mode inside the block, for forward passes that have a backward pass.

    cuDNN has no backward pass for recurrent layers in eval mode, so these stay in train mode, without their dropout.
    """
    modes = {module: module.training for module in model.modules()}
    rates = {module: module.dropout for module in modes if isinstance(module, nn.RNNBase)}
    model.eval()
    for recurrent in rates:
        recurrent.training, recurrent.dropout = True, 0.0
    try:
        yield
    finally:
        for recurrent, rate in rates.items():
            recurrent.dropout = rate
        for module, mode in modes.items():
            module.training = mode
