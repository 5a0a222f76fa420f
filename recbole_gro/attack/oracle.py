"""An attack with the training histories of all users: the limit of what better queries can bring."""

import torch
from torch import Generator, Tensor

from recbole_gro.attack.attacker import Attacker, query_budget, query_length, register_attacker
from recbole_gro.attack.black_box import ListSource
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.scoring.sequences import keep_recent
from recbole_gro.utils.errors import UserError

STEP = 5  # every length is a multiple of it, so that a surrogate reads as many prefixes of a sequence at once


@register_attacker("oracle")
class OracleAttacker(Attacker):
    """Query with the training histories of random users until the budget is spent; no sequence is extended.

    A history becomes a query sequence: its most recent items, up to `query_length`, as many as are a multiple of 5.
    Shorter histories are skipped. No attack has these queries; it is a reference for those that have to generate them.

    Raises:
        UserError: fewer than two histories are long enough, of which one is held out.
    """

    settings = ()
    summary = "queries training histories of random users, which no attack has: the limit of better queries"
    auxiliary_share = 1.0
    sequence_source = "real"

    def query(
        self, black_box: ListSource, generator: Generator, auxiliary: Tensor | None = None, show_progress: bool = False
    ) -> QueryLog:
        if auxiliary is None:
            raise ValueError("oracle: no histories; its auxiliary data are those of all users")
        width, known = query_length(self.config), auxiliary[torch.randperm(len(auxiliary), generator=generator)]
        step, owned = min(STEP, width), (known != 0).sum(1)
        lengths = owned.clamp(max=width) // step * step
        left = query_budget(self.config) - (lengths.cumsum(0) - lengths)
        lengths = torch.minimum(lengths, left.clamp(min=0)) // step * step
        queried = lengths > 0
        if int(queried.sum()) < 2:
            raise UserError(f"attacker: oracle needs two users with {step} or more training items; take another one")
        known, owned, lengths = known[queried], owned[queried], lengths[queried]
        sequences = torch.zeros(len(known), width, dtype=torch.long)
        lists = torch.zeros(len(known), width, black_box.k, dtype=torch.int32)
        for length in lengths.unique().tolist():
            rows = lengths == length
            histories, _ = keep_recent(known[rows], owned[rows], length, length)
            log = self.strategy.extend(black_box, histories, generator, show_progress)
            sequences[rows, :length], lists[rows, :length] = log.sequences, log.lists
        return QueryLog(sequences, lists)
