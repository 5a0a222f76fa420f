"""RecBole's data loaders over the lazy dataset, with the transforms that training and serving need."""

import warnings
from http.client import HTTPException
from zipfile import BadZipFile

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
    """Read the dataset of a config from RecBole's atomic files (downloaded by RecBole where it knows the name).

    Args:
        config: RecBole's Config or ours.

    Returns:
        The filtered dataset, not split yet.

    Raises:
        UserError: files are missing or cannot be read, or hold other columns than the settings say.
    """
    check_split(config)
    check_obtainable(config)
    with warnings.catch_warnings(), no_process_group():
        # pandas' notices about RecBole's fillna; the bound pandas < 3 answers them
        warnings.simplefilter("ignore", FutureWarning)
        try:
            dataset = SequenceDataset(config)
        except (OSError, HTTPException, BadZipFile, EOFError) as error:
            raise UserError(
                f"dataset {config['dataset']}: not in {config['data_path']}, and RecBole could not download it "
                f"({getattr(error, 'reason', None) or error})"
            ) from error
    check_item_features(config, dataset)
    return dataset


def check_split(config) -> None:
    """Check that the split of a config makes training, validation and test rows in the order of time.

    Raises:
        UserError: it does not; the message names the part of eval_args.
    """
    arguments = config["eval_args"]
    if arguments["order"] != "TO":
        raise UserError(f"eval_args: order {arguments['order']!r} is not the order of time; histories need TO")
    if str(arguments["group_by"]).lower() not in ("user", "none"):
        raise UserError(f"eval_args: group_by {arguments['group_by']!r} is not supported; it takes user or none")
    ratios = next(iter(arguments["split"].values()))
    if "LS" not in arguments["split"] and not (
        isinstance(ratios, list) and len(ratios) == 3 and all(isinstance(n, int | float) and n > 0 for n in ratios)
    ):
        raise UserError(
            f"eval_args: split {arguments['split']} has no part for each of training, validation and test; write three "
            f"numbers above 0, such as [0.8, 0.1, 0.1]"
        )


def check_item_features(config, dataset: SequenceDataset) -> None:
    """Check that the item features that the model reads are loaded, and of a type that it can embed.

    Raises:
        UserError: one is not; the message names the feature.
    """
    for name in config["selected_features"] or []:
        wanted = f"selected_features: {config['model']} reads the item feature {name!r}"
        if name not in dataset.field2type or dataset.item_feat is None:
            columns = ", ".join(dataset.file_columns.get("item", [])) or "none, or is not there"
            raise UserError(
                f"{wanted}, which is no column of {config['dataset']}.item or not in load_col; its columns: {columns}"
            )
        kind = dataset.field2type[name].value
        if kind.startswith("float") and name not in config["numerical_features"]:
            raise UserError(f"{wanted}, a {kind}; it takes token, token_seq, or floats named in numerical_features")


def build_loaders(config, dataset: SequenceDataset):
    """Make training, validation and test loaders of RecBole, split as its eval_args say.

    Args:
        config: RecBole's Config or ours.
        dataset: as of `build_dataset`.

    Returns:
        Three loaders.

    Raises:
        UserError: the catalogue is too small for the served list, or no row is left to train on or to evaluate.
    """
    # RecBole scores a whole evaluation batch against all items at once
    config["eval_batch_size"] = min(config["eval_batch_size"], max(1, SCORES_OF_A_BATCH // dataset.item_num))
    with no_pickled_loaders():
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
                f"dataset {config['dataset']}: no user is left for {name}; by the split of eval_args, "
                f"{config['eval_args']['split']}. Leave-one-out (LS: valid_and_test) needs users with at least 4 "
                f"interactions, ratios (RS, TS) three parts and long histories"
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
