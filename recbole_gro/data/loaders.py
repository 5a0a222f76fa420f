"""RecBole's data loaders over the lazy dataset, with the transforms that training and serving need."""

import contextlib
import warnings
from collections.abc import Iterator
from urllib.error import URLError

from recbole.data import data_preparation
from recbole.data.transform import Equal

from recbole_gro.config.recbole_settings import MASKED_TRANSFORM
from recbole_gro.data.availability import check_obtainable
from recbole_gro.data.dataset import SequenceDataset, train_rows_of
from recbole_gro.data.masking import WindowMask
from recbole_gro.scoring import scorer_class
from recbole_gro.utils.compat import no_pickled_loaders, no_process_group
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.random_state import generators_of

SCORES_OF_A_BATCH = 2**26  # entries of an evaluation's score table at most (256 MiB in float32)


def build_dataset(config) -> SequenceDataset:
    """The dataset of a config, read from RecBole's atomic files (downloaded by RecBole where it knows the name).

    Raises:
        UserError: files are missing or RecBole cannot read them.
    """
    check_obtainable(config)
    with warnings.catch_warnings(), no_process_group(), _one_line(config):
        # pandas' notices about RecBole's fillna; the bound pandas < 3 answers them
        warnings.simplefilter("ignore", FutureWarning)
        return SequenceDataset(config)


@contextlib.contextmanager
def _one_line(config) -> Iterator[None]:
    """What RecBole raises about data, as a UserError that names the dataset."""
    try:
        yield
    except UserError:
        raise
    except URLError as error:
        raise UserError(
            f"dataset {config['dataset']}: not in {config['data_path']}, and RecBole could not download it "
            f"({error.reason})"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"dataset {config['dataset']} (data_path {config['data_path']}): {reason}") from error


def build_loaders(config, dataset: SequenceDataset):
    """Training, validation and test loaders of RecBole, split as its eval_args say.

    Raises:
        UserError: the catalogue is too small for the served list, or no user is left to evaluate.
    """
    # RecBole scores a whole evaluation batch against all items at once
    config["eval_batch_size"] = min(config["eval_batch_size"], max(1, SCORES_OF_A_BATCH // dataset.item_num))
    with no_pickled_loaders(), _one_line(config):
        train, valid, test = data_preparation(config, dataset)
    if train_rows_of(config) == "windows" and config["transform"] == MASKED_TRANSFORM:
        train.transform = WindowMask(config)
        train._dataset.trimmed = True
    if config["transform"] == MASKED_TRANSFORM:
        # evaluation reads the history alone; RecBole masks it anyway, item by item in Python
        valid.transform = test.transform = Equal(config)
    elif scorer_class(config.model_class).any_length:
        train._dataset.trimmed = True
    for name, loader in (("validation", valid), ("test", test)):
        if not len(loader._dataset):
            raise UserError(
                f"dataset {config['dataset']}: no user is left for {name}; leave-one-out needs users "
                f"with at least 4 interactions"
            )
    check_served_k(config["served_k"], dataset.item_num)
    return train, valid, test


def check_served_k(served_k: int, n_items: int) -> None:
    """UserError where lists of `served_k` leave no item of the catalogue outside (Eq. 4 samples one)."""
    if served_k > n_items - 2:
        raise UserError(
            f"served_k: {served_k} is too long for a catalogue of {n_items - 1} items; at most {n_items - 2}, "
            f"so that one item stays outside the list"
        )


def reseed(loader, seed: int) -> None:
    """Start the loader's order of rows, its windows and its masks anew from `seed`."""
    for generator in generators_of(loader).values():
        generator.manual_seed(seed)
