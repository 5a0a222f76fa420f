"""An attacker who asks the same thing several times and keeps what does not change."""

from typing import Any

import torch
from torch import Tensor

from recbole_gro.attack.attacker import Attacker, register_attacker
from recbole_gro.attack.black_box import ListSource
from recbole_gro.attack.settings import RepeatSettings
from recbole_gro.config.settings import setting
from recbole_gro.utils.errors import UserError


@register_attacker("repeat")
class RepeatAttacker(Attacker):
    """Asks every prefix `attacker_repeats` times, and makes one list of the answers (`stable_list`).

    His budget is everybody's, so his sequences are that many times fewer. `query_strategy` makes them, and sees the
    stable lists. What each answer draws anew goes; what is drawn by the query stays, and costs him the repeats. Nothing
    helps against `random`: its shuffles of a whole list are all equally likely, so no number of them tells the order.

    Raises:
        UserError: the budget is too small for two sequences, one to learn from and one to stop by.
    """

    settings = (RepeatSettings,)

    def __init__(self, config):
        super().__init__(config)
        self.repeats = setting(config, "attacker_repeats")
        self.summary = f"asks each prefix {self.repeats} times and learns from what is stable"
        if self.n_sequences < 2:
            raise UserError(
                f"attacker_repeats: {self.repeats} repeats leave {self.n_sequences} of "
                f"{setting(config, 'query_sequences')} query sequences, 2 are needed; "
                f"set query_sequences to {2 * self.repeats} or more"
            )

    def query(self, black_box, generator, auxiliary=None, show_progress=False):
        return super().query(Repeated(black_box, self.repeats), generator, None, show_progress)


class Repeated:
    """A black box that is asked each query several times and gives the stable list; a ListSource.

    Args:
        black_box: what is asked.
        times: how often.
    """

    def __init__(self, black_box: ListSource, times: int):
        self._black_box, self.times = black_box, times
        self.n_items, self.k = black_box.n_items, black_box.k

    def query(self, sequences: Any) -> Tensor:
        """[B, k] item ids; costs B lists each time."""
        # in one query, so that a service that remembers histories finds the same rows again, each an item longer
        again = sequences.repeat(self.times, 1) if isinstance(sequences, Tensor) else list(sequences) * self.times
        answers = self._black_box.query(again)
        return stable_list(answers.view(self.times, -1, self.k))


def stable_list(answers: Tensor) -> Tensor:
    """One list of several answers to a query: items that most answers have come first, then those of lower mean rank.

    The mean is over the answers that have the item; ties go to the item that stands first in the earliest of them.

    Args:
        answers: [r, B, k] item ids, best first, padded at the end with 0.

    Returns:
        [B, k] item ids, padded at the end with 0.
    """
    r, n_lists, k = answers.shape
    # entry i of a row is what stands at rank i % k of answer i // k; the same items side by side
    items, entry = answers.transpose(0, 1).reshape(n_lists, r * k).long().sort(dim=1, stable=True)
    is_first = torch.ones_like(items, dtype=torch.bool)
    is_first[:, 1:] = items[:, 1:] != items[:, :-1]
    group = is_first.cumsum(1) - 1
    blank = torch.zeros(n_lists, r * k, dtype=torch.double)
    item = torch.zeros_like(items).scatter_(1, group, items)
    times = blank.scatter_add(1, group, (items != 0).double())
    ranks = blank.scatter_add(1, group, (entry % k).double())
    first_entry = blank.scatter_reduce(1, group, entry.double(), "amin", include_self=False)
    # in one number: counts differ by 1; mean ranks over k lie below 1 and differ by 1 / (r k) or more; ties by less
    key = -times + ranks / times.clamp(min=1) / k + first_entry / (r * k) / (2 * r * k)
    return item.gather(1, key.argsort(1)[:, :k])
