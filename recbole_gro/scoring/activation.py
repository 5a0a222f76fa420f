"""GELU of RecBole's transformer layers as one kernel, while a scorer runs the model."""

import contextlib
import threading
from collections.abc import Iterator
from weakref import WeakKeyDictionary

from recbole.model.layers import FeedForward
from torch import nn
from torch.nn import functional

_passes: WeakKeyDictionary[FeedForward, int] = WeakKeyDictionary()  # that each layer takes part in at the moment
_lock = threading.Lock()


def gelu_layers(model: nn.Module) -> list[FeedForward]:
    """Return the layers of a model that compute GELU as RecBole spells it out."""
    layers = [module for module in model.modules() if isinstance(module, FeedForward)]
    with _lock:
        return [layer for layer in layers if layer in _passes or layer.intermediate_act_fn == layer.gelu]


@contextlib.contextmanager
def fused_gelu(layers: list[FeedForward]) -> Iterator[None]:
    """Compute the GELU of layers in one pass over memory inside the block, where RecBole needs five.

    The passes are counted, so that none of several threads changes the function while another runs the model.
    """
    _count(layers, 1)
    try:
        yield
    finally:
        _count(layers, -1)


def _count(layers: list[FeedForward], change: int) -> None:
    with _lock:
        for layer in layers:
            passes = _passes.pop(layer, 0) + change
            layer.intermediate_act_fn = functional.gelu if passes else layer.gelu
            if passes:
                _passes[layer] = passes
