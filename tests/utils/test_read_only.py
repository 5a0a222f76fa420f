import pytest
import torch

from recbole_gro.utils.errors import UserError
from recbole_gro.utils.read_only import read_only


def test_a_tensor_that_is_changed_in_place_is_named():
    items, scores = torch.ones(2, 3), torch.ones(2, 3)
    with read_only("detector mine: it", items=items, scores=scores, lengths=None):
        items + 1
    line = "^detector mine: it changed scores in place, which it may only read; change a clone of it$"
    with pytest.raises(UserError, match=line), read_only("detector mine: it", items=items, scores=scores):
        scores[:, 1:].zero_()  # a view of it


def test_an_error_of_the_block_is_not_replaced():
    items = torch.ones(2)

    def fails():
        items.zero_()
        raise KeyError

    with pytest.raises(KeyError), read_only("it", items=items):
        fails()


def test_tensors_of_inference_mode_are_not_watched():
    with torch.inference_mode():
        items = torch.ones(2)
        with read_only("it", items=items):
            items.zero_()
