"""Random numbers that are deterministic per query: a keyed pseudo-random function, unpredictable without the key.

It reads queries by the thousand as tensors, and draws many words of each, for lists that are served. `keyed_word` of
`marks/marks.py` draws one word for a description, in training; `keyed_draws` of `ownership/method.py` seeds a generator
for the probes of a verification.
"""

import hashlib
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.defense.defense_key import check_defense_key, defense_key
from recbole_gro.serving.service import Query

BLOCK = 168  # bytes that SHAKE128 takes in at a time
WORD = 8  # bytes


class KeyedDraws:
    """Draw numbers with a keyed pseudo-random function of the query: SHAKE128 of the key and the items.

    SHAKE128 behind a secret first block (as in KMAC) is a pseudo-random function of any output length, so the words of
    a query reveal nothing about the key, about each other or about another query's. A cheaper generator seeded per
    query suffices for statistics, but from a part of a list an adversary could then compute the rest.

    The function reads the items that the model reads: the most recent ones, without padding. Older items would change
    the draw but not the ranking, so that an adversary could average the draws away by varying them.

    A limit remains: another query that the model does read has another draw, even where the ranking is almost the
    same. Averages over many such queries show what their lists have in common.

    Args:
        config: `defense_key` names the source of the key, which is read at the first draw.
        purpose: defenses with different purposes draw independently.
    """

    def __init__(self, config: ConfigLike, purpose: str):
        check_defense_key(config)
        self._config, self._purpose = config, purpose

    @cached_property
    def _keyed(self):
        # the key and the purpose fill a block, so no query overlaps with them
        first_block = defense_key(self._config) + self._purpose.encode()
        return hashlib.shake_128(first_block.ljust(BLOCK, b"\0"))

    def words(self, query: Query, n: int) -> Tensor:
        """Return whole numbers [B, n], uniform over 0 .. 2**63 - 1, on the CPU; the same for a query every time."""
        sequences = memoryview(query.sequences.cpu().numpy().astype("<i4").tobytes())
        stride = 4 * query.sequences.shape[1]
        drawn = bytearray()
        # A loop over rows: numpy and torch have no keyed hash. All of tail_shuffle takes 8 ms for 1000 queries, 2 % of
        # what a small BERT4Rec takes to score them (benchmarks/serving.py).
        for row, length in enumerate(query.lengths.tolist()):
            keyed = self._keyed.copy()
            keyed.update(sequences[row * stride : row * stride + 4 * length])
            drawn += keyed.digest(WORD * n)
        # without the sign bit, remainders and orders are those of unsigned numbers
        words = np.frombuffer(drawn, "<u8").reshape(-1, n) >> np.uint64(1)
        return torch.from_numpy(words.astype(np.int64))


def shuffled(items: Tensor, words: Tensor) -> Tensor:
    """Return each row of items [B, n] in the order of its words [B, n]."""
    return items.gather(1, words.argsort(1).to(items.device))
