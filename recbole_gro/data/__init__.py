"""Atomic files, datasets, training rows, masks and loaders."""

from recbole_gro.data.dataset import SequenceDataset
from recbole_gro.data.loaders import build_dataset, build_loaders, reseed
from recbole_gro.data.masking import WindowMask
from recbole_gro.data.training_rows import train_rows_of

__all__ = ["SequenceDataset", "WindowMask", "build_dataset", "build_loaders", "reseed", "train_rows_of"]
