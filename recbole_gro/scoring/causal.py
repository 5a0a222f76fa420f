"""Models that are causal by construction: their output at a position depends on the items up to it."""

import contextlib
from collections.abc import Iterator

from torch import Tensor

from recbole_gro.scoring.base import register_scorer
from recbole_gro.scoring.trimmed import TrimmedScorer
from recbole_gro.utils.patching import replaced


@register_scorer("SASRec")
class CausalScorer(TrimmedScorer):
    """Score all prefixes of a sequence from one forward pass.

    Such models of RecBole compute an output at every position and then select the last one with `gather_indexes`; here
    it selects those of all prefixes.
    """

    all_prefixes_at_once = True

    def prefix_scores(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        if sequences.shape[1] > self.longest:
            return super().prefix_scores(sequences, lengths)
        with self._outputs_at(lengths - 1):
            return self._scores_after(sequences, lengths)

    @contextlib.contextmanager
    def _outputs_at(self, places: Tensor) -> Iterator[None]:
        """Let the model's forward pass return its outputs at positions `places` [S, P] in place of the last one."""

        def gather(outputs: Tensor, _: Tensor) -> Tensor:
            return outputs.gather(1, places.unsqueeze(2).expand(-1, -1, outputs.shape[2]))

        with replaced(self.model, "gather_indexes", gather):
            yield
