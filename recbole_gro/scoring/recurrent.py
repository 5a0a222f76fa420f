"""Models around one GRU: a sequence that grew by one item costs one step."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor, nn

from recbole_gro.scoring.base import register_scorer
from recbole_gro.scoring.causal import CausalScorer
from recbole_gro.scoring.trimmed import TrimmedScorer
from recbole_gro.utils.patching import replaced

# of a sequence, per call of NARM's attention: more are fewer calls, with more padding and memory
PREFIXES_AT_ONCE = 8


@dataclass
class Carried:
    """Hold the state of a GRU after the items that it has read.

    Attributes:
        outputs: [B, t, H] its output after each item.
        hidden: [layers, B, H] its state after the last one.
    """

    outputs: Tensor
    hidden: Tensor


class RecurrentScorer(TrimmedScorer):
    """Score sequences that extend those of an earlier call."""

    def __init__(self, model: SequentialRecommender):
        super().__init__(model)
        self.gru = next(module for module in model.modules() if isinstance(module, nn.GRU))

    def extended_scores(self, carried: Carried | None, items: Tensor) -> tuple[Tensor, Carried]:
        """Return scores [B, n_items] after `carried` and then `items` [B, t] without padding, and the state then."""
        read = 0 if carried is None else carried.outputs.shape[1]
        query = {
            self.model.ITEM_SEQ: items,
            self.model.ITEM_SEQ_LEN: items.new_full((len(items),), read + items.shape[1]),
        }
        with self._continued_from(carried) as states:
            scores = self.model.full_sort_predict(Interaction(query)).view(-1, self.n_items)
        return scores, states[-1]

    @contextlib.contextmanager
    def _continued_from(self, carried: Carried | None) -> Iterator[list[Carried]]:
        """Let the model's GRU start from `carried` and return the outputs of all items; yield the states it reaches."""
        states: list[Carried] = []

        def start(_, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | None]:
            return inputs[0], None if carried is None else carried.hidden

        def finish(_, __, output: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            outputs, hidden = output
            states.append(Carried(outputs if carried is None else torch.cat([carried.outputs, outputs], 1), hidden))
            return states[-1].outputs, hidden

        with self.gru.register_forward_pre_hook(start), self.gru.register_forward_hook(finish):
            yield states


@register_scorer("GRU4Rec")
class GRU4RecScorer(RecurrentScorer, CausalScorer):
    """Score with GRU4Rec, which reads the GRU's output at the last item."""


@register_scorer("NARM")
class NARMScorer(RecurrentScorer):
    """Score with NARM: its GRU and the first layer of its attention run once, the rest once per prefix."""

    all_prefixes_at_once = True

    def prefix_scores(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        n, width = sequences.shape
        if width > self.longest:
            return super().prefix_scores(sequences, lengths)
        with self._continued_from(None) as states:
            self.model(sequences, lengths.new_full((n,), width))
        outputs, read = states[0].outputs, torch.arange(width, device=sequences.device)
        first_layer = self.model.a_1(outputs)
        scores = []
        for t in lengths.split(PREFIXES_AT_ONCE, 1):
            # padding after a prefix has no weight in NARM: cut where reading the lengths does not wait for a GPU
            longest, times = int(t.max()) if t.is_cpu else width, t.shape[1]
            prefixes = sequences[:, None, :longest] * (read[:longest] < t.unsqueeze(2))  # [n, times, longest]
            with (
                _returns(self.gru, (outputs[:, :longest].repeat_interleave(times, 0), None)),
                _returns(self.model.a_1, first_layer[:, :longest].repeat_interleave(times, 0)),
            ):
                scores.append(self._scores_after(prefixes.flatten(0, 1), t.flatten()).view(n, times, -1))
        return torch.cat(scores, 1).flatten(0, 1)


def _returns(layer: nn.Module, result: Any) -> contextlib.AbstractContextManager:
    """Let a layer return `result`, whatever its input."""
    return replaced(layer, "forward", lambda _: result)
