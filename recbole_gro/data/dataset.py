"""RecBole's SequentialDataset with its rows made lazily, with windows beside prefixes, and a filter of one pass."""

from collections import Counter
from functools import partial

import numpy as np
import torch
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource

from recbole_gro.config.recbole_settings import MASKED_TRANSFORM
from recbole_gro.config.settings import setting
from recbole_gro.data import settings  # noqa: F401  (declares the keys)
from recbole_gro.data.atomic_check import check_columns, columns_of
from recbole_gro.data.core_filter import dropped_once
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.random_state import process_generator

HELD_OUT = {"valid_and_test": 2, "valid_only": 1, "test_only": 1}


def train_rows_of(config) -> str:
    """`windows` or `prefixes`: the config's `train_rows`, where auto means windows for masked models.

    Raises:
        UserError: windows for a model that masks nothing; its rows would hold the item they are to predict.
    """
    chosen = setting(config, "train_rows")
    masks = config["transform"] == MASKED_TRANSFORM
    if chosen == "windows" and not masks:
        raise UserError(f"train_rows: windows are for masked models (BERT4Rec); {config['model']} takes prefixes")
    if chosen == "auto":
        return "windows" if masks else "prefixes"
    return chosen


class SequenceDataset(SequentialDataset):
    """Rows of a user's history that point into the interactions instead of holding copies.

    RecBole's augmentation copies up to MAX_ITEM_LIST_LENGTH items for every interaction: tens of GB for ML-20M. Here
    a row is a start and a length; the list columns are gathered for the rows of a batch when a data loader asks.

    Two kinds of training rows (`train_rows`):
        prefixes: RecBole's, one row for each item that has a history.
        windows: a user's training items cut into pieces of MAX_ITEM_LIST_LENGTH, counted from the most recent item
            back, as the paper's masked models read them. The validation and the test row follow as in RecBole, so
            its leave-one-out split finds the same rows either way. Each time a training window is read it is, with
            chance `window_shift`, moved back by a random part of its length, so that its cuts are not learned.
    """

    inter_feat: Interaction
    trimmed = False  # lists as wide as the longest of a batch, for models whose scores do not change with padding
    window_generator: torch.Generator | None = None  # set on training windows: source of their moves

    def _load_feat(self, filepath, source):
        if len(self.config["field_separator"]) > 1:  # a pattern
            return super()._load_feat(filepath, source)
        columns = columns_of(filepath, self.config["field_separator"], self.config["encoding"])
        if source is not FeatureSource.INTERACTION or self.benchmark_filename_list is not None:
            return super()._load_feat(filepath, source)
        wanted = {
            "USER_ID_FIELD": (self.uid_field, "token"),
            "ITEM_ID_FIELD": (self.iid_field, "token"),
            "TIME_FIELD": (self.time_field, "float"),
        }
        check_columns(filepath, columns, wanted)
        rows = super()._load_feat(filepath, source)
        if rows is not None and self.time_field in rows:
            # RecBole would put the mean of all times in its place
            timeless = np.flatnonzero(~np.isfinite(rows[self.time_field]))
            if len(timeless):
                raise UserError(f"{filepath}, line {timeless[0] + 2}: no finite {self.time_field} to order it by")
        return rows

    def _filter_by_inter_num(self):
        if setting(self.config, "core_filter") == "repeated":
            super()._filter_by_inter_num()
            return
        intervals = {
            self.iid_field: self._parse_intervals_str(self.config["item_inter_num_interval"]),
            self.uid_field: self._parse_intervals_str(self.config["user_inter_num_interval"]),
        }
        fits = {field: partial(self._within_intervals, intervals=given) for field, given in intervals.items() if given}
        if not fits:
            return
        self.inter_feat.drop(dropped_once(self.inter_feat, fits), inplace=True)
        # the catalogue is what is left: an item whose last user went would otherwise stay in it by its features
        for features, field in ((self.item_feat, self.iid_field), (self.user_feat, self.uid_field)):
            if features is not None:
                features.drop(features.index[~features[field].isin(self.inter_feat[field])], inplace=True)

    def data_augmentation(self):
        self._aug_presets()
        if self.time_field not in self.inter_feat:
            raise UserError(
                f"dataset {self.dataset_name}: its interactions have no loaded field {self.time_field!r} to be ordered "
                f"by; name it with TIME_FIELD and load it with load_col"
            )
        self.sort(by=[self.uid_field, self.time_field], ascending=True)
        history = self.inter_feat
        users = history[self.uid_field].numpy()
        first = np.flatnonzero(np.r_[True, users[1:] != users[:-1]]) if len(users) else np.zeros(0, int)
        count = np.diff(np.r_[first, len(users)])
        if not (count > 1).any():
            raise UserError(
                f"dataset {self.dataset_name}: no user has two interactions, so there is nothing to predict"
            )
        if train_rows_of(self.config) == "windows":
            start, length, target = self._window_rows(first, count)
        else:
            start, length, target = self._prefix_rows(first, count)
        self.history = history
        rows = {field: history[field][target] for field in history}
        rows[self.item_list_length_field] = torch.from_numpy(length)
        self.row_start_field = f"{self.item_list_length_field}_start"
        rows[self.row_start_field] = torch.from_numpy(start)
        self.inter_feat = Interaction(rows)
        self.first_of_user = torch.zeros(self.user_num, dtype=torch.long)
        self.first_of_user[users[first]] = torch.from_numpy(first)

    def build(self):
        train, *held_out = super().build()
        if hasattr(train, "history") and train_rows_of(self.config) == "windows":
            train.window_generator = torch.Generator().manual_seed(self.config["seed"])
        return [train, *held_out]

    def _prefix_rows(self, first, count):
        """Start, length and target index of RecBole's rows: every item but a user's first, with what came before."""
        target = np.delete(np.arange(count.sum()), first)
        start = np.maximum(np.repeat(first, count - 1), target - self.max_item_list_len)
        return start, target - start, target

    def _window_rows(self, first, count):
        """Windows over all but the held-out items of each user, then the held-out rows as prefixes."""
        split = self.config["eval_args"]["split"]
        if "LS" not in split:
            raise UserError(
                f"train_rows: windows need the leave-one-out split (eval_args split LS), not {split}; "
                f"set train_rows=prefixes"
            )
        first, count = first[count > 1], count[count > 1]
        # RecBole's leave-one-out keeps at least one training row a user: two items
        held = np.minimum(HELD_OUT.get(split["LS"], 2), count - 2)
        trained = count - held
        # a remainder of one item would be a row that teaches nothing
        windows = -(-(trained - 1) // self.max_item_list_len)
        rows = windows + held
        row_of_user = np.arange(rows.sum()) - np.repeat(np.cumsum(rows) - rows, rows)
        first, trained, windows = (np.repeat(column, rows) for column in (first, trained, windows))
        is_window = row_of_user < windows
        end = (
            first
            + trained
            + np.where(is_window, -(windows - 1 - row_of_user) * self.max_item_list_len, row_of_user - windows)
        )
        start = np.maximum(first, end - self.max_item_list_len)
        # a window's own item and time are those of its last item; a held-out row predicts the item at its end
        return start, end - start, np.where(is_window, end - 1, end)

    def __getitem__(self, index, join=True):
        rows = super().__getitem__(index, join)
        if not hasattr(self, "history"):
            return rows
        return self._with_lists(rows if self.window_generator is None else self._moved(rows, self.window_generator))

    def _moved(self, rows: Interaction, generator: torch.Generator) -> Interaction:
        """Training windows, some of them moved back: still at most MAX_ITEM_LIST_LENGTH items, at least two."""
        start, length = rows[self.row_start_field], rows[self.item_list_length_field]
        draws = torch.rand(2, *length.shape, generator=process_generator(generator))
        back = (draws[0] * (length - 1)).long() * (draws[1] < setting(self.config, "window_shift"))
        end = start + length - back
        start = torch.maximum(self.first_of_user[rows[self.uid_field]], end - self.max_item_list_len)
        rows.update(Interaction({self.row_start_field: start, self.item_list_length_field: end - start}))
        return rows

    def _with_lists(self, rows: Interaction) -> Interaction:
        start, length = rows[self.row_start_field], rows[self.item_list_length_field]
        place = torch.arange(int(length.max()) if self.trimmed else self.max_item_list_len)
        filled = place < length.unsqueeze(-1)
        index = (start.unsqueeze(-1) + place).clamp_(max=len(self.history) - 1)
        for field in self.history:
            if field == self.uid_field:
                continue
            values = self.history[field]
            keep = filled.reshape(filled.shape + (1,) * (values.dim() - 1))
            rows[getattr(self, f"{field}_list_field")] = torch.where(keep, values[index], torch.zeros_like(values[:1]))
        rows.drop(self.row_start_field)
        return rows

    @property
    def item_counter(self) -> Counter:
        """How often each item occurs in these rows: as a target, in windows at every place."""
        if not hasattr(self, "history") or train_rows_of(self.config) != "windows":
            return super().item_counter
        rows = self.inter_feat
        start, length = rows[self.row_start_field].numpy(), rows[self.item_list_length_field].numpy()
        change = np.zeros(len(self.history) + 1, dtype=np.int64)
        np.add.at(change, start, 1)
        np.add.at(change, start + length, -1)
        times = np.cumsum(change[:-1])
        counts = np.bincount(self.history[self.iid_field].numpy(), weights=times, minlength=self.item_num)
        return Counter({int(item): int(n) for item, n in enumerate(counts) if n})
