"""What the provider runs: a trained model that answers an item sequence with a list."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recbole_gro.scoring import create_scorer, pad_sequences
from recbole_gro.scoring.sequences import keep_recent
from recbole_gro.serving import settings  # noqa: F401  (declares the keys)
from recbole_gro.serving.session import Session
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.ranking import top_k

SCORES_AT_ONCE = 2**24  # entries of the score table held at a time (64 MiB in float32)
ROWS_AT_ONCE = 1024  # sequences run through the model at a time
ROWS_REMEMBERED = 2**13  # sequences of a query at most whose state is kept for the next one (200 MiB of 50 x 128)


@dataclass(frozen=True)
class Query:
    """The part of a query that is scored at a time: B histories, and what the model made of them.

    Attributes:
        sequences: [B, L] the items that the model reads of each history (its most recent ones, where it is longer),
            padded right with 0; on the device that they were asked from.
        lengths: [B] items in each.
        scores: [B, n_items] of the next item; not to be written to.
    """

    sequences: Tensor
    lengths: Tensor
    scores: Tensor


Output = Callable[[Tensor, Query], Tensor]


def as_ranked(ranked: Tensor, asked: Query) -> Tensor:
    """The output step of a service that shows its ranking as it is."""
    return ranked


def refuse_nan(highest: Tensor, model) -> None:
    """UserError where one of the highest scores [B, 1] is NaN; NaN ranks first, so none hides below it.

    On a GPU this waits for the lists, once a query, when all of them are under way.
    """
    if bool(highest.isnan().any()):
        name = type(model).__name__
        raise UserError(f"model: the scores of {name} are NaN, so there is no list to serve; its training went wrong")


class Service:
    """A model and what is done to its lists before they are shown.

    Args:
        model: any trained RecBole sequential model.
        k: length of a list.
        output: from ranked [B, k] and what was asked to served [B, k], the output side of a defense (its `answer`).

    Raises:
        UserError: lists longer than the catalogue.
    """

    def __init__(self, model, k: int = 100, output: Output = as_ranked):
        self.model, self.k, self.output = model, k, output
        self.scorer = create_scorer(model)
        self._sessions: dict[int, Session] = {}
        self.n_items: int = model.n_items
        if not 1 <= k < self.n_items:
            raise UserError(f"served_k: {k} is not between 1 and the {self.n_items - 1} items of the catalogue")

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @torch.no_grad()
    def recommend(self, sequences: Any) -> Tensor:
        """[B, k] item ids, best first, for sequences [B, L] padded right with 0 or a list of id lists.

        Where a defense cuts lists short, 0 stands in place of the items left out, at the end.

        Raises:
            ValueError: no integers, an empty sequence, padding before an item, or an id outside the catalogue.
            UserError: the model's scores are NaN.
        """
        answers = [self._answered(*chunk) for chunk in self._chunks(sequences)]
        lists, highest = (torch.cat(parts) for parts in zip(*answers, strict=True))
        refuse_nan(highest, self.model)
        return lists

    def histories(self, sequences: Any) -> tuple[Tensor, Tensor]:
        """Item ids [B, L] padded right with 0 and lengths [B] of a query.

        Raises:
            ValueError: as `recommend`.
        """
        padded, lengths = pad_sequences(sequences)
        if bool((padded < 0).any()) or bool((padded >= self.n_items).any()):
            raise ValueError(f"item ids lie between 1 and {self.n_items - 1}")
        return padded, lengths

    @torch.no_grad()
    def follow(self, sequences: Any) -> None:
        """Be where answering `sequences` leaves this service, for a query whose answer is known from before.

        A model around a GRU remembers what it was asked; its next scores, made from nothing, would differ in the last
        bits. The defense is not called.
        """
        for session, part, _ in self._chunks(sequences):
            session.follow(*part)

    def _chunks(self, sequences: Any) -> Iterator[tuple[Session, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]]:
        """A query in parts that are scored at a time: the part's session, sequences and lengths, and what is read."""
        # looked at before they go to a GPU, so that nothing waits for it
        sequences, lengths = self.histories(sequences)
        self.model.eval()
        rows = max(1, min(ROWS_AT_ONCE, SCORES_AT_ONCE // self.n_items))
        parts = zip(sequences.to(self.device).split(rows), lengths.to(self.device).split(rows), strict=True)
        read = zip(*(ids.split(rows) for ids in self._read(sequences, lengths)), strict=True)
        remembered = len(sequences) <= ROWS_REMEMBERED
        for i, (part, seen) in enumerate(zip(parts, read, strict=True)):
            yield self._session(i, remembered), part, seen

    def _answered(self, session: Session, part: tuple[Tensor, Tensor], read: tuple[Tensor, Tensor]):
        """[B, k] the lists of a part of a query, and [B, 1] the highest score of each.

        The scores are gone before those of the next part are computed.
        """
        scores = session.scores(*part)
        ranked = top_k(scores, self.k)
        return self.output(ranked, Query(*read, scores)), scores.gather(1, ranked[:, :1])

    def _read(self, sequences: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What the model reads of sequences [B, L] of lengths [B]: their most recent items, where they are longer."""
        longest = self.scorer.longest
        longer = sequences.shape[1] > longest
        return keep_recent(sequences, lengths, longest, longest) if longer else (sequences, lengths)

    def _session(self, part: int, remembered: bool) -> Session:
        """Histories are asked about again, longer by an item each time; every part of a query goes on from its last."""
        return self._sessions.setdefault(part, Session(self.scorer)) if remembered else Session(self.scorer)
