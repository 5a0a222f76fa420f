"""Random numbers that belong to a query: asking again draws nothing new, and nobody without the key foresees them."""

import hashlib
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from recbole_gro.defense.defense_key import check_defense_key, defense_key
from recbole_gro.serving.service import Query

BLOCK = 168  # bytes that SHAKE128 takes in at a time
WORD = 8  # bytes


class KeyedDraws:
    """Numbers drawn from SHAKE128 of the key and the query.

    All of it is cryptographic: SHAKE128 behind a secret first block (as in KMAC) is a pseudorandom function whose
    output is as long as wanted, so the words of a query tell nothing of the key, of each other or of another query's.
    A cheaper mixing of one seed a query would do for statistics, but then who knows part of a list could solve for
    the rest.

    The query is what the model reads of it: its most recent items, without padding. Of a history as it was asked, the
    older items would change the draw and not the ranking, so that an attacker who puts ever other items in front
    averages the draws away.

    What is left: a query that the model does read otherwise gets a draw of its own, also where the ranking stays much
    the same. Averages over many such queries show what their lists have in common.

    Args:
        config: `defense_key` says where the key is from; it is looked up at the first draw.
        purpose: defenses with different purposes draw independently.
    """

    def __init__(self, config, purpose: str):
        check_defense_key(config)
        self._config, self._purpose = config, purpose

    @cached_property
    def _keyed(self):
        # the key and the purpose fill a block, so no query can be read as part of them
        first_block = defense_key(self._config) + self._purpose.encode()
        return hashlib.shake_128(first_block.ljust(BLOCK, b"\0"))

    def words(self, asked: Query, n: int) -> Tensor:
        """[B, n] whole numbers, uniform over 0 .. 2**63 - 1, on the CPU; the same for the same query every time."""
        sequences = memoryview(asked.sequences.cpu().numpy().astype("<i4").tobytes())
        stride = 4 * asked.sequences.shape[1]
        drawn = bytearray()
        # A loop over rows: numpy and torch have no keyed hash. All of tail_shuffle takes 8 ms for 1000 queries, 2 % of
        # what a small BERT4Rec takes to score them (benchmarks/serving.py).
        for row, length in enumerate(asked.lengths.tolist()):
            query = self._keyed.copy()
            query.update(sequences[row * stride : row * stride + 4 * length])
            drawn += query.digest(WORD * n)
        # the sign bit goes: remainders and orders of what is left are those of unsigned numbers
        words = np.frombuffer(drawn, "<u8").reshape(-1, n) >> np.uint64(1)
        return torch.from_numpy(words.astype(np.int64))


def shuffled(items: Tensor, words: Tensor) -> Tensor:
    """Each row of items [B, n] in the order of its words [B, n]."""
    return items.gather(1, words.argsort(1).to(items.device))
