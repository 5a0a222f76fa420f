"""Marks, which the field calls watermarks: item sequences that a secret key chooses, each next item from candidates.

Its draws are of `keyed_word`, one word for a description: each choice can be recomputed by itself, which takes
neither queries, as `KeyedDraws` does, nor a state, as the generator of `ownership.method.keyed_draws` has.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

WORDS = 2**64  # of a keyed draw


def keyed_word(key: bytes, *what: Any) -> int:
    """Return a whole number, uniform over 0 .. 2**64 - 1, that is deterministic per key and description (BLAKE2b)."""
    return int.from_bytes(hashlib.blake2b(repr(what).encode(), key=key, digest_size=8).digest(), "little")


def keyed_choice(key: bytes, purpose: str, before: list[int], candidates: list[int]) -> int:
    """Return the candidate that follows a history, all equally likely without the key."""
    return candidates[keyed_word(key, purpose, before) % len(candidates)]


def keyed_order(key: bytes, purpose: str, items: list[int]) -> list[int]:
    """Return items in an order that the key chooses."""
    return sorted(items, key=lambda item: keyed_word(key, purpose, item))


@dataclass(frozen=True)
class Marks:
    """Hold what a training defense planted.

    Attributes:
        method: name of the defense, which is the purpose of its draws.
        sequences: [M, L] item ids.
        candidates: [M, L - 1, C] item ids that the key chose each next item from, in the order of the choice; padded
            with 0.
    """

    method: str
    sequences: Tensor
    candidates: Tensor

    def state(self) -> dict[str, Any]:
        """Return plain values, for a checkpoint."""
        return {"method": self.method, "sequences": self.sequences.int(), "candidates": self.candidates.int()}

    def fit_key(self, key: bytes) -> bool:
        """Return whether the key chooses these sequences among these candidates."""
        return all(
            items[place] == keyed_choice(key, self.method, items[:place], [item for item in row if item])
            for items, rows in zip(self.sequences.tolist(), self.candidates.tolist(), strict=True)
            for place, row in enumerate(rows, start=1)
        )


def grow_marks(key: bytes, method: str, starts: list[int], length: int, candidates_after: Any) -> Marks:
    """Return marks that grow by keyed choices, item by item.

    Args:
        key: of the owner.
        method: name of the defense.
        starts: first item of each.
        length: items in each.
        candidates_after: takes sequences [M, l], returns candidates [M, c] for the next item of each.
    """
    sequences, candidates = torch.tensor(starts).unsqueeze(1), []
    for _ in range(length - 1):
        candidates.append(candidates_after(sequences).cpu())
        rows = zip(sequences.tolist(), candidates[-1].tolist(), strict=True)
        following = [keyed_choice(key, method, before, row) for before, row in rows]
        sequences = torch.cat([sequences, torch.tensor(following).unsqueeze(1)], 1)
    padded = pad_sequence([rows.mT for rows in candidates])  # [C, L - 1, M]
    return Marks(method, sequences, padded.permute(2, 1, 0))
