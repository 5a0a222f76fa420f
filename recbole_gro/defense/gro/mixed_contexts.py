"""Ours: losses of GRO after prefixes of mixed queries too, besides the training positions (`gro_contexts: mixed`)."""

import math

import torch
from torch import Tensor

from recbole_gro.attack import BlackBox, create_query_strategy
from recbole_gro.attack.settings import MixedSettings
from recbole_gro.defense.gro.callback import GROCallback, register_callback
from recbole_gro.defense.gro.hold import as_served

SEQUENCES_PER_STEP = 8  # of an epoch; of 50 items, they have about as many prefixes as a batch has positions


@register_callback("gro_contexts")
class MixedContexts(GROCallback):
    """Add prefixes of sequences that the target's own lists lead through, as an adversary's mixed queries do.

    The sequences are generated anew in every epoch, from the lists of the target at that time: an adversary queries
    the defended model, whose lists have decoys.
    """

    settings = ()
    off = "training"
    reads = (MixedSettings,)
    sequences: Tensor | None = None
    epoch = -1

    def on_phase_start(self, trainer, train_data, valid_data):
        self.n_sequences = SEQUENCES_PER_STEP * len(train_data)

    def contexts(self, trainer, interaction):
        if self.sequences is None or self.epoch != trainer.epoch:
            # at an epoch's first step, since a resume checkpoint has the random state before it
            self.epoch, self.sequences = trainer.epoch, self._generated(trainer)
        positions = trainer.scorer.positions_of_rows(interaction)
        if not positions.any():  # a batch of short prefixes without a masked item
            return None
        rows = torch.randint(len(self.sequences), (len(positions),))
        per_row = -(-int(positions.sum()) // len(positions))
        # log-uniform: an adversary may send short sequences alone, and long prefixes cost more
        longest = self.sequences.shape[1]
        lengths = (torch.rand(len(positions), per_row) * math.log(longest + 1)).exp().long().clamp(1, longest)
        return self.sequences[rows].to(trainer.device), lengths.to(trainer.device)

    def _generated(self, trainer) -> Tensor:
        """Return sequences [S, max_seq_length] of mixed queries to the target as it is now."""
        strategy = create_query_strategy("mixed", vars(MixedSettings.of(trainer.config)))
        # a seed of its own, so that no draw is one of the attack's
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        with as_served(trainer.model):
            black_box = BlackBox(trainer.model, trainer.served_k)
            return strategy.query(black_box, self.n_sequences, trainer.scorer.max_length, generator).sequences

    def on_phase_end(self):
        self.sequences = None
