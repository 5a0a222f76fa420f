"""One cell of an experiment: a setting at a seed, what the service reached and what its copy reached."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recbole_gro.utils.files import written


@dataclass
class Cell:
    """Results of one setting at one seed.

    Attributes:
        values: the varied keys of this cell, such as {"defense": "gro", "gro_lambda": 0.1}.
        seed: of the run.
        target_ranks: [U] place of each test user's item in the list served, from 1; 0 where the list has it not.
        surrogate_ranks: [U] the same of the surrogate's lists.
        agreement: {k: share of the served top k that the surrogate's list has, mean over the test users}.
        facts: what else there is to know: models, dataset, k, lists asked, epochs, seconds a stage.
    """

    values: dict[str, Any]
    seed: int
    target_ranks: np.ndarray
    surrogate_ranks: np.ndarray
    agreement: dict[int, float]
    facts: dict[str, Any] = field(default_factory=dict)

    def save(self, file: str | os.PathLike) -> None:
        """Write FILE (.npz); a half-written cell does not exist."""
        told = json.dumps(
            {"values": self.values, "seed": self.seed, "agreement": self.agreement, "facts": self.facts},
            sort_keys=True,
        )
        with written(file) as target:
            np.savez_compressed(
                target,
                target_ranks=self.target_ranks.astype(np.int32),
                surrogate_ranks=self.surrogate_ranks.astype(np.int32),
                told=np.frombuffer(told.encode(), np.uint8),
            )

    @classmethod
    def load(cls, file: str | os.PathLike) -> "Cell":
        """Read what `save` wrote; nothing in the file is executed."""
        with np.load(Path(file), allow_pickle=False) as stored:
            told = json.loads(stored["told"].tobytes())
            return cls(
                told["values"],
                told["seed"],
                stored["target_ranks"],
                stored["surrogate_ranks"],
                {int(k): share for k, share in told["agreement"].items()},
                told["facts"],
            )
