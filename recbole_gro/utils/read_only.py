"""Tensors that code of a user's own reads and is not to change."""

import contextlib
from collections.abc import Iterator

from torch import Tensor

from recbole_gro.utils.errors import UserError


@contextlib.contextmanager
def read_only(part: str, **tensors: Tensor | None) -> Iterator[None]:
    """Refuse tensors that the block changes in place: what is computed from them afterwards would be another result.

    Writes through an array that shares a tensor's memory are not seen.

    Args:
        part: that gets them in the block, for the message.
        tensors: by the name that they have there; None is none.

    Raises:
        UserError: one of them was changed.
    """
    # tensors of inference mode have no version
    versions = {
        name: (tensor, tensor._version)
        for name, tensor in tensors.items()
        if tensor is not None and not tensor.is_inference()
    }
    yield
    for name, (tensor, version) in versions.items():
        if tensor._version != version:
            raise UserError(f"{part} changed {name} in place, which it may only read; change a clone of it")
