"""The method `contrast`: agreement on generated histories against users' own, where the owner has no references."""

import itertools
import math
from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from recbole_gro.config.settings import Key
from recbole_gro.data import SequenceDataset
from recbole_gro.ownership.fingerprint import LENGTHS, TOP, check_catalogue, generate_histories
from recbole_gro.ownership.method import (
    LEVEL,
    NoVerdict,
    Probes,
    Verdict,
    VerificationMethod,
    keyed_draws,
    register_method,
)
from recbole_gro.ownership.training_data import check_files
from recbole_gro.serving.saved_target import SavedTarget
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.ranking import found_in

ROUNDS = 20  # of generating histories in place of those that came before
SELECTED = 0.01  # p-value at or below which the shares of probes without a list differ between the kinds


@register_method("contrast")
class Contrast(VerificationMethod):
    """Test by permutation whether a suspect agrees more on generated histories than on users' histories.

    A surrogate of generated queries was trained where no user is; a model of users' histories was not. Half of the
    probes are generated through the owner's lists, the others are windows of users' histories, of the same lengths.
    The labels of the probes are permuted; probes without a list are left out. The unit is the probe, so the p-value
    holds for one suspect and not for a population of models: that independent models agree no more on generated
    histories is an assumption.
    """

    summary = "agreement@10 with the owner's model on generated histories, against users' histories"
    source = "ours"
    reads_order = False
    effect_unit = "share"
    assumptions = (
        "A model that was made without the owner's agrees with it on generated histories no more than on users' "
        "histories, plus the margin; on ml-100k this held for all that were measured.",
        "The suspect, if a copy, was trained on generated queries, and not on users' histories.",
    )
    keys = (
        Key("level", LEVEL, "float 0<..<1", "maximum rate of false claims; a copy is claimed at or below this p-value"),
        Key("margin", 0.01, "float 0..1", "excess of agreement that is no evidence of a copy"),
        Key("permutations", 9999, "int >= 99", "of the labels of the probes"),
    )

    def check_owner(self, owner: SavedTarget) -> None:
        check_catalogue(owner)
        check_files(owner, _data(owner).data_digests)  # on users whom it has not seen, models may agree with it less

    def probes(self, owner: SavedTarget, references: Mapping[str, SavedTarget], key: bytes, n: int) -> Probes:
        """Return generated histories and windows of users' histories, alternating, and the owner's lists.

        No history of a kind comes twice, and no windows of a user overlap: the test takes the probes of a kind as
        independent.
        """
        users = _histories(owner)
        draw = torch.Generator().manual_seed(int(keyed_draws(key, "contrast").integers(2**62)))
        lengths = torch.randint(LENGTHS.start, LENGTHS.stop, ((n + 1) // 2,), generator=draw)
        windows = draw_windows(users, lengths[: n // 2].tolist(), draw)
        made = _different_histories(owner, lengths, draw)
        rows = [row for pair in itertools.zip_longest(made, windows) for row in pair if row]
        lists = owner.recommend(torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True), TOP)
        return Probes(rows, {"lists": lists.tolist(), "generated": [number % 2 == 0 for number in range(len(rows))]})

    def verdict(self, probes: Probes, lists: Tensor) -> Verdict:
        """Return the verdict from the owner's lists and the suspect's."""
        left_out = _left_out(np.array(probes.expected["generated"]), lists)
        kept = (lists != 0).any(1)
        own, is_generated = torch.tensor(probes.expected["lists"])[kept], np.array(probes.expected["generated"])[kept]
        shares = found_in(own, lists[kept, : own.shape[1]]).double().mean(1).numpy()
        ours, users = shares[is_generated], shares[~is_generated]
        if min(len(ours), len(users)) < 2:
            raise NoVerdict("too few probes: the permutation test needs two of each kind with a list, or more")
        if not shares.any():
            raise NoVerdict(
                "the suspect lists no item of the owner's lists, so the two kinds of histories do not differ"
            )
        self._check_possible(users, len(ours), min(1.0, lists.shape[1] / own.shape[1]))
        contrast = float(ours.mean() - users.mean())
        p_value = self._permuted(np.where(is_generated, shares - self.settings["margin"], shares), is_generated)
        error = math.sqrt(ours.var(ddof=1) / len(ours) + users.var(ddof=1) / len(users))
        ends = float(stats.norm.ppf(0.975)) * error
        if not error:  # no share varies: the interval of 0 in n probes, of both kinds (Clopper and Pearson)
            ends = math.hypot(*(1 - 0.025 ** (1 / len(kind)) for kind in (ours, users)))
        needed = self.settings["margin"] + float(stats.norm.isf(self.settings["level"])) * error
        return Verdict(
            p_value=p_value,
            level=self.settings["level"],
            effect=(contrast, max(-1.0, contrast - ends), min(1.0, contrast + ends)),
            effect_name="agreement@10 with the owner's model on generated histories, less that on users' histories",
            null="the suspect agrees with the owner's model on generated histories no more than on users' histories, "
            f"plus the margin {self.settings['margin']:g} ({self.settings['permutations']:,} permutations of labels)",
            turning_point=f"a difference of about {needed:.3f}, in place of {contrast:.3f}, is where a claim begins",
            facts={
                "agreement@10 generated": float(ours.mean()),
                "agreement@10 users": float(users.mean()),
                "without a list generated": left_out[0],
                "without a list users": left_out[1],
            },
        )

    def _check_possible(self, users: np.ndarray, n_generated: int, highest: float) -> None:
        """Check that some suspect with these shares of users' histories could be claimed.

        Args:
            users: shares of the owner's items that the suspect lists after users' histories.
            n_generated: number of generated histories.
            highest: share of the owner's items that lists of this length can hold.

        Raises:
            NoVerdict: none could.
        """
        level, margin = self.settings["level"], self.settings["margin"]
        lowest = max(1 / (self.settings["permutations"] + 1), 1 / math.comb(len(users) + n_generated, n_generated))
        if lowest > level:
            raise NoVerdict(
                f"no suspect could be claimed: the lowest possible p-value is {lowest:.2g}, and the level {level:g}; "
                "raise probes or permutations"
            )
        if users.mean() + margin >= highest:
            raise NoVerdict(
                f"no suspect could be claimed: its lists agree with the owner's in {100 * users.mean():.0f} % of the "
                "items on users' histories, so that agreement on generated ones cannot exceed it by the margin"
            )

    def _permuted(self, shares: np.ndarray, labels: np.ndarray) -> float:
        """Return the share of permutations, the given one included, with as large a difference of means."""
        draw, n = np.random.default_rng(0), self.settings["permutations"]  # whose seed is no secret: p is recomputed
        sums = np.array([draw.permutation(shares)[labels].sum() for _ in range(n)])
        return float((1 + (sums >= shares[labels].sum() - 1e-9).sum()) / (n + 1))


def draw_windows(users: Sequence[list[int]], lengths: Sequence[int], draw: torch.Generator) -> list[list[int]]:
    """Return different windows of users' histories, of which those of one user do not overlap.

    Each user gives one before any gives a second, as far as the lengths fit.

    Args:
        users: items of each user in time order.
        lengths: of the windows.
        draw: the source of all draws.

    Raises:
        NoVerdict: the histories hold fewer such windows.
    """
    free = [[range(len(items))] for items in users]  # places that no window of a user has
    waiting = deque(torch.randperm(len(users), generator=draw).tolist())
    windows: list[list[int]] = []
    known: set[tuple[int, ...]] = set()
    for length in lengths:
        for user in waiting:
            items = users[user]
            places = [start for part in free[user] for start in part[: max(0, len(part) - length + 1)]]
            if starts := [start for start in places if tuple(items[start : start + length]) not in known]:
                break
        else:
            raise NoVerdict(
                f"too few users' histories: {len(users):,} users of {LENGTHS.stop - 1} items or more gave "
                f"{len(windows):,} different windows, and the probes take {len(lengths):,}; lower probes"
            )
        start = starts[int(torch.randint(len(starts), (1,), generator=draw))]
        windows.append(items[start : start + length])
        known.add(tuple(windows[-1]))
        rest = [piece for part in free[user] for piece in _without(part, range(start, start + length))]
        free[user] = [part for part in rest if len(part) >= LENGTHS.start]
        waiting.remove(user)
        if free[user]:
            waiting.append(user)
    return windows


def _without(part: range, taken: range) -> list[range]:
    """Return a range without another one, which it contains or does not touch."""
    inside = part.start <= taken.start < part.stop
    return [range(part.start, taken.start), range(taken.stop, part.stop)] if inside else [part]


def _different_histories(owner: SavedTarget, lengths: Tensor, draw: torch.Generator) -> list[list[int]]:
    """Return generated histories of some lengths, each of which comes once.

    Raises:
        NoVerdict: the catalogue is too small for so many.
    """
    found: list[list[int]] = [[] for _ in lengths]
    known: set[tuple[int, ...]] = set()
    for _ in range(ROUNDS):
        lacking = [place for place, history in enumerate(found) if not history]
        if not lacking:
            break
        made = generate_histories([owner], lengths[lacking], draw)
        for place, row in zip(lacking, made.tolist(), strict=True):
            history = tuple(row[: int(lengths[place])])
            if history not in known:
                known.add(history)
                found[place] = list(history)
    if not all(found):
        raise NoVerdict(
            f"too few items: {len(known):,} different histories could be generated, and the probes take "
            f"{len(found):,}; lower probes"
        )
    return found


def _left_out(is_generated: np.ndarray, lists: Tensor) -> tuple[int, int]:
    """Return how many generated histories and how many users' got no list.

    Raises:
        NoVerdict: one kind has clearly more of them, so that the answered histories are no random ones.
    """
    failed = (lists == 0).all(1).numpy()
    [ours, n_ours], [users, n_users] = (
        (int(failed[kind].sum()), int(kind.sum())) for kind in (is_generated, ~is_generated)
    )
    p_value = float(stats.fisher_exact([[ours, n_ours - ours], [users, n_users - users]]).pvalue)
    if p_value <= SELECTED:
        raise NoVerdict(
            f"the suspect gave no list for {ours} of {n_ours} generated histories, and for {users} of {n_users} users' "
            f"histories, which is no chance (Fisher's exact test, p {p_value:.2g}): those that it answers are selected"
        )
    return ours, users


def _histories(owner: SavedTarget) -> list[list[int]]:
    """Return the item ids of each user in time order, of those with as many as a probe may have."""
    data = _data(owner)
    if data.config["benchmark_filename"]:
        raise NoVerdict("the method contrast needs whole histories, which files that are split already may not hold")
    rows = data.inter_feat.sort_values(data.time_field, kind="stable")
    by_user = rows.groupby(data.uid_field)[data.iid_field].agg(list)
    found = [items for items in by_user if len(items) >= LENGTHS.stop - 1]
    if not found:
        raise NoVerdict(f"no user has {LENGTHS.stop - 1} items, as many as a probe may have")
    return found


def _data(owner: SavedTarget) -> SequenceDataset:
    if owner.dataset is None:
        raise UserError(
            "data_path: not set; the method contrast reads users' histories, from the folder that holds "
            f"{owner.config['dataset']}/"
        )
    return owner.dataset
