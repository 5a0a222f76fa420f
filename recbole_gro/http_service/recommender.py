"""The lists of a defended model, the same whatever a history is batched with."""

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from recbole_gro.defense import (
    Defense,
    NoDefense,
    RandomDefense,
    ReverseDefense,
    TailDecoy,
    TailRandom,
    TailShuffle,
    Truncate,
)
from recbole_gro.defense.combined import restore_state, saved_state
from recbole_gro.scoring import create_scorer
from recbole_gro.serving.saved_target import SavedTarget
from recbole_gro.serving.service import Query, Service
from recbole_gro.serving.settings import ServiceSettings
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.ranking import top_k

TRIED = 64  # random histories by which the noise of batches is measured
SAFETY = 4  # gaps up to this multiple of the largest noise are doubtful: 2, as both scores have it, and twice that
LEAST = 2.0**-24  # noise relative to the highest score: half a unit in the last place of float32
# defenses that read which items are best and worst, and nothing else of the scores
RANK_ONLY = (NoDefense, RandomDefense, ReverseDefense, TailShuffle, TailRandom, TailDecoy, Truncate)


class Recommender:
    """Answer histories through a defense.

    A list is that of `Service.recommend` for the history alone. The scores of a batch differ from those in their last
    bits, by an amount that depends on what is in the batch. It is measured at the start, and a history with two scores
    that decide its list closer than 4 times that is scored again, alone. A defense from outside this package may read
    more than these scores, so that its histories are all scored alone.

    Args:
        target: the model and its tokens.
        defense: its output step acts on lists of `served_k`, from which a client gets the first k.

    Raises:
        UserError: the checkpoint holds no tokens, or served_k is beyond its catalogue.
    """

    def __init__(self, target: SavedTarget, defense: Defense):
        if target.item_tokens is None:
            raise UserError("checkpoint: it holds no item tokens, as a surrogate's; serve a target")
        self.model, self.defense, self.tokens = target.model, defense, target.item_tokens
        self.ids = {token: item for item, token in enumerate(self.tokens) if item}
        self.served_k = ServiceSettings.of(target.config).served_k
        self.undefended = all(type(part) is NoDefense for part in defense.parts)
        self._batches = all(type(part) in RANK_ONLY for part in defense.parts)
        self._reads_worst = any(isinstance(part, TailDecoy) for part in defense.parts)
        if self.served_k > len(self.ids):
            raise UserError(
                f"served_k: {self.served_k} is longer than the catalogue of {len(self.ids)} items; give "
                f"--served_k=N, at most {len(self.ids)}"
            )
        heads = [self.served_k if type(part) is NoDefense else getattr(part, "head_k", 0) for part in defense.parts]
        self._head = min(heads)  # items at the front of a list that are those of the ranking
        self.longest_list = self.served_k  # items of a list, unless the defense cuts it: `check` finds out
        self.noise = self._measured_noise() if self._batches else 0.0

    def check(self) -> None:
        """Check that a whole list can be served, by one whose draws leave no trace.

        Raises:
            UserError: the model's scores are NaN, the defense cannot change lists of this length, or its secret key
                cannot be read or made.
        """
        state = saved_state(self.defense)
        self.longest_list = len(self.answer([[1]], self.served_k)[0])
        restore_state(self.defense, state)

    def answer(self, histories: Sequence[list[int]], k: int) -> list[list[int]]:
        """Return the list of each history, at most k item ids, best first; flagged ones (`Guard`) do not come here.

        Args:
            histories: item ids, most recent last.
            k: length of a list, at most `served_k`.

        Raises:
            UserError: the model's scores are NaN.
        """
        return [[item for item in row if item] for row in self._lists(histories, k).tolist()]

    def _lists(self, histories: Sequence[list[int]], k: int) -> Tensor:
        if not self._batches:
            return torch.cat([self._scored([history], k)[0] for history in histories])
        lists, doubtful = self._scored(histories, k)
        if len(histories) > 1:
            for row in doubtful.nonzero().flatten().tolist():  # few
                lists[row] = self._scored([histories[row]], k)[0]
        return lists

    def _scored(self, histories: Sequence[list[int]], k: int) -> tuple[Tensor, Tensor]:
        """Return lists [B, k], and whether each could be another one in another batch, [B]."""
        # a defense acts on whole lists, since lists of other lengths would show what it changes
        length = k if self.undefended else self.served_k
        doubtful = []

        def output(ranked: Tensor, query: Query) -> Tensor:
            if self._batches and len(histories) > 1:
                doubtful.append(self._doubtful(query.scores, k))
            return self.defense.answer(ranked, query)

        # a service of its own per batch: one that is kept carries a GRU's state from query to query
        lists = Service(self.model, length, output).recommend(histories)[:, :k].cpu()
        return lists, torch.cat(doubtful).cpu() if doubtful else torch.zeros(len(lists), dtype=torch.bool)

    def _doubtful(self, scores: Tensor, k: int) -> Tensor:
        """Return whether two neighbours among the items that decide a list have almost equal scores, [B]."""
        tolerance = SAFETY * self.noise * scores[:, 1:].abs().amax(1, keepdim=True)
        close = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
        whole = k > self._head  # else what a client gets is the head of the ranking
        deciding = min((self.served_k if whole else k) + 1, scores.shape[1] - 1)
        for values in (scores, -scores) if whole and self._reads_worst else (scores,):
            ends = values.gather(1, top_k(values, deciding))
            close |= (ends.diff(dim=1).abs() <= tolerance).any(1)
        return close

    def _measured_noise(self) -> float:
        """Return the largest difference of scores alone and in batches, relative to the highest score."""
        draw, longest = random.Random(0), create_scorer(self.model).longest
        histories = [draw.choices(range(1, len(self.tokens)), k=draw.randint(1, longest)) for _ in range(TRIED)]
        alone = self._scores(histories, 1)
        highest = alone[:, 1:].abs().amax(1, keepdim=True)
        apart = [((self._scores(histories, size) - alone)[:, 1:].abs() / highest).amax() for size in (2, 7, 16, TRIED)]
        return max(LEAST, *map(float, apart))

    def _scores(self, histories: list[list[int]], size: int) -> Tensor:
        """Return scores [B, n_items] in batches of a size."""
        seen: list[Tensor] = []

        def output(ranked: Tensor, query: Query) -> Tensor:
            seen.append(query.scores.clone())
            return ranked

        for start in range(0, len(histories), size):
            Service(self.model, 1, output).recommend(histories[start : start + size])
        return torch.cat(seen)
