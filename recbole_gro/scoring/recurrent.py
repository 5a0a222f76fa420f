"""Models around one GRU: a sequence that grew by one item costs one step."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor, nn

from recbole_gro.scoring.base import register_scorer
from recbole_gro.scoring.causal import CausalScorer
from recbole_gro.scoring.sequences import length_groups, outputs_after, rows_at
from recbole_gro.scoring.trimmed import TrimmedScorer


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
class NARMScorer(RecurrentScorer, CausalScorer):
    """Score with NARM: its GRU reads a sequence once, its attention weighs the items up to each place.

    The attention is Eq. 8 of Li et al., CIKM'17 (arXiv 1711.04725), whose weights do not sum to 1.
    """

    def outputs_at(self, sequences: Tensor, lengths: Tensor, rows: Tensor, places: Tensor) -> Tensor:
        model = self.model
        with self._continued_from(None) as states:
            model(sequences, lengths)
        read = states[0].outputs
        last, first_layer = outputs_after(read, rows, places), model.a_1(read)
        parts, local = length_groups(places + 1, read.shape[1]), []
        for part, width in parts:
            weights = model.v_t(
                torch.sigmoid(rows_at(first_layer[:, :width], rows[part]) + model.a_2(last[part]).unsqueeze(1))
            )
            seen = torch.arange(width, device=places.device) <= places[part].unsqueeze(1)
            local.append(((weights * seen.unsqueeze(2)) * rows_at(read[:, :width], rows[part])).sum(1))
        if len(parts) > 1:
            local = [torch.cat(local)[torch.cat([part for part, _ in parts]).argsort()]]
        return model.b(model.ct_dropout(torch.cat([*local, last], 1)))
