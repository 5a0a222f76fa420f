"""Masked models: BERT4Rec."""

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.layers import MultiHeadAttention
from recbole.model.loss import BPRLoss
from torch import Tensor
from torch.nn import functional

from recbole_gro.scoring.base import NextItemScorer, cross_entropy, register_scorer
from recbole_gro.scoring.packing import pack
from recbole_gro.scoring.sequences import keep_recent
from recbole_gro.utils.errors import UserError

HIDDEN = -10000.0  # RecBole's additive attention mask of hidden items
FEW = 8  # queries are few where a row has this many times as many items
MASKED_SLOTS = "masked_slots"  # field of a training batch: places of its masked items, if its transform sets it


@register_scorer("BERT4Rec")
class MaskedScorer(NextItemScorer):
    """Score with BERT4Rec: N training positions are the masked items of a batch; the next item is a mask at the end.

    Only masked positions are scored; RecBole scores the filler of MASK_INDEX too and weighs it 0. A batch without a
    masked item, which RecBole's masks of short prefixes leave at times, has loss 0 in place of RecBole's NaN.

    RecBole's full_sort_predict drops the oldest item of every sequence to make room for the mask, even the only item of
    a sequence. Here it is dropped only where the sequence is full.
    """

    relies_on = frozenset(
        {"calculate_loss", "forward", "full_sort_predict", "get_attention_mask", "reconstruct_test_data"}
    )
    any_length = True
    extra_places = 1  # of the mask

    @classmethod
    def in_place_of_it(cls, model_class: type, changed: list[str]) -> type[NextItemScorer]:
        raise UserError(
            f"model: {model_class.__name__} overrides {', '.join(changed)} of a masked model, which the scorer of that "
            f"does not call; register a scorer for it, as CONTRIBUTING.md describes"
        )

    def __init__(self, model: SequentialRecommender):
        super().__init__(model)
        self.longest = self.max_length - self.extra_places

    def loss(self, interaction: Interaction) -> Tensor:
        with self.in_blocks():
            return self.loss_and_scores(interaction)[0]

    def loss_and_scores(self, interaction: Interaction, left_out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        slots = self._slots(interaction)
        scores = self.position_scores(interaction)
        positives = self.positives(interaction)
        if self.loss_is_cross_entropy(interaction):
            return cross_entropy(scores, positives, left_out), scores
        if not len(slots):
            return scores.sum(), scores
        negatives = interaction[self.model.NEG_ITEMS].flatten()[slots]
        return BPRLoss(gamma=1e-14)(
            scores.gather(1, positives.unsqueeze(1)), scores.gather(1, negatives.unsqueeze(1))
        ), scores

    def loss_is_cross_entropy(self, interaction: Interaction) -> bool:
        return self.model.loss_type == "CE"

    def positives(self, interaction: Interaction) -> Tensor:
        return interaction[self.model.POS_ITEMS].flatten()[self._slots(interaction)]

    def position_scores(self, interaction: Interaction) -> Tensor:
        masked, index = interaction[self.model.MASK_ITEM_SEQ], interaction[self.model.MASK_INDEX]
        hidden = self.hidden_at(masked, interaction[self.model.ITEM_SEQ_LEN], index)
        return self._item_scores(hidden.flatten(0, 1)[self._slots(interaction)])

    def contexts(self, interaction: Interaction) -> tuple[Tensor, Tensor]:
        index, slots = interaction[self.model.MASK_INDEX], self._slots(interaction)
        place = index.flatten()[slots]
        sequences = interaction[self.model.ITEM_SEQ][slots // index.shape[1]]
        return sequences * (torch.arange(sequences.shape[1], device=place.device) < place.unsqueeze(1)), place

    def positions_of_rows(self, batch: Interaction) -> Tensor:
        return (batch[self.model.MASK_INDEX] > 0).sum(1)

    def part_of_batch(self, batch: Interaction, rows: slice) -> Interaction:
        part = Interaction({name: batch[name][rows] for name in batch.interaction if name != MASKED_SLOTS})
        part.update(Interaction({MASKED_SLOTS: self._slots(part)}))
        return part

    def _slots(self, interaction: Interaction) -> Tensor:
        """Return the places [N] of the masked items in the flattened MASK_INDEX [B, M]."""
        if MASKED_SLOTS in interaction:
            return interaction[MASKED_SLOTS]
        return (interaction[self.model.MASK_INDEX] > 0).flatten().nonzero().squeeze(1)

    def next_item_scores(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        width = min(sequences.shape[1], self.longest)
        if not self.any_length:
            width = self.longest
        elif lengths.is_cpu:
            width = min(width, int(lengths.max()))
        sequences, lengths = keep_recent(sequences, lengths, self.longest, width)
        masked = functional.pad(sequences, (0, 1)).scatter(1, lengths.unsqueeze(1), self.model.mask_token)
        return self._item_scores(self.hidden_at(masked, lengths + 1, lengths.unsqueeze(1)).squeeze(1))

    def evaluation_scores(self, interaction: Interaction) -> Tensor:
        # RecBole's evaluation drops the oldest item of every sequence
        sequences, lengths = interaction[self.model.ITEM_SEQ], interaction[self.model.ITEM_SEQ_LEN]
        return self.next_item_scores(sequences[:, 1:], lengths - 1)

    def _item_scores(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self.model.item_embedding.weight[: self.n_items], self.model.output_bias)

    def hidden_at(self, masked: Tensor, lengths: Tensor, index: Tensor) -> Tensor:
        """Return the model's output at some places of each sequence; its other places are read, not returned.

        Args:
            masked: [B, L] item ids with masks, padded right with 0.
            lengths: [B] items and masks in each.
            index: [B, M] places.

        Returns:
            [B, M, H] of the hidden size H.
        """
        packing = pack(lengths) if self.any_length else None
        if packing is None:
            place = torch.arange(masked.shape[1], device=masked.device)
            visible = self.model.get_attention_mask(masked, bidirectional=True)
            return self._encoded(masked, place, visible, index, visible)
        rows, slots, columns = packing.shape
        sequence = torch.arange(len(masked)).repeat_interleave(lengths)
        place = torch.arange(len(sequence)) - (lengths.cumsum(0) - lengths)[sequence]
        cell = (packing.row * columns + packing.start)[sequence] + place
        items, places, owner = torch.zeros(3, rows * columns, dtype=torch.long).unbind()
        items[cell], places[cell], owner[cell] = masked[sequence, place], place, packing.slot[sequence] + 1
        owner = owner.view(rows, 1, 1, columns)
        columns_read = torch.zeros(rows, slots, index.shape[1], dtype=torch.long)
        columns_read[packing.row, packing.slot] = packing.start.unsqueeze(1) + index
        reader = torch.arange(1, slots + 1).repeat_interleave(index.shape[1]).view(1, 1, -1, 1)
        hidden = self._encoded(
            items.view(rows, columns),
            places.view(rows, columns),
            torch.where(owner == owner.transpose(2, 3), 0.0, HIDDEN),
            columns_read.flatten(1),
            torch.where(owner == reader, 0.0, HIDDEN),
        )
        return hidden.view(rows, slots, -1, hidden.shape[-1])[packing.row, packing.slot]

    def _encoded(
        self, items: Tensor, places: Tensor, visible: Tensor, columns: Tensor, visible_columns: Tensor
    ) -> Tensor:
        """Return the model's output [R, A, H] at `columns` [R, A] of rows `items` [R, W].

        The last layer has queries at these columns only, the layers before it at all: equal to the model's forward pass
        there, at little more than half its cost for one column per row.

        Args:
            items: [R, W] item ids.
            places: [W] or [R, W] each item's place in its sequence.
            visible: additive attention mask of the items.
            columns: [R, A].
            visible_columns: additive attention mask of these columns.
        """
        model = self.model
        hidden = model.dropout(model.LayerNorm(model.item_embedding(items) + model.position_embedding(places)))
        *layers, last = model.trm_encoder.layer
        with self.fused():
            for layer in layers:
                hidden = layer(hidden, visible)
            queries = hidden.gather(1, columns.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))
            output = last.feed_forward(attend(last.multi_head_attention, queries, hidden, visible_columns))
        return model.output_ln(model.output_gelu(model.output_ffn(output)))


def attend(attention: MultiHeadAttention, queries: Tensor, keys: Tensor, visible: Tensor) -> Tensor:
    """Return RecBole's self-attention block [B, M, H] of queries [B, M, H] over keys [B, L, H]."""
    context = _context_of_few if FEW * queries.shape[1] <= keys.shape[1] else _context
    mixed = attention.dense(context(attention, queries, keys, visible).flatten(2))
    return attention.LayerNorm(attention.out_dropout(mixed) + queries)


def _context(attention: MultiHeadAttention, queries: Tensor, keys: Tensor, visible: Tensor) -> Tensor:
    """Return what each query reads, [B, M, heads, H / heads]."""

    def heads(hidden: Tensor) -> Tensor:
        return attention.transpose_for_scores(hidden).transpose(1, 2)

    return functional.scaled_dot_product_attention(
        heads(attention.query(queries)),
        heads(attention.key(keys)),
        heads(attention.value(keys)),
        attn_mask=visible,
        dropout_p=attention.attn_dropout.p if attention.training else 0.0,
    ).transpose(1, 2)


def _context_of_few(attention: MultiHeadAttention, queries: Tensor, keys: Tensor, visible: Tensor) -> Tensor:
    """Return the same as `_context`, up to rounding, without a key and a value of each of the L items.

    Both are linear: q (W x) = (q W) x, and a mean of W x is W times the mean of x, so that W meets the M queries only.
    """
    query = attention.transpose_for_scores(attention.query(queries))
    (key, key_bias), (value, value_bias) = (
        (layer.weight.unflatten(0, query.shape[2:]), layer.bias.view(query.shape[2:]))
        for layer in (attention.key, attention.value)
    )
    scores = torch.einsum("bmhi,bli->bhml", torch.einsum("bmhd,hdi->bmhi", query, key), keys)
    scores = scores + (query * key_bias).sum(-1).transpose(1, 2).unsqueeze(-1)
    weights = attention.attn_dropout(attention.softmax(scores / attention.sqrt_attention_head_size + visible))
    read = torch.einsum("bhml,bli->bmhi", weights, keys)
    return torch.einsum("bmhi,hdi->bmhd", read, value) + weights.sum(-1).transpose(1, 2).unsqueeze(-1) * value_bias
