import pytest
import torch

from recbole_gro.config.settings import Key, key
from recbole_gro.ownership.method import (
    Probes,
    Verdict,
    VerificationMethod,
    create_method,
    keyed_draws,
    methods,
    register_method,
)
from recbole_gro.utils.errors import UserError


class Echo(VerificationMethod):
    keys = (Key("length", 3, "int >= 1", "items of a history"),)

    def probes(self, owner, references, key, n):
        return Probes([[1] * self.settings["length"]] * n)

    def verdict(self, probes, lists):
        return Verdict(
            p_value=0.01 if bool((lists == 1).all()) else 1.0,
            level=0.01,
            effect=(1.0, 1.0, 1.0),
            effect_name="",
            null="",
            turning_point="",
        )


@pytest.fixture(autouse=True)
def echo(monkeypatch):
    monkeypatch.setattr(methods, "_entries", dict(methods._entries))
    return register_method("echo")(Echo)


def test_a_registered_method_has_its_name_and_the_values_that_are_given():
    made = create_method("echo", {"length": 2})
    assert made.name == "echo"
    assert made.probes(None, {}, b"", 2).histories == [[1, 1], [1, 1]]
    assert create_method("echo", {}).settings == {"length": 3}


def test_a_p_value_at_the_level_is_a_claim():
    method = create_method("echo", {})
    assert method.verdict(Probes([]), torch.ones(2, 2)).is_claim
    assert not method.verdict(Probes([]), torch.zeros(2, 2)).is_claim


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ekho", {}, "unknown verification method 'ekho'. Did you mean 'echo'?"),
        ("echo", {"lenght": 2}, "unknown setting of echo 'lenght'. Did you mean 'length'?"),
        ("echo", {"length": 0}, "length: 0 is not allowed; it takes a whole number >= 1"),
    ],
)
def test_an_unknown_method_or_setting_is_named(name, settings, message):
    with pytest.raises(UserError) as error:
        create_method(name, settings)
    assert str(error.value).startswith(message)


def test_a_key_without_a_name_and_a_setting_of_a_method_without_any_are_refused():
    class Plain(Echo):
        keys = ()

    class Nameless(Echo):
        keys = (key(3, "int >= 1", "items of a history"),)

    register_method("plain")(Plain)
    register_method("nameless")(Nameless)
    with pytest.raises(UserError, match=r"^unknown setting 'length': the method plain has none$"):
        create_method("plain", {"length": 2})
    with pytest.raises(UserError, match=r"^method: nameless: one of its keys has no name; declare it as Key"):
        create_method("nameless", {})


def test_draws_repeat_for_the_same_key_and_purpose_alone():
    def draws(key, purpose):
        return keyed_draws(key, purpose).integers(2**60, size=4).tolist()

    assert draws(b"key", "probes") == draws(b"key", "probes")
    assert draws(b"key", "probes") != draws(b"kez", "probes")
    assert draws(b"key", "probes") != draws(b"key", "order")
