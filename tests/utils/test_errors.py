"""The error that users read, and the nearest known name."""

import numpy as np
import pytest
import torch

from recbole_gro.utils.errors import (
    InvalidQuery,
    UserError,
    check_spelling,
    kind_of,
    nearest,
    out_of_memory,
    unknown_name,
)


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("bert4rec", ["BERT4Rec", "NARM"], "BERT4Rec"),
        ("served_K", ["served_k", "gro_lambda"], "served_k"),
        ("narm", ["NARM"], "NARM"),
        ("DEFENSE", ["defense"], "defense"),
        ("anything", ["NARM"], None),
        ("anything", [], None),
        (7, ["seven", "7th"], None),
    ],
)
def test_nearest_does_not_mind_case(name, known, found):
    assert nearest(name, known) == found


def test_a_user_error_is_a_value_error():
    assert issubclass(UserError, ValueError)
    assert isinstance(unknown_name("shape", "x", ["y"]), UserError)


def test_an_invalid_query_is_no_invalid_input_of_the_user():
    assert issubclass(InvalidQuery, ValueError)
    assert not issubclass(InvalidQuery, UserError)


def test_a_name_that_is_more_like_another_kind_is_refused():
    check_spelling(["seed", "seeds", "anything", "learning_rat"], {"seeds"}, {"seed", "learning_rate"})
    with pytest.raises(UserError, match=r"^unknown key 'sedes'; did you mean 'seeds'\?$"):
        check_spelling(["sedes"], {"seeds"}, {"seed"})


def unavailable(allocate):
    """Return the exception of an allocation that no machine can make."""
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        allocate()
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1 GiB free.\nSee the docs"),
        RuntimeError("CUDA error: out of memory Search for `cudaErrorMemoryAllocation' in https://docs.nvidia.com"),
        unavailable(lambda: torch.empty(2**55)),
        unavailable(lambda: np.empty(2**55)),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_lack_of_memory_is_one_line_that_says_what_to_change(error):
    message = str(out_of_memory(error))
    assert message.startswith(f"memory: there is not enough ({type(error).__name__}")
    assert "\n" not in message
    assert "Search for" not in message
    assert "train_batch_size" in message
    assert "--workers" in message


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), ValueError("out of memory"), KeyboardInterrupt()])
def test_other_errors_are_not_about_memory(error):
    assert out_of_memory(error) is None


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (torch.ones(2, 5), "float32 [2, 5]"),
        (np.ones(3, dtype=bool), "bool [3]"),
        (torch.tensor(1), "int64 []"),
        ([[1, 2]], "list"),
        (None, "NoneType"),
    ],
)
def test_the_kind_of_values_is_their_type_and_shape(values, kind):
    assert kind_of(values) == kind
