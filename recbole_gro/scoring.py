"""From any RecBole sequential model to scores: at its training positions, and for the next item of a sequence.

A scorer is what the trainers, the service and the attack know of a model. The default fits next-item models, whose
full_sort_predict scores all items after a sequence; masked models have their own. Column 0 of every score is padding.
"""

from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.layers import FeedForward, MultiHeadAttention
from recbole.model.loss import BPRLoss
from torch import Tensor
from torch.nn import functional

from recbole_gro.errors import UserError
from recbole_gro.registry import Registry

_scorers: Registry[type["NextItemScorer"]] = Registry("scorer")
register_scorer = _scorers.register


def create_scorer(model) -> "NextItemScorer":
    """The scorer registered for the model's class or for the nearest class it derives from, else the default."""
    for cls in type(model).__mro__:
        if cls.__name__ in _scorers:
            return _scorers[cls.__name__](model)
    return NextItemScorer(model)


class NextItemScorer:
    """Scores of a model that predicts the item after a sequence; a batch of B rows has N = B training positions.

    Args:
        model: a RecBole sequential model.
    """

    any_length = False  # True where scores do not depend on how far a sequence is padded

    def __init__(self, model):
        self.model = model
        self.n_items: int = model.n_items
        self.max_length: int = model.max_seq_length
        self._loss_is_cross_entropy: bool | None = None
        for module in model.modules():
            if isinstance(module, FeedForward) and module.intermediate_act_fn == module.gelu:
                # RecBole spells it out in five passes over memory; the same function in one
                module.intermediate_act_fn = functional.gelu

    def loss(self, interaction: Interaction) -> Tensor:
        """The model's own training loss on a training batch."""
        return self.model.calculate_loss(interaction)

    def position_scores(self, interaction: Interaction) -> Tensor:
        """[N, n_items] scores at the training positions of a batch, differentiable."""
        return self.model.full_sort_predict(interaction).view(-1, self.n_items)

    def loss_and_scores(self, interaction: Interaction) -> tuple[Tensor, Tensor]:
        """The model's own loss and [N, n_items] scores, from one forward pass where the loss is cross-entropy."""
        if self._loss_is_cross_entropy is None:
            self._loss_is_cross_entropy = self._probe(interaction)
        scores = self.position_scores(interaction)
        if self._loss_is_cross_entropy:
            return functional.cross_entropy(scores, interaction[self.model.POS_ITEM_ID]), scores
        return self.loss(interaction), scores

    def _probe(self, interaction: Interaction) -> bool:
        """Whether the model's loss is the cross-entropy of its full_sort_predict, seen on a batch without dropout."""
        if getattr(self.model, "loss_type", None) != "CE":
            return False
        training = self.model.training
        self.model.eval()
        with torch.no_grad():
            own = self.loss(interaction)
            scores = self.position_scores(interaction)
        self.model.train(training)
        if not isinstance(own, Tensor):
            return False
        return torch.allclose(own, functional.cross_entropy(scores, interaction[self.model.POS_ITEM_ID]), rtol=1e-4)

    def contexts(self, interaction: Interaction) -> tuple[Tensor, Tensor]:
        """What precedes each training position: item ids [N, L] padded right with 0, and lengths [N]."""
        return interaction[self.model.ITEM_SEQ], interaction[self.model.ITEM_SEQ_LEN]

    def next_item_scores(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        """[B, n_items] scores of the item after each sequence, differentiable.

        Args:
            sequences: [B, L] item ids, padded right with 0; the most recent items count where L exceeds the model's.
            lengths: [B] items in each, at least 1.

        Raises:
            UserError: the model reads more than a sequence, the user's id for one.
        """
        width = self._width(lengths, self.max_length)
        sequences, lengths = keep_recent(sequences, lengths, self.max_length, width)
        query = Interaction({self.model.ITEM_SEQ: sequences, self.model.ITEM_SEQ_LEN: lengths})
        try:
            return self.model.full_sort_predict(query).view(-1, self.n_items)
        except KeyError as field:
            name = type(self.model).__name__
            raise UserError(f"model: {name} reads {field} too; a query is an item sequence and no more") from field

    def _width(self, lengths: Tensor, longest: int) -> int:
        return min(int(lengths.max()), longest) if self.any_length else longest


@register_scorer("NARM")
@register_scorer("GRU4Rec")
@register_scorer("SASRec")
class TrimmedScorer(NextItemScorer):
    """Next-item models whose scores do not change with padding: rows are cut to the longest of the batch."""

    any_length = True


@register_scorer("BERT4Rec")
class MaskedScorer(NextItemScorer):
    """BERT4Rec: the N training positions are the masked items of a batch; the next item is a mask at the end.

    Only masked positions are scored; RecBole scores the filler of MASK_INDEX too and weighs it 0.

    RecBole's full_sort_predict drops the oldest item of every sequence to make room for the mask, of a one-item query
    too, whose list then depends on nothing. Here it is dropped only where the sequence is full.
    """

    any_length = True

    def loss(self, interaction: Interaction) -> Tensor:
        return self.loss_and_scores(interaction)[0]

    def _places(self, interaction: Interaction) -> tuple[Tensor, Tensor, Tensor]:
        """Row [N], place in the row [N] and slot among the row's masks [N] of every masked item."""
        index = interaction[self.model.MASK_INDEX]
        row, slot = (index > 0).nonzero(as_tuple=True)
        return row, index[row, slot], slot

    def _item_scores(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self.model.item_embedding.weight[: self.n_items], self.model.output_bias)

    def _hidden_at(self, masked: Tensor, index: Tensor) -> Tensor:
        """[B, M, H] output of the model at places `index` [B, M] of `masked` [B, L].

        The last layer asks only at these places, the layers before it at all: equal to reading them off the model's
        forward pass, at little more than half its cost for one place a row.
        """
        model = self.model
        place = torch.arange(masked.shape[1], device=masked.device)
        hidden = model.dropout(model.LayerNorm(model.item_embedding(masked) + model.position_embedding(place)))
        visible = model.get_attention_mask(masked, bidirectional=True)
        *layers, last = model.trm_encoder.layer
        for layer in layers:
            hidden = layer(hidden, visible)
        asked = hidden.gather(1, index.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))
        asked = last.feed_forward(attend(last.multi_head_attention, asked, hidden, visible))
        return model.output_ln(model.output_gelu(model.output_ffn(asked)))

    def position_scores(self, interaction: Interaction) -> Tensor:
        row, _, slot = self._places(interaction)
        hidden = self._hidden_at(interaction[self.model.MASK_ITEM_SEQ], interaction[self.model.MASK_INDEX])
        return self._item_scores(hidden[row, slot])

    def loss_and_scores(self, interaction: Interaction) -> tuple[Tensor, Tensor]:
        row, _, slot = self._places(interaction)
        scores = self.position_scores(interaction)
        positives = interaction[self.model.POS_ITEMS][row, slot]
        if self.model.loss_type == "CE":
            return functional.cross_entropy(scores, positives), scores
        negatives = interaction[self.model.NEG_ITEMS][row, slot]
        return BPRLoss(gamma=1e-14)(
            scores.gather(1, positives.unsqueeze(1)), scores.gather(1, negatives.unsqueeze(1))
        ), scores

    def contexts(self, interaction: Interaction) -> tuple[Tensor, Tensor]:
        row, place, _ = self._places(interaction)
        sequences = interaction[self.model.ITEM_SEQ][row]
        return sequences * (torch.arange(sequences.shape[1], device=place.device) < place.unsqueeze(1)), place

    def next_item_scores(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        width = self._width(lengths, self.max_length - 1)
        sequences, lengths = keep_recent(sequences, lengths, self.max_length - 1, width + 1)
        masked = sequences.scatter(1, lengths.unsqueeze(1), self.model.mask_token)
        return self._item_scores(self._hidden_at(masked, lengths.unsqueeze(1)).squeeze(1))


def attend(attention: MultiHeadAttention, queries: Tensor, keys: Tensor, visible: Tensor) -> Tensor:
    """[B, M, H] RecBole's self-attention block, asked at M places [B, M, H] about all L places `keys` [B, L, H]."""

    def heads(hidden: Tensor) -> Tensor:
        return attention.transpose_for_scores(hidden).transpose(1, 2)

    context = functional.scaled_dot_product_attention(
        heads(attention.query(queries)),
        heads(attention.key(keys)),
        heads(attention.value(keys)),
        attn_mask=visible,
        dropout_p=attention.attn_dropout.p if attention.training else 0.0,
    )
    mixed = attention.dense(context.transpose(1, 2).flatten(2))
    return attention.LayerNorm(attention.out_dropout(mixed) + queries)


def keep_recent(sequences: Tensor, lengths: Tensor, longest: int, width: int) -> tuple[Tensor, Tensor]:
    """The last `longest` items of each sequence, padded right with 0 to `width` columns.

    Args:
        sequences: [B, L] item ids padded right with 0.
        lengths: [B].
        longest: most items to keep.
        width: columns of the result, at least the longest kept length.

    Returns:
        [B, width] ids and [B] lengths.

    >>> keep_recent(torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.tensor([3, 1]), 2, 2)
    (tensor([[2, 3],
            [4, 0]]), tensor([2, 1]))
    """
    kept = lengths.clamp(max=longest)
    place = torch.arange(width, device=sequences.device)
    index = (place + (lengths - kept).unsqueeze(1)).clamp(max=sequences.shape[1] - 1)
    return sequences.gather(1, index) * (place < kept.unsqueeze(1)), kept


def pad_sequences(sequences: Any, device: torch.device | str | None = None) -> tuple[Tensor, Tensor]:
    """Item ids [B, L] padded right with 0 and lengths [B], from a tensor of that form or a list of id lists.

    Raises:
        ValueError: no sequence, an empty one, or padding before an item.
    """
    rows = sequences if isinstance(sequences, Tensor) else [torch.as_tensor(r, dtype=torch.long) for r in sequences]
    if not len(rows) or rows[0].dim() != 1:
        raise ValueError("sequences are wanted as a tensor [B, L] of item ids or a list of id lists, at least one")
    if not isinstance(rows, Tensor):
        rows = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    sequences = rows.to(device)
    lengths = (sequences != 0).sum(1)
    filled = torch.arange(sequences.shape[1], device=sequences.device) < lengths.unsqueeze(1)
    if not bool((lengths > 0).all()):
        raise ValueError("an empty sequence has no next item; every sequence needs at least one item id")
    if not torch.equal(filled, sequences != 0):
        raise ValueError("sequences are padded on the right: no 0 may stand before an item id")
    return sequences, lengths
