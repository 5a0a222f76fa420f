"""Adjustments of RecBole 1.2.0 and 1.2.1 to current libraries, each with its reason and the condition for its removal.

setup.cfg bounds one more: pandas < 3, where `feat[field].agg(len)`, by which RecBole cuts columns of sequences, is the
number of rows, and `feat[field].fillna(..., inplace=True)` a silent no-op.

Importing recbole_gro applies `numpy_aliases`, `collector_of_plain_values`, `anomaly_mode_left_alone` and
`no_pandas_warning`. The first two affect only calls that raise without them, the third restores a setting, the fourth
silences two warnings of RecBole's own calls, so that plain RecBole works as before in the same program.
"""

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import recbole.data.utils
import recbole.trainer.trainer
import torch
from recbole.data.dataset import Dataset
from recbole.evaluator.collector import Collector

from recbole_gro.utils.patching import replaced

SPLITS_BY_TIME = hasattr(Dataset, "time_based_split")  # the split TS, which RecBole has from 1.2.1 on
ALIASES = {
    # removed by numpy 1.24; RecBole's Config puts them back, but a model that is loaded in a fresh process fails at its
    # first batch (Interaction) or metric (MAP)
    "float": np.float64,
    "int": np.int_,
    "bool": np.bool_,
    "long": np.int_,
    # removed by numpy 2; RecBole's Config reads them to put back the others
    "float_": np.float64,
    "complex_": np.complex128,
    "unicode_": np.str_,
}


def numpy_aliases() -> None:
    """Give numpy the aliases that RecBole's code reads. Can go when RecBole no longer names them."""
    for alias, dtype in ALIASES.items():
        if alias not in vars(np):
            setattr(np, alias, dtype)


def collector_of_plain_values() -> None:
    """Let ItemCoverage, GiniIndex, AveragePopularity and TailPercentage run.

    Collector.get_data_struct calls .cpu() on everything it holds, the item count (an int) and the item counter among
    them, and raises in 1.2.1. The plain values are removed during the call. Can go when RecBole moves tensors only.
    """
    original = Collector.get_data_struct
    if getattr(original, "keeps_plain_values", False):
        return

    def get_data_struct(self):
        held = self.data_struct._data_dict
        plain = {name: value for name, value in held.items() if not isinstance(value, torch.Tensor)}
        for name in plain:
            del held[name]
        try:
            struct = original(self)
        finally:
            held.update(plain)
        for name, value in plain.items():
            struct.set(name, value)
        return struct

    get_data_struct.keeps_plain_values = True  # type: ignore[attr-defined]
    Collector.get_data_struct = get_data_struct


def anomaly_mode_left_alone() -> None:
    """Import RecBole's sequential models and leave torch's anomaly detection as it was.

    sine.py switches it on for the whole process when it is imported, and recbole.model.sequential_recommender imports
    it: every backward pass then looks for NaN (a quarter of a training step of BERT4Rec on two cores). Can go when
    RecBole's SINE no longer does.
    """
    enabled = torch.is_anomaly_enabled()
    importlib.import_module("recbole.model.sequential_recommender")
    torch.autograd.set_detect_anomaly(enabled)


@contextlib.contextmanager
def no_pickled_loaders() -> Iterator[None]:
    """Build data loaders anew inside the block.

    RecBole's data_preparation unpickles, and so executes, any loaders of the same dataset and model that lie in
    checkpoint_dir, and they are RecBole's own. Can go when it takes an argument for it.
    """
    with replaced(recbole.data.utils, "load_split_dataloaders", lambda config: None):
        yield


@contextlib.contextmanager
def no_process_group() -> Iterator[None]:
    """Let datasets made inside the block be downloaded by a program of one process.

    RecBole's Dataset._download ends by waiting for the other processes, which raises where there is no process group:
    the files are in place, and the run that fetched them fails. Where there is one, the others do not wait: a run
    downloads in its first process. Can go when it checks first.
    """
    with replaced(torch.distributed, "barrier", lambda: None):
        yield


@contextlib.contextmanager
def no_pandas_warning() -> Iterator[None]:
    """Silence the warnings about RecBole's `fillna(..., inplace=True)` and `agg(len)` of columns inside the block.

    pandas 2 warns of what pandas 3 will no longer do, once per column. Importing recbole_gro applies it to the methods
    of RecBole's Dataset that fill columns, and to those that cut columns of sequences. Can go when RecBole assigns what
    fillna returns, and takes `map(len)`.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "using <built-in function len> in Series.agg", FutureWarning, r"recbole\.data"
        )
        warnings.filterwarnings("ignore", "A value is trying to be set on a copy", FutureWarning, r"recbole\.data")
        yield


@contextlib.contextmanager
def no_scaler_warning() -> Iterator[None]:
    """Silence the warning about torch.cuda.amp.GradScaler inside the block.

    RecBole's Trainer makes one each epoch, on a CPU too, and torch warns of its name.
    Can go when RecBole calls torch.amp.GradScaler.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.cuda\.amp\.GradScaler", FutureWarning, r"recbole\.trainer")
        yield


class SilentWriter:
    """Stand in for a TensorBoard writer and write nothing, for trainers that only evaluate."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


@contextlib.contextmanager
def no_tensorboard() -> Iterator[None]:
    """Let trainers made inside the block open no event file."""
    with replaced(recbole.trainer.trainer, "get_tensorboard", lambda logger: SilentWriter()):
        yield


numpy_aliases()
collector_of_plain_values()
anomaly_mode_left_alone()
for method in ("_load_feat", "_fill_nan", "_normalize", "_discretization", "_remap"):
    setattr(Dataset, method, no_pandas_warning()(getattr(Dataset, method)))
