"""RecBole's SequentialDataset with lazy rows: prefixes, windows or whole sequences of histories."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_gro.data.interactions import InteractionDataset
from recbole_gro.data.presplit import distinct_interactions, joined_histories
from recbole_gro.data.settings import DataSettings
from recbole_gro.data.training_rows import check_rows_left, prefix_rows, train_rows_of, window_rows
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.random_state import process_generator

ROUNDED_TIME = "rounded_time"  # column of the times while the time column has their ranks
PREDICTED = (
    "n_predicted"  # field of whole sequences: at how many positions, a row's last ones, the next item is a target
)


class SequenceDataset(InteractionDataset):
    """A dataset whose rows are positions in the users' histories.

    RecBole's augmentation copies up to MAX_ITEM_LIST_LENGTH items for every interaction: tens of GB for ML-20M. Here
    the interactions of all users stand one after the other in `history`. A row of `inter_feat` is a start and a length
    in it, and the list columns are gathered for the rows of a batch. What follows a row's last item is its target, but
    for windows, which have none.

    Training rows (`train_rows`) are
        prefixes: RecBole's, one row per item that has a history;
        sequences: the targets of these rows cut into pieces of at most MAX_ITEM_LIST_LENGTH. A row is the prefix of
            the last target of a piece; each target of the piece is predicted from the items before it in the row.
            Where to cut is drawn for each epoch (`cut_sequences`), so that a target has contexts of many lengths.
        windows: a user's training items split into pieces of MAX_ITEM_LIST_LENGTH, from the most recent item back, as
            the paper's masked models read them. Validation and test rows are RecBole's. Whenever a training window is
            read it is moved back, with probability `window_shift`, by a random part of its length, so that a model
            sees no fixed boundaries.

    Attributes:
        history: interactions by user and time, each once; with pre-split files each row's history and target by itself.
        first_of_user: [user_num] position in `history` of each user's first interaction; with pre-split files that of
            the user's longest training row.
        row_start_field: column of a row's start; RecBole's item_list_length_field has its length.
        data_digests: of the atomic files that were read, by name; empty where that is unknown.
    """

    inter_feat: Interaction
    data_digests: Mapping[str, str] = MappingProxyType({})
    is_training_part = False
    only_prefixes = False  # RecBole's loaders train on one target per row, so for them `auto` is prefixes
    trimmed = False  # lists are as wide as the longest of a batch, for models whose scores do not depend on padding
    window_generator: torch.Generator | None = None  # of training windows and sequences: source of their shifts
    _target_runs: tuple[Tensor, Tensor] | None = None  # of training sequences
    _first_of_row: Tensor | None = None  # of pre-split files: where the row of each position of `history` starts

    def _change_feat_format(self):
        if self.benchmark_filename_list is None:
            super()._change_feat_format()
            return
        suffix, rows = self.config["LIST_SUFFIX"], self.inter_feat
        lists = {field: rows[field + suffix] for field in rows if field + suffix in rows}
        self.inter_feat = rows.drop(columns=[field + suffix for field in lists])
        super()._change_feat_format()
        self._aug_presets()
        targets = {field: self.inter_feat[field].numpy() for field in lists}
        history, owner, start, target = joined_histories(lists, targets)
        users = self.inter_feat[self.uid_field].numpy()
        history[self.uid_field] = users[owner]
        self.history = Interaction({field: torch.from_numpy(values) for field, values in history.items()})
        # a user's longest training row comes last, so that its start overwrites those of the others
        trained = np.argsort(start[: self.file_size_list[0]])
        self.first_of_user = torch.zeros(self.user_num, dtype=torch.long)
        self.first_of_user[users[trained]] = torch.from_numpy(start[trained])
        self._first_of_row = torch.from_numpy(start[owner])
        start = np.maximum(start, target - self.max_item_list_len)
        self._point_rows(self.inter_feat, start, target - start)

    def _point_rows(self, rows: Interaction, start: np.ndarray, length: np.ndarray) -> None:
        self.row_start_field = f"{self.item_list_length_field}_start"
        rows[self.item_list_length_field] = torch.from_numpy(length)
        rows[self.row_start_field] = torch.from_numpy(start)
        self.inter_feat = rows

    def _ends(self, rows: Interaction) -> Tensor:
        """Return the position in `history` after the last item of each row: that of its target, if it has one."""
        return rows[self.row_start_field] + rows[self.item_list_length_field]

    def data_augmentation(self) -> None:
        """Sort the interactions by user and exact time, and replace them by rows that point into them.

        Raises:
            UserError: times are not loaded, or no user has two interactions.
        """
        self._aug_presets()
        if self.time_field not in self.inter_feat:
            raise UserError(
                f"dataset {self.dataset_name}: its interactions have no loaded field {self.time_field!r} to be ordered "
                f"by; name it with TIME_FIELD and load it with load_col"
            )
        history, ranks = self.inter_feat, self.time_ranks.to_numpy()
        # one key sorts faster than two; filters leave ranks that exceed the number of rows
        order = np.argsort(history[self.uid_field].numpy() * (ranks.max(initial=0) + 1) + ranks, kind="stable")
        history._reindex(torch.from_numpy(order))
        users = history[self.uid_field].numpy()
        first = np.flatnonzero(np.r_[True, users[1:] != users[:-1]]) if len(users) else np.zeros(0, int)
        count = np.diff(np.r_[first, len(users)])
        if not (count > 1).any():
            raise UserError(
                f"dataset {self.dataset_name}: no user has two interactions, so there is nothing to predict"
            )
        if self._train_rows() == "windows":
            start, length, target = window_rows(first, count, self.max_item_list_len, self.config["eval_args"]["split"])
        else:
            start, length, target = prefix_rows(first, count, self.max_item_list_len)
        self.history = history
        rows = Interaction({field: history[field][target] for field in history})
        # RecBole splits by this column: until then it has ranks, as float32 rounds times
        rows[ROUNDED_TIME] = rows[self.time_field]
        rows[self.time_field] = torch.from_numpy(ranks[order][target])
        self._point_rows(rows, start, length)
        self.first_of_user = torch.zeros(self.user_num, dtype=torch.long)
        self.first_of_user[users[first]] = torch.from_numpy(first)

    def build(self) -> list["SequenceDataset"]:
        """Return training, validation and test part.

        Raises:
            UserError: no row is left for training; torch's sampler of rows refuses that with a traceback.
        """
        train, *held_out = super().build()
        check_rows_left(self.config, train, "training")
        train.is_training_part = True
        for part in (self, train, *held_out):
            times = part.inter_feat.interaction.pop(ROUNDED_TIME, None)
            if self.time_field in part.inter_feat and times is not None:
                part.inter_feat[self.time_field] = times
        if self._train_rows() != "prefixes":
            train.window_generator = torch.Generator().manual_seed(self.config["seed"])
        if self._train_rows() == "sequences":
            train._target_runs = train._runs_of_targets()
            train.cut_sequences()
        return [train, *held_out]

    def _train_rows(self) -> str:
        rows = train_rows_of(self.config)
        if self.only_prefixes and rows != "prefixes":
            if DataSettings.of(self.config).train_rows != "auto":
                raise UserError(
                    f"train_rows: {rows} need recbole_gro.data.build_loaders(config, dataset) in place of RecBole's "
                    f"data_preparation, which trains on one target per row; or leave it out"
                )
            return "prefixes"
        return rows

    def cut_sequences(self) -> None:
        """Cut the runs of targets of a training part anew: into as few rows as hold them, at random among those."""
        assert self._target_runs is not None
        longest, (last, n) = self.max_item_list_len, self._target_runs
        rows_of_run = (n + longest - 1) // longest
        # moved towards the most recent target; the oldest row of a run takes up what it can hold
        room = rows_of_run * longest - n
        shift = (torch.rand(len(n), generator=self.window_generator) * (room + 1)).long()
        run = torch.arange(len(n)).repeat_interleave(rows_of_run)
        later_rows = torch.arange(len(run)) - (rows_of_run.cumsum(0) - rows_of_run)[run]
        later = (later_rows * longest - shift[run]).clamp(min=0)  # targets of the run after those of the row
        target = last[run] - later
        rows = Interaction({field: self.history[field][target] for field in self.history})
        rows[PREDICTED] = torch.minimum((later_rows + 1) * longest - shift[run], n[run]) - later
        start = torch.maximum(self.first_of_user[rows[self.uid_field]], target - longest)
        self._point_rows(rows, start.numpy(), (target - start).numpy())

    def _runs_of_targets(self) -> tuple[Tensor, Tensor]:
        """Return the position in `history` of the last target, and the length, of each run of prefixes' targets."""
        rows = self.inter_feat
        target = self._ends(rows).sort().values
        # a user's first item is no target, so the targets of two users are never neighbours
        end = (target.diff(append=target[-1:] + 2) != 1).nonzero().squeeze(1)
        return target[end], end.diff(prepend=torch.tensor([-1]))

    def __getitem__(self, index, join=True):
        rows = super().__getitem__(index, join)
        if not hasattr(self, "history"):
            return rows
        if self.window_generator is not None and self._target_runs is None:
            rows = self._moved(rows, self.window_generator)
        return self._with_lists(rows)

    def _moved(self, rows: Interaction, generator: torch.Generator) -> Interaction:
        """Move some training windows back; each has 2 to MAX_ITEM_LIST_LENGTH items."""
        start, length = rows[self.row_start_field], rows[self.item_list_length_field]
        draws = torch.rand(2, *length.shape, generator=process_generator(generator))
        back = (draws[0] * (length - 1)).long() * (draws[1] < DataSettings.of(self.config).window_shift)
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

    def complete_histories(self, first: int, n: int) -> Tensor:
        """Return all items [n, L] before the targets of rows, of which models read the most recent alone.

        Args:
            first: number of the first row.
            n: number of rows.

        Returns:
            Padded right with 0.
        """
        rows = self.inter_feat[first : first + n]
        end = self._ends(rows)
        of_user, of_row = self.first_of_user, self._first_of_row
        start = of_user[rows[self.uid_field]] if of_row is None else of_row[end]
        length = end - start
        place = torch.arange(int(length.max()))
        index = (start.unsqueeze(-1) + place).clamp_(max=len(self.history) - 1)
        return self.history[self.iid_field][index] * (place < length.unsqueeze(-1))

    def spans_of_users(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the positions in `history` of the interactions of this part, a training part.

        Returns:
            [u] users with rows, [u] the position of the first interaction of each, [u] the position after the last;
            with pre-split files those of a user's longest row.
        """
        rows = self.inter_feat
        end = self._ends(rows)
        if self._train_rows() != "windows":
            end = end + 1  # the target of the row
        ends = torch.zeros(self.user_num, dtype=torch.long).scatter_reduce_(0, rows[self.uid_field], end, "amax")
        users = ends.nonzero().squeeze(1)
        return users, self.first_of_user[users], ends[users]

    @property
    def item_counter(self) -> Counter:
        """Number of targets per item, as RecBole's metrics count: of a training part all but each user's first item.

        Unlike RecBole's it is the same for windows and prefixes, and so for every model. With pre-split files it is
        RecBole's, the targets of the rows.
        """
        if not self.is_training_part or self._first_of_row is not None:
            return super().item_counter
        _, first, end = self.spans_of_users()
        return self._counts(first + 1, end)

    @property
    def interaction_counter(self) -> Counter:
        """Number of interactions per item of a training part.

        The rows of pre-split files repeat interactions: items of one user after the same items before them count once.
        """
        if self._first_of_row is None:
            _, first, end = self.spans_of_users()
            return self._counts(first, end)
        rows = self.inter_feat
        end = self._ends(rows)
        users, items = self.history[self.uid_field].numpy(), self.history[self.iid_field].numpy()
        return distinct_interactions(users, items, self._first_of_row.numpy(), end.numpy())

    def _counts(self, first: Tensor, end: Tensor) -> Counter:
        """Return how often each item occurs between positions of `history`, [u] each."""
        change = torch.zeros(len(self.history) + 1, dtype=torch.long)
        change[first] += 1
        change[end] -= 1
        items = self.history[self.iid_field][change[:-1].cumsum(0) > 0]
        return Counter({item: n for item, n in enumerate(items.bincount().tolist()) if n})
