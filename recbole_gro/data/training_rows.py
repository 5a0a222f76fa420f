"""Which rows a model trains on (`train_rows`), and where rows start and end in histories."""

from collections.abc import Sized
from typing import Any

import numpy as np

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.recbole_settings import MASKED_TRANSFORM
from recbole_gro.data.interactions import HELD_OUT
from recbole_gro.data.settings import DataSettings
from recbole_gro.scoring import scorer_class
from recbole_gro.utils.errors import UserError

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]  # start, length and target of each, the target by its position


def train_rows_of(config: ConfigLike) -> str:
    """Return `windows`, `sequences` or `prefixes`: the config's `train_rows`.

    auto is windows for masked models and leave-one-out, sequences for causal models with cross-entropy loss, else
    prefixes; pre-split files have prefixes alone.

    Raises:
        UserError: rows that pre-split files do not have, or that the model cannot train on.
    """
    chosen, model = DataSettings.of(config).train_rows, config["model"]
    masks = config["transform"] == MASKED_TRANSFORM
    reads_all_prefixes = scorer_class(config.model_class).all_prefixes_at_once and config["loss_type"] == "CE"
    if config["benchmark_filename"] is not None:
        if chosen in ("windows", "sequences"):
            raise UserError(f"train_rows: {chosen} need complete histories; benchmark_filename takes prefixes")
        return "prefixes"
    if chosen == "windows" and not masks:
        raise UserError(f"train_rows: windows are for masked models (BERT4Rec); {model} takes prefixes")
    if chosen == "sequences" and not reads_all_prefixes:
        raise UserError(
            f"train_rows: sequences are for causal models with cross-entropy loss (loss_type CE); {model} takes "
            f"{'windows or ' if masks else ''}prefixes here"
        )
    if chosen != "auto":
        return chosen
    windows = masks and "LS" in config["eval_args"]["split"]
    return "windows" if windows else "sequences" if reads_all_prefixes else "prefixes"


def check_rows_left(config: ConfigLike, rows: Sized, part: str) -> None:
    """Check that a split leaves rows for a part.

    Args:
        config: `dataset` and `eval_args`.
        rows: of the part.
        part: its name in the message: training, validation or test.

    Raises:
        UserError: there is none.
    """
    if not len(rows):
        raise UserError(
            f"dataset {config['dataset']}: no user is left for {part} by the split of eval_args, "
            f"{config['eval_args']['split']}. Leave-one-out (LS: valid_and_test) needs users with at least 4 "
            f"interactions, ratios (RS, TS) three parts and long histories"
        )


def prefix_rows(first: np.ndarray, count: np.ndarray, longest: int) -> Rows:
    """Return RecBole's rows: every item but a user's first, with those before it.

    Args:
        first: [u] position of each user's first interaction; users follow each other.
        count: [u] interactions of each.
        longest: maximum items in a row.
    """
    target = np.delete(np.arange(count.sum()), first)
    start = np.maximum(np.repeat(first, count - 1), target - longest)
    return start, target - start, target


def window_rows(first: np.ndarray, count: np.ndarray, longest: int, split: dict[str, Any]) -> Rows:
    """Return windows over training items, and held-out prefixes.

    Args:
        first: [u] position of each user's first interaction; users follow each other.
        count: [u] interactions of each.
        longest: maximum items in a row.
        split: of eval_args.

    Raises:
        UserError: the split is not leave-one-out.
    """
    if "LS" not in split:
        raise UserError(
            f"train_rows: windows need the leave-one-out split (eval_args split LS), not {split}; "
            f"set train_rows=prefixes"
        )
    first, count = first[count > 1], count[count > 1]
    # RecBole's leave-one-out keeps at least one training row per user: two items
    held = np.minimum(len(HELD_OUT[split["LS"]]), count - 2)
    trained = count - held
    # a remainder of one item has nothing to predict
    windows = -(-(trained - 1) // longest)
    rows = windows + held
    row_of_user = np.arange(rows.sum()) - np.repeat(np.cumsum(rows) - rows, rows)
    first, trained, windows = (np.repeat(column, rows) for column in (first, trained, windows))
    is_window = row_of_user < windows
    end = first + trained + np.where(is_window, -(windows - 1 - row_of_user) * longest, row_of_user - windows)
    start = np.maximum(first, end - longest)
    # a window's item and time are those of its last item; a held-out row predicts the item at its end
    return start, end - start, np.where(is_window, end - 1, end)
