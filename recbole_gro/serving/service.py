"""The provider's service: a trained model that answers an item sequence with a list."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor

from recbole_gro.scoring import create_scorer, pad_sequences
from recbole_gro.scoring.sequences import keep_recent
from recbole_gro.scoring.turns import turn_of
from recbole_gro.serving import settings  # noqa: F401  (declares the keys)
from recbole_gro.serving.session import Session
from recbole_gro.utils.errors import InvalidQuery, UserError, kind_of
from recbole_gro.utils.item_lists import are_ids, fault_of_lists
from recbole_gro.utils.ranking import rows_at_once, top_k
from recbole_gro.utils.read_only import read_only

ROWS_AT_ONCE = 1024  # sequences run through the model at a time
ROWS_KEPT = 2**13  # maximum sequences of a query whose state is kept for the next one (200 MiB of 50 x 128)


@dataclass(frozen=True)
class Query:
    """Hold the part of a query that is scored at a time: B sequences and the model's scores after them.

    Attributes:
        sequences: [B, L] item ids that the model reads of each sequence (the most recent ones, where it is longer),
            padded right with 0; on the device that the query came from. Read-only, as are the others.
        lengths: [B] items in each.
        scores: [B, n_items] of the next item.
    """

    sequences: Tensor
    lengths: Tensor
    scores: Tensor

    def read_by(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Return a context manager that lets the output side of a defense read the query.

        Args:
            name: of the defense, for the message.

        Raises:
            UserError: at the end of the block, where the query was changed in place.
        """
        part = f"defense: {name}: it" if name else "defense: it"
        return read_only(part, sequences=self.sequences, lengths=self.lengths, scores=self.scores)


Output = Callable[[Tensor, Query], Tensor]


def as_ranked(ranked: Tensor, query: Query) -> Tensor:
    """Return the ranking unchanged: the output step of a service without a defense."""
    return ranked


def refuse_nan(highest: Tensor, model: SequentialRecommender) -> None:
    """Refuse a query with NaN among its highest scores [B, 1]; NaN ranks first, so no other score has to be checked.

    On a GPU this waits for the device once per query, after all lists are computed.

    Raises:
        UserError: one of them is NaN.
    """
    if bool(highest.isnan().any()):
        name = type(model).__name__
        raise UserError(f"model: the scores of {name} are NaN, so there is no list to serve; its training diverged")


def checked_lists(lists: Any, ranked: Tensor, n_items: int, name: str = "", shortens: bool = True) -> Tensor:
    """Return lists of the output side of a defense, as int64: different items [B, k], 0 at the end alone.

    Values are checked on a CPU alone; on a GPU that would wait for the device.

    Args:
        lists: what it returned.
        ranked: [B, k] the ranking.
        n_items: size of the id space, padding included.
        name: of the defense, for the message.
        shortens: whether 0 may pad the end of a list.

    Raises:
        UserError: it returned anything else.
    """
    its = f"defense: {name}: its lists" if name else "defense: its lists"
    shape, padded = f"[{len(ranked)}, {ranked.shape[1]}]", ", padded with 0" if shortens else ""
    if not are_ids(lists) or lists.shape != ranked.shape:
        raise UserError(f"{its} are {kind_of(lists)}; int64 {shape} item ids are expected{padded}")
    lists = lists.long()  # the type of ids that other defenses, attacks and metrics read
    if lists.device.type != "cpu" or not lists.numel():
        return lists
    if not shortens and not int(lists.min()):
        raise UserError(f"{its} have 0, which is no item; a defense whose lists may end in 0 sets shortens = True")
    if fault := fault_of_lists(lists, n_items):
        raise UserError(f"{its} {fault}")
    return lists


def histories_of(sequences: Any, n_items: int) -> tuple[Tensor, Tensor]:
    """Return the item ids [B, L] of a query, padded right with 0, and their lengths [B].

    Args:
        sequences: [B, L] item ids padded right with 0, or a list of id lists.
        n_items: size of the id space, padding included.

    Raises:
        InvalidQuery: no integers, an empty sequence, padding before an item, or an id outside the catalogue.
    """
    padded, lengths = pad_sequences(sequences)
    if bool((padded < 0).any()) or bool((padded >= n_items).any()):
        raise InvalidQuery(f"item ids lie between 1 and {n_items - 1}")
    return padded, lengths


def check_k(k: Any, n_items: int) -> None:
    """Check the length of a list.

    Args:
        k: the length.
        n_items: size of the id space, padding included.

    Raises:
        UserError: it is longer than the catalogue, or no whole number of items.
    """
    if not is_whole(k) or not 1 <= k < n_items:
        raise UserError(f"k: {k!r} is no number of items between 1 and the {n_items - 1} of the catalogue")


def is_whole(number: Any) -> bool:
    """Return whether a value is a whole number of any type, numpy's among them, and no truth value."""
    return isinstance(number, Integral) and not isinstance(number, bool)


class Service:
    """Serve lists of a model, after the output side of a defense; threads that share a model take turns.

    Args:
        model: any trained RecBole sequential model; a query leaves it in evaluation mode.
        k: length of a list.
        output: maps a ranking [B, k] and the query to the served lists [B, k]: a defense's `answer`.

    Raises:
        UserError: lists longer than the catalogue, or of no whole number of items.
    """

    def __init__(self, model: SequentialRecommender, k: int = 100, output: Output = as_ranked):
        self.model, self.k, self.output = model, k, output
        self.scorer = create_scorer(model)
        self._sessions: dict[int, Session] = {}  # by part of a query: the next query may extend the same sequences
        self.n_items: int = model.n_items
        check_k(k, self.n_items)

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return next(self.model.parameters()).device

    @torch.no_grad()
    def recommend(self, sequences: Any) -> Tensor:
        """Return lists [B, k] of item ids, best first.

        Where a defense shortens lists, 0 pads them at the end.

        Args:
            sequences: [B, L] item ids padded right with 0, or a list of id lists.

        Raises:
            ValueError: no integers, an empty sequence, padding before an item, or an id outside the catalogue
                (InvalidQuery).
            UserError: the model's scores are NaN.
        """
        with turn_of(self.model):
            responses = [self._respond(*chunk) for chunk in self._chunks(sequences)]
        lists, highest = (torch.cat(parts) for parts in zip(*responses, strict=True))
        refuse_nan(highest, self.model)
        return lists

    def histories(self, sequences: Any) -> tuple[Tensor, Tensor]:
        """Return the item ids [B, L] of a query, padded right with 0, and their lengths [B].

        Raises:
            ValueError: as `recommend`.
        """
        return histories_of(sequences, self.n_items)

    @torch.no_grad()
    def follow(self, sequences: Any) -> None:
        """Update the state of this service as answering `sequences` would, for a query whose response is cached.

        The state of a GRU is kept between queries; without it the next scores would differ in the last bits. The
        defense is not called.
        """
        with turn_of(self.model):
            for session, part, _ in self._chunks(sequences):
                session.follow(*part)

    def _chunks(self, sequences: Any) -> Iterator[tuple[Session, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]]:
        """Yield the parts of a query that are scored at a time: session, sequences and lengths, and those read."""
        # checked before they are moved to a GPU, so that no check waits for the device
        sequences, lengths = self.histories(sequences)
        self.model.eval()
        rows = rows_at_once(self.n_items, ROWS_AT_ONCE, self.device)
        parts = zip(sequences.to(self.device).split(rows), lengths.to(self.device).split(rows), strict=True)
        reads = self.scorer.reads
        if sequences.shape[1] > reads:
            sequences, lengths = keep_recent(sequences, lengths, reads, reads)
        read = zip(sequences.split(rows), lengths.split(rows), strict=True)
        sessions = self._sessions if len(sequences) <= ROWS_KEPT else {}
        for i, (part, part_read) in enumerate(zip(parts, read, strict=True)):
            yield sessions.setdefault(i, Session(self.scorer)), part, part_read

    def _respond(self, session: Session, part: tuple[Tensor, Tensor], read: tuple[Tensor, Tensor]):
        """Return the lists [B, k] of a part of a query, and the highest score of each, [B, 1].

        The scores are freed before those of the next part are computed.
        """
        scores = session.scores(*part)
        ranked = top_k(scores, self.k)
        version = -1 if ranked.is_inference() else ranked._version  # which a change in place raises
        query = Query(*read, scores)
        parts = getattr(getattr(self.output, "__self__", None), "parts", ())  # of a defense
        with query.read_by("+".join(part.name for part in parts)):
            lists = self.output(ranked, query)
        if lists is not ranked or version < 0 or ranked._version != version:
            last = parts[-1] if parts else None
            shortens = getattr(last, "shortens", True)
            lists = checked_lists(lists, ranked, self.n_items, getattr(last, "name", ""), shortens=shortens)
        return lists, scores.gather(1, ranked[:, :1])
