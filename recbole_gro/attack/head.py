"""An attacker who looks at the head of a list alone."""

import functools
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_gro.attack.attacker import Attacker, register_attacker
from recbole_gro.attack.black_box import ListSource
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.attack.settings import HeadSettings
from recbole_gro.attack.surrogate_trainer import ExtractionTrainer
from recbole_gro.config.settings import setting
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.ranking import completed

HEADS = (10, 20, 50)  # heads that are tried, besides the whole list
TABLE = 2**24  # entries of a table [lists, items] held at a time (64 MiB)


@register_attacker("head")
class HeadAttacker(Attacker):
    """Learns from, and chooses the next item of a query among, the first h items of each list alone.

    In place of the others he puts random items of his own. Eq. 4 compares neighbours in the list, and each item with
    one negative, so 20 items alone make a fifth of the comparisons of 100; now the 20th stands above others too.

    With `attacker_head_k` h is that. Else one log is asked for and a copy trained on each of several heads of its lists
    (`candidates`). Eq. 4 on lists of different length means different things, so the copies are compared on what all of
    them were shown: their agreement with the first positions of held-out lists, as many as the shortest candidate has.
    That takes no data. Of equal ones the shorter head wins.

    The queries come before anything is known of h. They see the shortest candidate, since wherever a defense begins
    to spoil a list, it is likely to be below that; so all copies learn from the same queries, and the budget is not
    shared out among them. `query_strategy` makes the sequences; one that does not look at lists is left as it is.

    Raises:
        UserError: `attacker_head_k` is past the end of the list.
    """

    settings = (HeadSettings,)

    def __init__(self, config):
        super().__init__(config)
        self.head_k = setting(config, "attacker_head_k")
        self.served_k = served_k = setting(config, "served_k")
        if self.head_k is None:
            self.n_surrogates = len(candidates(served_k))
            self.summary = "looks at the first h items of a list alone, h by agreement on held-out queries"
        elif self.head_k <= served_k:
            self.selected = {"attacker_head_k": self.head_k}
            self.summary = f"looks at the first {self.head_k} items of a list alone"
        else:
            raise UserError(
                f"attacker_head_k: {self.head_k} is past the end of lists of {served_k}; at most served_k={served_k}"
            )

    def query(self, black_box, generator, auxiliary=None, show_progress=False):
        heads = HeadOf(black_box, self.head_k or candidates(black_box.k)[0], keeps_whole=self.head_k is None)
        log = super().query(heads, generator, None, show_progress)
        return log if self.head_k else heads.with_whole_lists(log)

    def train_surrogate(self, log, n_items, items=None, stage="surrogate", seed=None, *, show_progress=False):
        draws = self.config["seed"] if seed is None else seed
        if self.head_k:
            learned = with_own_tail(log.first(self.head_k), self.served_k, n_items, draws)
            return super().train_surrogate(learned, n_items, items, stage, seed, show_progress=show_progress)
        heads = candidates(int((log.lists != 0).sum(2).max()))
        # a run that is cut off goes on with the copies that are trained, so they stay till its end
        kept = self.config["resume_dir"]
        self.candidates_folder = Path(kept) / "copies" if kept else None
        copies, agreement = {}, {}
        for h in heads:
            learned = with_own_tail(log.first(h), self.served_k, n_items, draws)
            copies[h] = super().train_surrogate(
                learned, n_items, items, f"{stage}-first-{h}", seed, show_progress=show_progress
            )
            _, held_out = copies[h].loaders(log.first(heads[0]))  # the seed decides which are held out: the same ones
            agreement[h] = copies[h].held_out_figures(held_out)["agreement@10"]
        chosen = max(heads, key=lambda h: agreement[h])
        told = {str(h): round(share, 4) for h, share in agreement.items()}
        self.selected = {"attacker_head_k": chosen, f"agreement@{min(heads[0], 10)}": told}
        return only_file(copies, chosen, stage, keep=bool(self.candidates_folder))


def with_own_tail(log: QueryLog, k: int, n_items: int, seed: int) -> QueryLog:
    """The log with random items, each list's own, from where a list ends to its k-th place.

    Args:
        log: lists of at most k items.
        k: length of the lists returned.
        n_items: size of the id space, padding included; more than k.
        seed: of the items.
    """
    generator = torch.Generator().manual_seed(seed)
    lists = torch.nn.functional.pad(log.lists, (0, k - log.lists.shape[2])).flatten(0, 1)

    def draw(rows: int, n: int) -> Tensor:
        return torch.randint(2**62, (rows, n), generator=generator)

    parts = [
        completed(part.long(), n_items, functools.partial(draw, len(part))).to(lists.dtype)
        for part in lists.split(max(1, TABLE // n_items))
    ]
    return QueryLog(log.sequences, torch.cat(parts).view(*log.lists.shape[:2], k))


def candidates(k: int) -> list[int]:
    """Lengths of a head that are tried where lists have k items, the shortest first.

    >>> candidates(100), candidates(12), candidates(4)
    ([10, 20, 50, 100], [10, 12], [4])
    """
    return [h for h in HEADS if h < k] + [k]


def only_file(copies: dict[int, ExtractionTrainer], chosen: int, stage: str, keep: bool) -> ExtractionTrainer:
    """The chosen copy, its checkpoint named as that of any surrogate; the others' files go, unless told to `keep`."""
    best, others = copies[chosen], {trainer.saved_model_file for trainer in copies.values()}
    if best.config["output_dir"]:
        file = Path(best.config["output_dir"]) / f"{stage}.pth"
        shutil.copyfile(best.saved_model_file, file)
        best.saved_model_file = str(file)
    for other in others - {best.saved_model_file}:
        if not keep:
            Path(other).unlink(missing_ok=True)
    return best


class HeadOf:
    """A black box of which the first items of each list are seen; a ListSource.

    Args:
        black_box: what is asked.
        k: items seen.
        keeps_whole: the lists are remembered as they came, for `with_whole_lists`.
    """

    def __init__(self, black_box: ListSource, k: int, keeps_whole: bool = False):
        self._black_box, self.keeps_whole = black_box, keeps_whole
        self.n_items, self.k = black_box.n_items, min(k, black_box.k)
        self._whole: list[Tensor] = []

    def query(self, sequences: Any) -> Tensor:
        """[B, k] item ids, best first."""
        lists = self._black_box.query(sequences)
        if self.keeps_whole:
            self._whole.append(lists.int())
        return lists[:, : self.k]

    def with_whole_lists(self, log: QueryLog) -> QueryLog:
        """The log with the lists as they came, in place of their heads.

        Raises:
            UserError: the queries were not all sequences at once, an item longer each time, so it is not known which
                list belongs to which.
        """
        in_step = all(lists.shape[0] == len(log.sequences) for lists in self._whole)
        lists = torch.stack(self._whole, 1) if in_step else torch.empty(0, 0, 0)
        if not torch.equal(lists[:, :, : self.k], log.lists.int()):
            raise UserError(
                "query_strategy: the attacker head chooses h only with strategies that ask all sequences at once, an "
                "item longer each time; set attacker_head_k"
            )
        return QueryLog(log.sequences, lists)
