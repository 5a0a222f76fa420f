"""BERT4Rec's masks for a batch at once, in the fields of RecBole's MaskItemSequence."""

from typing import Any

import torch
from recbole.data.interaction import Interaction

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.data.settings import DataSettings
from recbole_gro.scoring.masked import MASKED_SLOTS
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.random_state import process_generator


class WindowMask:
    """Mask each item of training windows with probability `mask_ratio`, and the last one with `mask_last` besides.

    RecBole masks only the last item in a share of the batches (`ft_ratio`), which suits rows that end at every item of
    a user. A window ends once, so a row has both kinds of masks: random ones for most of the training signal, and one
    at the end, where a service predicts.

    As in RecBole the first item of a row is never masked, since 0 is the filler of MASK_INDEX. A row without a mask
    gets one at its last item. MASK_INDEX is as wide as the batch needs. MASKED_SLOTS [N] has the flat positions of the
    masked items in it, counted on the CPU so that a GPU is not synchronized for them.

    Args:
        config: names of fields, `mask_ratio`, `mask_last`, `seed`.
    """

    def __init__(self, config: ConfigLike):
        self.sequence_field = config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"]
        self.length_field = config["ITEM_LIST_LENGTH_FIELD"]
        self.masked_field = config["MASK_ITEM_SEQ"]
        self.positive_field = config["POS_ITEMS"]
        self.negative_field = config["NEG_ITEMS"]
        self.index_field = config["MASK_INDEX"]
        self.mask_ratio = config["mask_ratio"]
        self.mask_last = DataSettings.of(config).mask_last
        self.samples_negatives = config["loss_type"] == "BPR"
        self.generator = torch.Generator().manual_seed(config["seed"])

    def __call__(self, dataset: Any, interaction: Interaction) -> Interaction:
        """Add masked sequences, targets and positions to a batch of windows.

        Raises:
            UserError: the loss needs a negative for a window that holds every item.
        """
        sequences, lengths = interaction[self.sequence_field], interaction[self.length_field]
        n_items = dataset.num(dataset.iid_field)
        place = torch.arange(sequences.shape[1])
        is_last = place == lengths.unsqueeze(-1) - 1
        chance = self.mask_ratio + is_last * (1 - self.mask_ratio) * self.mask_last
        masked = torch.rand(sequences.shape, generator=process_generator(self.generator)) < chance
        masked &= (place > 0) & (place < lengths.unsqueeze(-1))
        masked |= ~masked.any(1, keepdim=True) & (place > 0) & is_last
        # masked positions in order, then filler: a stable sort of the flags
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
        """Draw one item per mask from outside the row, for losses that read it (BPR)."""
        if not self.samples_negatives:
            return torch.zeros_like(index)
        held = torch.zeros(len(sequences), n_items, dtype=torch.bool).scatter_(1, sequences, True)
        weight = (~held).float()
        weight[:, 0] = 0
        if not weight.any(1).all():
            raise UserError(
                f"loss_type: BPR samples items from outside a training window, and one holds all {n_items - 1} items "
                f"of the catalogue; lower MAX_ITEM_LIST_LENGTH, or set loss_type=CE"
            )
        generator = process_generator(self.generator)
        return torch.multinomial(weight, index.shape[1], replacement=True, generator=generator)
