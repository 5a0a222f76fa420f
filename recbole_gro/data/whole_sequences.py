"""Training batches of whole sequences, in which the item after each position is predicted."""

from typing import Any

import torch
from recbole.data.dataloader import TrainDataLoader
from recbole.data.interaction import Interaction

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.data.dataset import PREDICTED
from recbole_gro.scoring.causal import NEXT_ITEMS, SLOTS


class SequenceLoader(TrainDataLoader):
    """Load as many sequences per batch as have `train_batch_size` targets on average.

    A step sees as many targets, and an epoch has as many steps, as with prefixes; so the memory of scores
    [targets, n_items] is that of prefixes too.

    Args:
        config: `train_batch_size`, and what RecBole's loader reads.
        dataset: a training part whose rows are sequences.
        sampler: RecBole's.
        shuffle: whether each epoch has an order of its own.
    """

    step: int

    def __init__(self, config: ConfigLike, dataset: Any, sampler: Any, shuffle: bool = False):
        super().__init__(config, dataset, sampler, shuffle=shuffle)
        self.transform = predict_every_position

    def _init_batch_size_and_step(self):
        super()._init_batch_size_and_step()
        targets = self._dataset.inter_feat[PREDICTED].float().mean()
        self.step = max(1, round(self.step / float(targets)))

    def __iter__(self):
        self._dataset.cut_sequences()
        return super().__iter__()


def predict_every_position(dataset: Any, interaction: Interaction) -> Interaction:
    """Add the places of a batch's training positions (`SLOTS`) and the items that follow them (`NEXT_ITEMS`).

    They are counted on the CPU, so that a GPU is not synchronized for them.
    """
    sequences = interaction[getattr(dataset, f"{dataset.iid_field}_list_field")]
    lengths = interaction[dataset.item_list_length_field].unsqueeze(1)
    place = torch.arange(sequences.shape[1])
    predicted = (place < lengths) & (place >= lengths - interaction[PREDICTED].unsqueeze(1))
    slots = predicted.flatten().nonzero().squeeze(1)
    following = sequences.roll(-1, 1).scatter(1, lengths - 1, interaction[dataset.iid_field].unsqueeze(1))
    interaction.drop(PREDICTED)
    interaction.update(Interaction({SLOTS: slots, NEXT_ITEMS: following.flatten()[slots]}))
    return interaction
