"""A fitted detector whose scores mean the same at every length of a history."""

import contextlib
from typing import Any

import torch
from torch import Tensor

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.detection.base import create_detector
from recbole_gro.detection.traces import Traces
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.read_only import read_only

FEWEST = 20  # benign histories of a length that standardize the scores of it


class StandardizedDetector:
    """Fit a detector, and compare its scores with those of benign histories of the same length.

    Args:
        name: of the detector.
        config: of its settings.
        benign: traces of whole histories of benign users.

    Attributes:
        detector: the fitted one.
        location, spread: [L] mean and deviation of benign scores up to each item; 0 and 1 where the detector's scores
            mean the same at every length.
    """

    def __init__(self, name: str, config: ConfigLike, benign: Traces):
        self._name, self.detector = name, create_detector(name, config)
        with self._reads(benign):
            self.detector.fit(benign)
        self.location, self.spread = torch.zeros(benign.items.shape[1]), torch.ones(benign.items.shape[1])
        if self.detector.standardized:
            scores, inside = self._raw_scores(benign), benign.items != 0
            if scores[inside].isinf().any():
                raise UserError(
                    f"detector {name}: scores returned an infinite number for a benign history, so that no mean "
                    f"standardizes the others; let it return finite ones"
                )
            for place in range(scores.shape[1]):  # a place in a history, not a history
                own = scores[inside[:, place], place]
                if len(own) >= FEWEST:
                    self.location[place], self.spread[place] = own.mean(), own.std().clamp(min=1e-6)
                elif place:
                    self.location[place], self.spread[place] = self.location[place - 1], self.spread[place - 1]

    def scores(self, traces: Traces) -> Tensor:
        """Return comparable scores [N, L] of each history up to each of its items; -inf in padding."""
        place = torch.arange(traces.items.shape[1]).clamp(max=len(self.location) - 1)
        scores = (self._raw_scores(traces) - self.location[place]) / self.spread[place]
        return scores.masked_fill(traces.items == 0, -torch.inf)

    def window_scores(self, traces: Traces, size: int) -> Tensor:
        """Return the score [W] of each window of `size` histories, not standardized; `traces` as of `Traces.whole`."""
        windows = torch.ones(len(traces) // size, dtype=torch.bool)
        with self._reads(traces):
            scores = self.detector.window_scores(traces, size)
        return self._checked(scores, "window_scores", "window", windows)

    def _raw_scores(self, traces: Traces) -> Tensor:
        inside = traces.items != 0
        with self._reads(traces):
            scores = self.detector.scores(traces)
        return self._checked(scores, "scores", "history and item", inside)

    def _reads(self, traces: Traces) -> contextlib.AbstractContextManager[None]:
        """Let the detector read traces inside the block; what it changes in place is refused."""
        return read_only(
            f"detector {self._name}: it", items=traces.items, ranks=traces.ranks, embeddings=traces.embeddings
        )

    def _checked(self, scores: Any, method: str, unit: str, inside: Tensor) -> Tensor:
        """Return scores of a detector, which a user may have written, as floats: NaN would exceed no threshold."""
        if not isinstance(scores, Tensor) or scores.is_complex():
            given = str(scores.dtype) if isinstance(scores, Tensor) else type(scores).__name__
            raise UserError(
                f"detector {self._name}: {method} returned {given}; it returns a tensor {list(inside.shape)} of real "
                f"numbers, a score per {unit}"
            )
        if scores.shape != inside.shape:
            raise UserError(
                f"detector {self._name}: {method} returned a shape of {list(scores.shape)}; it returns a score per "
                f"{unit}, here {list(inside.shape)}"
            )
        scores = scores.detach().float()
        if scores[inside].isnan().any():
            raise UserError(f"detector {self._name}: {method} returned NaN; it returns a number per {unit}")
        return scores
