"""Masked models: BERT4Rec."""

import torch
from recbole.data.interaction import Interaction
from recbole.model.layers import MultiHeadAttention
from recbole.model.loss import BPRLoss
from torch import Tensor
from torch.nn import functional

from recbole_gro.scoring.base import NextItemScorer, in_order, register_scorer
from recbole_gro.scoring.sequences import length_groups

MASKED_SLOTS = "masked_slots"  # field of a training batch: where its masked items stand, if its transform says so


@register_scorer("BERT4Rec")
class MaskedScorer(NextItemScorer):
    """BERT4Rec: the N training positions are the masked items of a batch; the next item is a mask at the end.

    Only masked positions are scored; RecBole scores the filler of MASK_INDEX too and weighs it 0.

    RecBole's full_sort_predict drops the oldest item of every sequence to make room for the mask, of a one-item query
    too, whose list then depends on nothing. Here it is dropped only where the sequence is full.
    """

    any_length = True

    def __init__(self, model):
        super().__init__(model)
        self.longest = self.max_length - 1

    def loss(self, interaction: Interaction) -> Tensor:
        return self.loss_and_scores(interaction)[0]

    def loss_and_scores(self, interaction: Interaction) -> tuple[Tensor, Tensor]:
        slots = self._slots(interaction)
        scores = self.position_scores(interaction)
        positives = interaction[self.model.POS_ITEMS].flatten()[slots]
        if self.model.loss_type == "CE":
            return functional.cross_entropy(scores, positives), scores
        negatives = interaction[self.model.NEG_ITEMS].flatten()[slots]
        return BPRLoss(gamma=1e-14)(
            scores.gather(1, positives.unsqueeze(1)), scores.gather(1, negatives.unsqueeze(1))
        ), scores

    def position_scores(self, interaction: Interaction) -> Tensor:
        masked, index = interaction[self.model.MASK_ITEM_SEQ], interaction[self.model.MASK_INDEX]
        groups = length_groups(interaction[self.model.ITEM_SEQ_LEN], masked.shape[1])
        hidden = in_order(
            [self._hidden_at(masked[rows, :width], index[rows]) for rows, width in groups], [rows for rows, _ in groups]
        )
        return self._item_scores(hidden.flatten(0, 1)[self._slots(interaction)])

    def contexts(self, interaction: Interaction) -> tuple[Tensor, Tensor]:
        index, slots = interaction[self.model.MASK_INDEX], self._slots(interaction)
        place = index.flatten()[slots]
        sequences = interaction[self.model.ITEM_SEQ][slots // index.shape[1]]
        return sequences * (torch.arange(sequences.shape[1], device=place.device) < place.unsqueeze(1)), place

    def _slots(self, interaction: Interaction) -> Tensor:
        """[N] where in MASK_INDEX [B, M], read row by row, the masked items stand."""
        if MASKED_SLOTS in interaction:
            return interaction[MASKED_SLOTS]
        return (interaction[self.model.MASK_INDEX] > 0).flatten().nonzero().squeeze(1)

    def _scores_after(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        masked = functional.pad(sequences, (0, 1)).scatter(1, lengths.unsqueeze(1), self.model.mask_token)
        return self._item_scores(self._hidden_at(masked, lengths.unsqueeze(1)).squeeze(1))

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
