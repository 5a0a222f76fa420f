"""The mathematics of GRO (Zhang et al., WSDM'24) as pure functions of tensors; no RecBole here.

N lists of a batch, k positions per list, ids as RecBole gives them: 0 is padding and is never listed, sampled or
returned; items are 1 .. n_items - 1.
"""

from recbole_gro.objective.extraction import extraction_loss, sample_negatives
from recbole_gro.objective.swap import swap_loss, swap_targets

__all__ = ["extraction_loss", "sample_negatives", "swap_loss", "swap_targets"]
