"""Models that are causal by construction: their output after a prefix depends on the items of that prefix alone."""

import contextlib

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_gro.scoring.base import register_scorer
from recbole_gro.scoring.sequences import outputs_after
from recbole_gro.scoring.trimmed import TrimmedScorer
from recbole_gro.utils.patching import replaced

# fields of a training batch of whole sequences, [N] each: places in the flattened sequences after which the next item
# is predicted, and these next items
SLOTS, NEXT_ITEMS = "predicted_slots", "predicted_items"


@register_scorer("FDSA")
@register_scorer("GRU4RecF")
@register_scorer("SASRec")
@register_scorer("SASRecF")
class CausalScorer(TrimmedScorer):
    """Score all prefixes of a sequence from one forward pass.

    Such models of RecBole compute an output at every position and then select the last one with `gather_indexes`; here
    it selects those of all prefixes. N training positions of a batch of whole sequences are those of `SLOTS`.
    """

    relies_on = TrimmedScorer.relies_on | {"gather_indexes", "get_attention_mask"}
    all_prefixes_at_once = True

    def loss(self, interaction: Interaction) -> Tensor:
        if SLOTS not in interaction:
            return super().loss(interaction)
        with self._outputs_of(interaction), self.in_blocks():
            positives = {self.model.POS_ITEM_ID: interaction[NEXT_ITEMS]}
            return self.model.calculate_loss(Interaction({**interaction.interaction, **positives}))

    def position_scores(self, interaction: Interaction) -> Tensor:
        if SLOTS not in interaction:
            return super().position_scores(interaction)
        with self._outputs_of(interaction):
            return self._scores_of(interaction)

    def positives(self, interaction: Interaction) -> Tensor:
        return interaction[NEXT_ITEMS] if SLOTS in interaction else super().positives(interaction)

    def contexts(self, interaction: Interaction) -> tuple[Tensor, Tensor]:
        sequences, lengths = super().contexts(interaction)
        if SLOTS not in interaction:
            return sequences, lengths
        rows, places = self._split(interaction)
        return sequences[rows] * (
            torch.arange(sequences.shape[1], device=rows.device) <= places.unsqueeze(1)
        ), places + 1

    def positions_of_rows(self, batch: Interaction) -> Tensor:
        positions = super().positions_of_rows(batch)
        return self._split(batch)[0].bincount(minlength=len(positions)) if SLOTS in batch else positions

    def part_of_batch(self, batch: Interaction, rows: slice) -> Interaction:
        if SLOTS not in batch:
            return super().part_of_batch(batch, rows)
        row, _ = self._split(batch)
        inside = (row >= rows.start) & (row < rows.stop)
        slots = batch[SLOTS][inside] - rows.start * batch[self.model.ITEM_SEQ].shape[1]
        flat = {SLOTS: slots, NEXT_ITEMS: batch[NEXT_ITEMS][inside]}
        return Interaction({name: flat[name] if name in flat else batch[name][rows] for name in batch.interaction})

    def prefix_scores(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        n, width = sequences.shape
        if width > self.longest:
            return super().prefix_scores(sequences, lengths)
        rows = torch.arange(n, device=sequences.device).repeat_interleave(lengths.shape[1])
        with self._replaced_outputs(sequences, lengths.new_full((n,), width), rows, lengths.flatten() - 1):
            return self._scores_after(sequences, lengths)

    def _split(self, interaction: Interaction) -> tuple[Tensor, Tensor]:
        """Return the rows [N] and the places in them [N] of the training positions."""
        slots, width = interaction[SLOTS], interaction[self.model.ITEM_SEQ].shape[1]
        return slots // width, slots % width

    def _outputs_of(self, interaction: Interaction) -> contextlib.AbstractContextManager[None]:
        return self._replaced_outputs(*super().contexts(interaction), *self._split(interaction))

    def _replaced_outputs(
        self, sequences: Tensor, lengths: Tensor, rows: Tensor, places: Tensor
    ) -> contextlib.AbstractContextManager[None]:
        """Let the model's forward pass return `outputs_at` these places, whatever its input."""
        outputs = self.outputs_at(sequences, lengths, rows, places)
        return replaced(self.model, "forward", lambda *_: outputs)

    def outputs_at(self, sequences: Tensor, lengths: Tensor, rows: Tensor, places: Tensor) -> Tensor:
        """Return the model's outputs [N, H] after items `places` [N] of rows `rows` [N] of sequences [B, L]."""
        with (
            self.fused(),
            replaced(self.model, "gather_indexes", lambda outputs, _: outputs_after(outputs, rows, places)),
        ):
            return self.model(sequences, lengths)
