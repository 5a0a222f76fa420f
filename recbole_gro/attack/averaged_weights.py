"""The mean of a model's weights over the steps of its training, which is validated and kept in place of the last ones.

Exponential means of weights as Polyak and Juditsky's averaging of stochastic approximation (SIAM J. Control and
Optimization 1992) and its use in deep networks (Izmailov et al., UAI 2018, arXiv 1803.05407) suggest them.
"""

from typing import Any

import torch
from torch import Tensor, nn


class AveragedWeights:
    """Keep the exponential mean of a model's weights after each step of its optimizer.

    After n steps the weights of step i count in proportion to `decay`^(n - i), those before the first step not at all.
    torch.optim.swa_utils.AveragedModel would give the first step's the share `decay`^n whatever n is, and wait for a
    GPU at each step.

    Args:
        model: whose weights are averaged.
        optimizer: of the model.
        decay: factor per step, between 0 and 1.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, decay: float):
        self.model, self.decay, self.steps = model, decay, 0
        self.mean: dict[str, Tensor] = {}
        self.trained: dict[str, Tensor] = {}  # the last step's, while the model has the mean
        optimizer.register_step_post_hook(self._take)

    @torch.no_grad()
    def _take(self, *_: Any) -> None:
        """Add the weights of a step to the mean."""
        self.steps += 1
        share = (1 - self.decay) / (1 - self.decay**self.steps)
        for name, weights in self.model.state_dict().items():
            if name in self.mean and weights.is_floating_point():
                self.mean[name].lerp_(weights, share)
            else:
                self.mean[name] = weights.clone()

    def use_mean(self) -> None:
        """Give the model the mean; its own weights are kept for `use_trained`."""
        if self.mean and not self.trained:
            self.trained = {name: weights.clone() for name, weights in self.model.state_dict().items()}
            self.model.load_state_dict(self.mean)

    def use_trained(self) -> None:
        """Give the model the weights of its last step again."""
        if self.trained:
            self.model.load_state_dict(self.trained)
            self.trained = {}

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next steps depend on."""
        return {"steps": self.steps, "mean": self.mean, "trained": self.trained}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.steps, self.mean, self.trained = state["steps"], dict(state["mean"]), dict(state["trained"])
