"""The default scorer, and the choice of a scorer for a model."""

import contextlib
from typing import Any, ClassVar

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor, nn
from torch.nn import functional

from recbole_gro.config.own_modules import is_own
from recbole_gro.scoring.activation import fused_gelu, gelu_layers
from recbole_gro.scoring.loss_in_blocks import LossInBlocks
from recbole_gro.scoring.score_blocks import blocks_are_faster
from recbole_gro.scoring.sequences import keep_recent, length_groups
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.registry import Registry

PACKAGED: set[str] = set()  # names for which the package registers scorers
_scorers: Registry[type["NextItemScorer"]] = Registry("scorer")
register_scorer = _scorers.register


def scorer_class(model_class: type) -> type["NextItemScorer"]:
    """Return the scorer registered for a model's class or for the nearest class it derives from, else the default.

    A class of another module that has the name of one of RecBole's is not that one.

    Raises:
        UserError: the model overrides what the scorer relies on, and the default one cannot take its place.
    """
    overridden: set[str] = set()
    for cls in model_class.__mro__:
        if _is_registered(cls):
            scorer = _scorers[cls.__name__]
            changed = sorted(scorer.relies_on & overridden)
            return scorer.in_place_of_it(model_class, changed) if changed else scorer
        overridden |= vars(cls).keys()
    return NextItemScorer


def _is_registered(cls: type) -> bool:
    is_ours = cls.__module__.startswith(("recbole.", "recbole_gro."))
    return cls.__name__ in _scorers and (is_ours or cls.__name__ not in PACKAGED)


def create_scorer(model: SequentialRecommender) -> "NextItemScorer":
    """Create the scorer of a model, which stays as it is.

    Args:
        model: a RecBole sequential model, or one derived from it.
    """
    return scorer_class(type(model))(model)


class NextItemScorer:
    """Score the items that may follow a sequence; a batch of B rows has N = B training positions.

    The model's own attributes, mode and weights are the same after each call.

    Args:
        model: a RecBole sequential model.

    Attributes:
        relies_on: methods of the registered model that the scorer knows or replaces; a subclass of the model that
            overrides one of them needs another scorer.
        any_length: True where scores do not depend on how far a sequence is padded.
        all_prefixes_at_once: True where scores after many prefixes of a sequence cost about as much as after one.
        extra_places: places of a sequence that hold no item.
        longest: most items of a sequence that the model takes.
    """

    relies_on: ClassVar[frozenset[str]] = frozenset()
    any_length = False
    all_prefixes_at_once = False
    extra_places = 0

    @classmethod
    def in_place_of_it(cls, model_class: type, changed: list[str]) -> "type[NextItemScorer]":
        """Return the scorer of a model that overrides methods which this one relies on: the default scorer.

        Args:
            model_class: of the model.
            changed: names of these methods.
        """
        return NextItemScorer

    def __init__(self, model: SequentialRecommender):
        self.model = model
        self.n_items: int = model.n_items
        self.max_length: int = model.max_seq_length
        self.longest = self.max_length
        self._loss_is_cross_entropy: bool | None = None
        self._gelu_layers = gelu_layers(model)

    @property
    def reads(self) -> int:
        """Most recent items, at most `longest`, that the scores depend on."""
        return self.longest

    @property
    def has_own_code(self) -> bool:
        """Whether code of a user's own is in the model or the scorer, which may read, change or keep its scores."""
        kinds = {type(self), *map(type, self.model.modules())}
        return any(is_own(cls.__module__) for kind in kinds for cls in kind.__mro__)

    def fused(self) -> contextlib.AbstractContextManager[None]:
        """Run the model's forward passes inside the block with fused activations (`fused_gelu`)."""
        return fused_gelu(self._gelu_layers)

    def loss(self, interaction: Interaction) -> Tensor:
        """Return the model's own training loss on a training batch."""
        with self.fused(), self.in_blocks():
            return self.model.calculate_loss(interaction)

    def in_blocks(self) -> contextlib.AbstractContextManager[Any]:
        """Compute the loss of a model of RecBole inside the block without a table of all scores (`LossInBlocks`)."""
        device = next(self.model.parameters()).device
        of_recbole = type(getattr(self.model, "loss_fct", None)) in (nn.CrossEntropyLoss, type(None))
        if blocks_are_faster(self.n_items, device) and of_recbole and not self.has_own_code:
            return LossInBlocks(self.n_items)
        return contextlib.nullcontext()

    def position_scores(self, interaction: Interaction) -> Tensor:
        """Return scores [N, n_items] at the training positions of a batch, differentiable."""
        return self._scores_of(interaction)

    def loss_and_scores(self, interaction: Interaction, left_out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the model's own loss [] and scores [N, n_items], from one forward pass where it is cross-entropy.

        Args:
            interaction: a training batch.
            left_out: [n_items] bool, items that cross-entropy ignores unless they are the row's positive.
        """
        is_cross_entropy = self.loss_is_cross_entropy(interaction)
        scores = self.position_scores(interaction)
        if is_cross_entropy:
            return cross_entropy(scores, self.positives(interaction), left_out), scores
        return self.loss(interaction), scores

    def loss_is_cross_entropy(self, interaction: Interaction) -> bool:
        """Return whether the model's loss is the cross-entropy of its scores, as its first training batch shows."""
        if self._loss_is_cross_entropy is None:
            self._loss_is_cross_entropy = self._probe(interaction)
        return self._loss_is_cross_entropy

    def _probe(self, interaction: Interaction) -> bool:
        """Return whether the model's loss is the cross-entropy of its scores, in training too: with equal dropout.

        CORE, for one, has dropout among the items in its loss that its full_sort_predict has not.
        """
        if getattr(self.model, "loss_type", None) != "CE":
            return False
        modes = [(part, part.training) for part in self.model.modules()]
        self.model.train()
        try:
            with torch.no_grad(), torch.random.fork_rng():
                torch.manual_seed(0)
                own = self.loss(interaction)
                torch.manual_seed(0)
                scores = self.position_scores(interaction)
        finally:
            for part, training in modes:
                part.training = training
        if not isinstance(own, Tensor):
            return False
        return torch.allclose(own, functional.cross_entropy(scores, self.positives(interaction)), rtol=1e-4)

    def positives(self, interaction: Interaction) -> Tensor:
        """Return the item to predict at each training position, [N]."""
        return interaction[self.model.POS_ITEM_ID]

    def positions_of_rows(self, batch: Interaction) -> Tensor:
        """Return the number [B] of training positions of each row of a batch."""
        return torch.ones(len(batch[self.model.ITEM_SEQ]), dtype=torch.long)

    def part_of_batch(self, batch: Interaction, rows: slice) -> Interaction:
        """Return some rows of a training batch."""
        return batch[rows]

    def contexts(self, interaction: Interaction) -> tuple[Tensor, Tensor]:
        """Return what precedes each training position: item ids [N, L] padded right with 0, and lengths [N]."""
        return interaction[self.model.ITEM_SEQ], interaction[self.model.ITEM_SEQ_LEN]

    @torch.no_grad()
    def reads_no_later_item(self, interaction: Interaction) -> bool:
        """Return whether the scores at a batch's training positions are those of the items before each alone.

        The model must be in evaluation mode.
        """
        together, alone = self.position_scores(interaction), self.next_item_scores(*self.contexts(interaction))
        return bool((together - alone).abs().max() <= 1e-3 * alone.abs().max())

    def next_item_scores(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        """Return scores [B, n_items] of the item after each sequence, differentiable.

        Args:
            sequences: [B, L] item ids, padded right with 0; the most recent items count where L exceeds the model's.
            lengths: [B] items in each, at least 1.

        Raises:
            UserError: the model reads more than a sequence, such as the user's id.
        """
        groups: list[tuple[Any, int]] = [(slice(None), self.longest)]
        if self.any_length:
            groups = length_groups(lengths, min(sequences.shape[1], self.longest))
        scores = [
            self._scores_after(*keep_recent(sequences[rows], lengths[rows], self.longest, width))
            for rows, width in groups
        ]
        return scores[0] if len(scores) == 1 else torch.cat(scores)[torch.cat([rows for rows, _ in groups]).argsort()]

    def _scores_after(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        """Return scores [B, n_items] after sequences that are no longer than the model reads."""
        query = Interaction({self.model.ITEM_SEQ: sequences, self.model.ITEM_SEQ_LEN: lengths})
        try:
            return self._scores_of(query)
        except KeyError as field:
            name = type(self.model).__name__
            raise UserError(f"model: {name} reads {field} too; a query is an item sequence and no more") from field

    def _scores_of(self, interaction: Interaction) -> Tensor:
        """Return the model's scores [B, n_items] for the rows of a batch or a query.

        Raises:
            UserError: `full_sort_predict` returns anything else.
        """
        with self.fused():
            scores = self.model.full_sort_predict(interaction)
        what = f"model: full_sort_predict of {type(self.model).__name__} returned"
        if not isinstance(scores, Tensor):
            raise UserError(f"{what} a {type(scores).__name__}, and a tensor of scores is needed")
        each = scores.shape[-1] if scores.dim() > 1 else self.n_items
        if scores.dim() < 2 and scores.numel() % self.n_items:  # those of all rows may be in one dimension
            each = scores.numel() // len(interaction[self.model.ITEM_SEQ])
        if each != self.n_items:
            raise UserError(f"{what} {each} scores per row, and the model has {self.n_items} items, padding included")
        return scores.view(-1, self.n_items)

    def evaluation_scores(self, interaction: Interaction) -> Tensor:
        """Return what the model's own full_sort_predict does for evaluation rows, up to rounding.

        Where `any_length` is true it costs less: padding is not read.
        """
        with self.fused():
            return self.model.full_sort_predict(interaction)

    def prefix_scores(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        """Return scores [S P, n_items] after P prefixes of each of S sequences, those of a sequence together.

        Args:
            sequences: [S, L] item ids without padding.
            lengths: [S, P] prefix lengths between 1 and L.
        """
        place = torch.arange(sequences.shape[1], device=sequences.device)
        prefixes = sequences.unsqueeze(1) * (place < lengths.unsqueeze(2))
        return self.next_item_scores(prefixes.flatten(0, 1), lengths.flatten())


def cross_entropy(scores: Tensor, positives: Tensor, left_out: Tensor | None = None) -> Tensor:
    """Return the cross-entropy [] of scores [N, n_items] and positives [N].

    Args:
        scores: of all items.
        positives: item ids.
        left_out: [n_items] bool, items that are ignored unless they are the row's positive.

    Returns:
        The mean over rows; 0, without a gradient that moves a weight, where there is no row.
    """
    if not len(positives):
        return scores.sum()
    if left_out is not None:
        absent = left_out.expand_as(scores).scatter(1, positives.unsqueeze(1), False)
        scores = scores.masked_fill(absent, -torch.inf)
    return functional.cross_entropy(scores, positives)
