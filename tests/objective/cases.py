"""Scores and lists of a GRO step, and a record of the tensors that a step makes."""

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from recbole_gro.objective.extraction import extraction_loss, sample_negatives
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


def listed_gradient(student, served, negatives, two_means=False):
    listed = student.gather(1, served).requires_grad_()
    loss = extraction_loss(listed, student.gather(1, negatives), paper_code_ties=two_means)
    return torch.autograd.grad(loss, listed)[0]


class LargestTensor(TorchDispatchMode):
    """Record the most entries, and the most bytes, of any tensor that an operation returns."""

    entries = size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        returned = func(*args, **(kwargs or {}))
        for tensor in returned if isinstance(returned, tuple | list) else [returned]:
            if isinstance(tensor, torch.Tensor):
                self.entries = max(self.entries, tensor.numel())
                self.size = max(self.size, tensor.numel() * tensor.element_size())
        return returned
