"""Changes that end with a block, however it ends."""

import types
from pathlib import Path

import pytest
import torch
from torch import nn

import recbole_gro
from recbole_gro.utils.patching import replaced


class Greeter:
    word = "class"

    def greet(self):
        return self.word


@pytest.mark.parametrize("own", [False, True])
def test_an_attribute_is_replaced_inside_and_as_before_afterwards(own):
    greeter = Greeter()
    if own:
        greeter.word = "own"
    before = dict(vars(greeter))
    with replaced(greeter, "word", "other"), replaced(greeter, "greet", lambda: "replaced"):
        assert (greeter.word, greeter.greet()) == ("other", "replaced")
        assert Greeter().greet() == "class"
    assert vars(greeter) == before


def test_an_error_ends_the_replacement_too():
    module = types.ModuleType("module")
    module.value = 1
    with pytest.raises(KeyError), replaced(module, "value", 2):
        raise KeyError
    assert module.value == 1


def test_an_attribute_that_does_not_exist_is_an_error():
    with pytest.raises(AttributeError, match="absent"), replaced(Greeter(), "absent", 2):
        pass


def test_the_forward_pass_of_a_layer_can_be_replaced():
    layer = nn.Linear(2, 2)
    items = torch.ones(1, 2)
    before = layer(items)
    with replaced(layer, "forward", lambda _: 7):
        assert layer(items) == 7
    assert torch.equal(layer(items), before)


def test_no_module_of_the_package_imports_test_tools():
    package = Path(recbole_gro.__file__).parent
    assert [file.name for file in package.rglob("*.py") if "unittest" in file.read_text(encoding="utf-8")] == []
