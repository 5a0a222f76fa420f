"""BERT4Rec's masks for a whole batch at once, in the fields that RecBole's MaskItemSequence fills."""

import torch
from recbole.data.interaction import Interaction

from recbole_gro.scoring.masked import MASKED_SLOTS
from recbole_gro.utils.random_state import process_generator


class WindowMask:
    """Mask each item of training windows with chance `mask_ratio`, the last one with `mask_last` more.

    RecBole's own masks half of the stock batches at the last item only (`ft_ratio`), which suits rows that end at
    every item of a user. A window ends once, so here both kinds of mask share a row: random ones for the bulk of the
    training signal, the last item because a service predicts the item at the end.

    As in RecBole a mask at place 0 cannot be expressed (0 is the filler of MASK_INDEX), so the first item of a row
    is never masked. A row that drew no mask gets one at its last item. There is no cap on masks per row: MASK_INDEX
    is as wide as the batch needs. MASKED_SLOTS [N] says where in it, read row by row, the masked items stand: counted
    here, so that a GPU need not be waited for to count them.

    Args:
        config: names of fields, `mask_ratio`, `mask_last`, `seed`.
    """

    def __init__(self, config):
        self.sequence_field = config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"]
        self.length_field = config["ITEM_LIST_LENGTH_FIELD"]
        self.masked_field = config["MASK_ITEM_SEQ"]
        self.positive_field = config["POS_ITEMS"]
        self.negative_field = config["NEG_ITEMS"]
        self.index_field = config["MASK_INDEX"]
        self.mask_ratio = config["mask_ratio"]
        self.mask_last = config["mask_last"]
        self.samples_negatives = config["loss_type"] == "BPR"
        self.generator = torch.Generator().manual_seed(config["seed"])

    def __call__(self, dataset, interaction):
        sequences, lengths = interaction[self.sequence_field], interaction[self.length_field]
        n_items = dataset.num(dataset.iid_field)
        place = torch.arange(sequences.shape[1])
        is_last = place == lengths.unsqueeze(-1) - 1
        chance = self.mask_ratio + is_last * (1 - self.mask_ratio) * self.mask_last
        masked = torch.rand(sequences.shape, generator=process_generator(self.generator)) < chance
        masked &= (place > 0) & (place < lengths.unsqueeze(-1))
        masked |= ~masked.any(1, keepdim=True) & (place > 0) & is_last
        # masked places first, in order, then filler: a stable sort of the flags
        order = masked.logical_not().to(torch.uint8).argsort(dim=1, stable=True)
        index = order[:, : max(int(masked.sum(1).max()), 1)]
        kept = masked.gather(1, index)
        positives = sequences.gather(1, index) * kept
        interaction.update(
            Interaction(
                {
                    self.masked_field: sequences.masked_fill(masked, n_items),
                    self.positive_field: positives,
                    self.negative_field: self._negatives(sequences, index, n_items) * kept,
                    self.index_field: index * kept,
                    MASKED_SLOTS: kept.flatten().nonzero().squeeze(1),
                }
            )
        )
        return interaction

    def _negatives(self, sequences, index, n_items):
        """Draw one item per mask that the row does not hold, where the loss reads it (BPR)."""
        if not self.samples_negatives:
            return torch.zeros_like(index)
        held = torch.zeros(len(sequences), n_items, dtype=torch.bool).scatter_(1, sequences, True)
        weight = (~held).float()
        weight[:, 0] = 0
        generator = process_generator(self.generator)
        return torch.multinomial(weight, index.shape[1], replacement=True, generator=generator)
