"""Lists and scores for the tests of the objective."""

import torch
from hypothesis import settings
from hypothesis import strategies as st

from recbole_gro.objective.extraction import sample_negatives
from recbole_gro.utils.ranking import top_k

few = settings(max_examples=40, deadline=None)


@st.composite
def batches(draw, least_k=1, dtype=torch.float32):
    """Scores T and S [N, n_items], the list a [N, k] that T serves and negatives [N, k] outside it."""
    n, k = draw(st.integers(1, 4)), draw(st.integers(least_k, 6))
    n_items = k + 2 + draw(st.integers(0, 8))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    target, student = torch.randn(2, n, n_items, generator=generator, dtype=dtype)
    student *= draw(st.sampled_from([0.1, 1.0, 10.0]))
    served = top_k(target, k)
    return target, student, served, sample_negatives(served, n_items, generator)
