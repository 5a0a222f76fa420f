"""RecBole's data loaders over the lazy dataset, with the transforms that training and serving need."""

from http.client import HTTPException
from typing import Any
from zipfile import BadZipFile

from recbole.data import data_preparation
from recbole.data.transform import Equal

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.recbole_checks import LEAVE_ONE_OUT
from recbole_gro.config.recbole_settings import MASKED_TRANSFORM, check_value, normalised
from recbole_gro.config.settings import setting
from recbole_gro.data.availability import check_obtainable
from recbole_gro.data.dataset import SequenceDataset
from recbole_gro.data.digests import data_fingerprint
from recbole_gro.data.masking import WindowMask
from recbole_gro.data.training_rows import check_rows_left, train_rows_of
from recbole_gro.data.whole_sequences import SequenceLoader
from recbole_gro.scoring import scorer_class
from recbole_gro.utils.compat import no_pickled_loaders, no_process_group
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.random_state import generators_of
from recbole_gro.utils.ranking import rows_at_once

# train_neg_sample_args that training windows have
ONE_UNIFORM = {"distribution": "uniform", "sample_num": 1, "dynamic": False}


def build_dataset(config: ConfigLike) -> SequenceDataset:
    """Read the dataset of a config from RecBole's atomic files; RecBole downloads those that it can.

    Args:
        config: RecBole's Config or ours.

    Returns:
        The filtered dataset, not split yet. `build_loaders` splits it into loaders; RecBole's `data_preparation` does
        so too, into one row per prefix.

    Raises:
        UserError: the split is not supported, or files are missing, unreadable or lack columns that settings name.
    """
    # RecBole's Config takes any split; how it evaluates does not matter here
    split = {part: value for part, value in config["eval_args"].items() if part != "mode"}
    check_value("eval_args", normalised("eval_args", split), None)
    check_obtainable(config)
    with no_process_group():
        try:
            dataset = SequenceDataset(config)
        except (OSError, HTTPException, BadZipFile, EOFError) as error:
            raise UserError(
                f"dataset {config['dataset']}: not in {config['data_path']}, and RecBole could not download it "
                f"({getattr(error, 'reason', None) or error})"
            ) from error
    _check_item_features(config, dataset)
    dataset.only_prefixes, dataset.data_digests = True, data_fingerprint(config)
    return dataset


def _check_item_features(config: ConfigLike, dataset: SequenceDataset) -> None:
    """Refuse an item feature of the model that is not loaded, or of a type that it cannot embed."""
    for name in config["selected_features"] or []:
        reads = f"selected_features: {config['model']} reads the item feature {name!r}"
        if name not in dataset.field2type or dataset.item_feat is None:
            columns = ", ".join(dataset.file_columns.get("item", [])) or "none, or the file does not exist"
            raise UserError(
                f"{reads}, which is no column of {config['dataset']}.item or not in load_col; its columns: {columns}"
            )
        kind = dataset.field2type[name].value
        if kind.startswith("float") and name not in config["numerical_features"]:
            raise UserError(f"{reads}, a {kind}; it takes token, token_seq, or floats named in numerical_features")


def build_loaders(config: ConfigLike, dataset: SequenceDataset) -> tuple[Any, Any, Any]:
    """Return RecBole's loaders of training, validation and test rows, split by eval_args.

    Args:
        config: RecBole's Config or ours.
        dataset: as of `build_dataset`.

    Raises:
        UserError: the catalogue is too small for the served list, no row is left to train on or to evaluate, or
            RecBole's masks of prefixes have no place; the dataset was split before; negatives that windows do not have.
    """
    if hasattr(dataset, "history"):
        raise UserError("dataset: it is split already; build_dataset(config) gives one for further loaders")
    split = config["eval_args"]["split"]
    if config["benchmark_filename"] is None and split.get("LS", LEAVE_ONE_OUT[0]) != LEAVE_ONE_OUT[0]:
        raise UserError(
            f"eval_args: split LS {split['LS']!r} leaves no row for validation or test; it takes {LEAVE_ONE_OUT[0]}"
        )
    rows, masked = train_rows_of(config), config["transform"] == MASKED_TRANSFORM
    given = ONE_UNIFORM | (config["train_neg_sample_args"] or {})
    if rows == "windows" and config["loss_type"] == "BPR" and not ONE_UNIFORM.items() <= given.items():
        raise UserError(
            "train_neg_sample_args: windows have one negative per mask, drawn uniformly; leave it out, or set "
            "train_rows=prefixes"
        )
    if masked and rows == "prefixes" and int(config["mask_ratio"] * config["MAX_ITEM_LIST_LENGTH"]) < 1:
        raise UserError(
            f"mask_ratio: prefixes have at most mask_ratio x MAX_ITEM_LIST_LENGTH masks, here {config['mask_ratio']} x "
            f"{config['MAX_ITEM_LIST_LENGTH']}, less than one; raise one of them, or set train_rows=windows"
        )
    dataset.only_prefixes = False
    # RecBole scores a whole evaluation batch against all items at once; the number depends on the device, so that it
    # is no setting of the run, which may be resumed on another one
    rows_per_batch = rows_at_once(dataset.item_num, config["eval_batch_size"], config["device"])
    given = config["eval_batch_size"]
    config["eval_batch_size"] = rows_per_batch
    try:
        with no_pickled_loaders():
            train, valid, test = data_preparation(config, dataset)
    finally:
        config["eval_batch_size"] = given
    if rows == "sequences":
        train = SequenceLoader(config, train._dataset, train._sampler, shuffle=config["shuffle"])
    if rows == "windows":
        train.transform = WindowMask(config)
        train._dataset.trimmed = True
    if masked:
        # evaluation reads the history alone; RecBole masks it too, item by item in Python
        valid.transform = test.transform = Equal(config)
    elif scorer_class(config.model_class).any_length:
        train._dataset.trimmed = True
    for name, loader in (("validation", valid), ("test", test)):
        check_rows_left(config, loader._dataset, name)
    check_served_k(setting(config, "served_k"), dataset.item_num)
    return train, valid, test


def check_served_k(served_k: int, n_items: int) -> None:
    """Check that one item stays outside a list, for Eq. 4 to sample, and for a defense to put into its tail.

    Args:
        served_k: length of a list.
        n_items: size of the id space, padding included.

    Raises:
        UserError: lists are too long for the catalogue.
    """
    if served_k > n_items - 2:
        raise UserError(
            f"served_k: {served_k} is too long for a catalogue of {n_items - 1} items; at most {n_items - 2}, "
            f"so that one item stays outside the list"
        )


def reseed(loader: Any, seed: int) -> None:
    """Seed the generators of a loader's order of rows, windows and masks."""
    for generator in generators_of(loader).values():
        generator.manual_seed(seed)
