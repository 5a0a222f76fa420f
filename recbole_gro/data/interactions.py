"""The interactions of a dataset with the exact values of its files, and RecBole's filters over them."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType

from recbole_gro.data.atomic_header import check_columns
from recbole_gro.data.atomic_reader import AtomicTable
from recbole_gro.data.categories import NUL, categories_of, joined_categories, names_have_nul
from recbole_gro.data.core_filter import dropped_once
from recbole_gro.data.named_columns import check_distinct_names, check_named_columns
from recbole_gro.data.presplit import PADDING, unknown_items, unpadded
from recbole_gro.data.settings import DataSettings
from recbole_gro.data.time_order import time_ranks
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.log import console

# leave-one-out split -> parts that take a user's last interactions: 1 validation, 2 test
HELD_OUT = {"valid_and_test": (1, 2), "valid_only": (1,), "test_only": (2,)}


class InteractionDataset(SequentialDataset):
    """RecBole's SequentialDataset with a reader that keeps the exact values of the files.

    Attributes:
        time_ranks: rank in time of each row of `inter_feat` before the split; absent with pre-split files.
        file_columns: {suffix of a file: all its columns}.
        filtered: numbers of users, items and interactions before and after the filters; absent with pre-split files.
    """

    inter_feat: Any
    time_ranks: pd.Series
    filtered: tuple[tuple[int, int, int], tuple[int, int, int]]

    def _get_preset(self):
        super()._get_preset()
        check_distinct_names(self.config)
        self.file_columns: dict[str, list[str]] = {}

    def _load_feat(self, filepath, source):
        suffix = getattr(source, "value", source)
        load_col, unload_col = self.config["load_col"], (self.config["unload_col"] or {}).get(suffix, ())
        chosen = "*" if load_col is None else load_col.get(suffix) or ()
        if not chosen and source is not FeatureSource.INTERACTION:
            return None
        table = AtomicTable(filepath, self.config["field_separator"], self.config["encoding"])
        self.file_columns[suffix] = list(table.columns)
        needed = self._needed_columns(source)
        check_columns(filepath, table.columns, needed)
        ids = [column for column, kind in needed.values() if kind != "float"]
        columns = [
            column
            for column in table.columns
            if column in ids or ((chosen == "*" or column in chosen) and column not in unload_col)
        ]
        for key in ("load_col", "unload_col"):
            given = (self.config.external_config_dict.get(key) or {}).get(suffix) or ()
            for column in set(given if given != "*" else ()) - set(table.columns):
                raise UserError(f"{key}: {filepath} has no column {column!r}; it has {', '.join(table.columns)}")
        times = [self.time_field] if "TIME_FIELD" in needed and self.time_field in columns else []
        rows = table.read(columns, complete=ids + times, exact=times[0] if times else None)
        for column in times:
            self.time_ranks = pd.Series(time_ranks(rows[column].to_numpy()))
            rows[column] = rows[column].astype(np.float64)  # RecBole's type
        for column in columns:
            self._describe(column, rows, table, source)
        rows.reset_index(drop=True, inplace=True)
        return rows

    def _needed_columns(self, source) -> dict[str, tuple[str, str]]:
        """Return {setting: (column that it names, its type)} of the columns that a file must have."""
        user, item = {"USER_ID_FIELD": (self.uid_field, "token")}, {"ITEM_ID_FIELD": (self.iid_field, "token")}
        if source is not FeatureSource.INTERACTION:
            return {FeatureSource.USER: user, FeatureSource.ITEM: item}.get(source, {})
        if self.benchmark_filename_list is None:
            return {**user, **item, "TIME_FIELD": (self.time_field, "float")}
        return {**user, **item, "LIST_SUFFIX": (self._item_list, "token_seq")}

    @property
    def _item_list(self) -> str:
        return self.iid_field + self.config["LIST_SUFFIX"]

    def _describe(self, column: str, rows: pd.DataFrame, table: AtomicTable, source) -> None:
        """Register a column's type, source and length with RecBole; texts of sequences become arrays."""
        kind, length = FeatureType(table.columns[column]), 1
        if kind in (FeatureType.TOKEN_SEQ, FeatureType.FLOAT_SEQ):
            longest = (self.config["seq_len"] or {}).get(column)
            cut = [values[:longest] for values in table.sequences(rows[column], self.config["seq_separator"])]
            rows[column] = pd.Series(cut, index=rows.index)
            length = max(map(len, cut))
        self.set_field_property(column, kind, source, length)
        if "float" in kind.value:
            self.field2bucketnum[column] = 2

    def _set_alias(self, alias_name, default_value):
        if alias_name == "item_id" and self.benchmark_filename_list is not None:
            default_value = [*default_value, self._item_list]
        super()._set_alias(alias_name, default_value)

    def _benchmark_presets(self):
        """Skip RecBole's step: lists become pointers into a history."""

    def _data_processing(self):
        check_named_columns(self)
        if self.benchmark_filename_list is not None:
            names = (f"{self.dataset_name}.{part}.inter" for part in self.benchmark_filename_list)
            files = dict(zip(names, self.file_size_list, strict=True))
            tokens = [feat[self.iid_field] for feat in (self.inter_feat, self.item_feat) if feat is not None]
            padded = not any((column == PADDING).any() for column in tokens)
            self.inter_feat = unpadded(self.inter_feat, self.iid_field, self.config["LIST_SUFFIX"], padded, files)
            if reason := unknown_items(self.inter_feat[self._item_list], tokens):
                console.warning(
                    f"seq_separator: {reason} in {self._item_list} of {', '.join(files)}; is "
                    f"{self.config['seq_separator']!r} what stands between items there?"
                )
        super()._data_processing()

    def _data_filtering(self):
        before = self._sizes()
        super()._data_filtering()
        self.filtered = before, self._sizes()

    def _filter_inter_by_user_or_item(self):
        before = len(self.inter_feat)
        super()._filter_inter_by_user_or_item()
        if left_out := before - len(self.inter_feat):
            features = {"user": self.user_feat, "item": self.item_feat}
            files = [f"{self.dataset_name}.{suffix}" for suffix, rows in features.items() if rows is not None]
            console.warning(
                f"dataset {self.dataset_name}: {left_out} of {before} interactions are left out, whose user or item "
                f"has no row in {' or '.join(files)}"
            )

    def _sizes(self) -> tuple[int, int, int]:
        """Return the numbers of users, items and interactions in the rows loaded."""
        rows = self.inter_feat
        return rows[self.uid_field].nunique(), rows[self.iid_field].nunique(), len(rows)

    def _remove_duplication(self):
        keep = self.config["rm_dup_inter"]
        if keep is not None and hasattr(self, "time_ranks"):
            in_order = self.inter_feat.loc[self.time_ranks.sort_values(kind="stable").index]
            self.inter_feat = in_order.drop_duplicates([self.uid_field, self.iid_field], keep=keep)

    def _concat_remaped_tokens(self, remap_list):
        """Return tokens as RecBole does, but as categories where they are, instead of one text per row."""
        parts = [feat[field] for feat, field, _ in remap_list]
        if all(isinstance(part.dtype, pd.CategoricalDtype) for part in parts):
            return joined_categories([part.array for part in parts]), np.cumsum([len(part) for part in parts])[:-1]
        values, split = super()._concat_remaped_tokens(remap_list)
        return (categories_of(values) if any(map(_has_nul, parts)) else values), split

    def _remap(self, remap_list):
        """Number tokens as RecBole does; its array of names would drop a NUL at the end of one."""
        names = None
        if any(_has_nul(feat[field]) for feat, field, _ in remap_list):
            names = np.array(["[PAD]", *pd.factorize(self._concat_remaped_tokens(remap_list)[0])[1]], dtype=object)
        super()._remap(remap_list)
        if names is not None:
            for _, field, _ in remap_list:
                self.field2id_token[field] = names
                self.field2token_id[field] = {name: place for place, name in enumerate(names)}

    def _reset_index(self):
        for name in self.feat_name_list:
            if getattr(self, name).empty:
                raise UserError(
                    f"dataset {self.dataset_name}: the filters leave nothing in {name}; widen user_inter_num_interval, "
                    f"item_inter_num_interval or val_interval, or check that .user and .item files match .inter"
                )
        if hasattr(self, "time_ranks"):
            self.time_ranks = self.time_ranks.loc[self.inter_feat.index].reset_index(drop=True)
        super()._reset_index()

    def _filter_by_inter_num(self):
        if DataSettings.of(self.config).core_filter == "repeated":
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
        # features alone do not keep an item in the catalogue
        for features, field in ((self.item_feat, self.iid_field), (self.user_feat, self.uid_field)):
            if features is not None:
                features.drop(features.index[~features[field].isin(self.inter_feat[field])], inplace=True)

    def leave_one_out(self, group_by, leave_one_mode):
        """Split as RecBole does, into the same rows in the same order, by arrays in place of lists of row numbers."""
        user = pd.factorize(self.inter_feat[group_by].numpy())[0]
        rows_of_user, row = np.bincount(user), user.argsort(kind="stable")
        held_out = HELD_OUT[leave_one_mode]
        part = np.zeros(len(row), dtype=np.int8)
        last = rows_of_user.cumsum() - 1
        for later, number in enumerate(reversed(held_out)):
            part[last[rows_of_user > later + 1] - later] = number
        self._drop_unused_col()
        indices = [torch.from_numpy(row[part == number]) for number in range(3)]
        del user, row
        return [
            self.copy(Interaction({k: v[index] for k, v in self.inter_feat.interaction.items()})) for index in indices
        ]


def _has_nul(tokens: pd.Series) -> bool:
    """Return whether a text of a token or token_seq column has a NUL; arrays are objects then alone."""
    if isinstance(tokens.dtype, pd.CategoricalDtype):
        return names_have_nul(tokens.array)
    if any(isinstance(value, np.ndarray) for value in tokens.iloc[:1]):
        return any(values.dtype.kind == "O" for values in tokens)
    return any(isinstance(value, str) and NUL in value for value in tokens)
