"""Classes of parts of a user's own that cannot be parts are refused when they are looked up."""

import re
from abc import abstractmethod

import pytest

from recbole_gro import Attacker, Defense, Detector, QueryStrategy, SwapRule, UserError
from recbole_gro.attack.attacker import _attackers as attackers
from recbole_gro.attack.query_strategies import _strategies as strategies
from recbole_gro.defense.base import defenses
from recbole_gro.defense.gro.callback import GROCallback
from recbole_gro.defense.gro.callback import _callbacks as callbacks
from recbole_gro.defense.gro.swap_rules import _rules as rules
from recbole_gro.defense.tail import TailDefense
from recbole_gro.detection.base import detectors
from recbole_gro.ownership.method import VerificationMethod, methods
from recbole_gro.utils.part_class import check_class
from recbole_gro.utils.registry import Registry, registered_as

BASES = (Attacker, Defense, Detector, GROCallback, QueryStrategy, SwapRule, VerificationMethod)


class Whole(Detector):
    def fit(self, benign): ...

    def scores(self, traces): ...

    def window_scores(self, traces, size): ...


class Nothing(Detector):
    pass


class CallsScores(Detector):
    def fit(self, benign): ...

    def window_scores(self, traces, size):
        return self.scores(traces)


class Verdictless(VerificationMethod):
    def probes(self, owner, references, key, n): ...


class Termless(SwapRule):
    pass


class Tailless(TailDefense):
    pass


class WithoutConfig(Whole):
    def __init__(self): ...


class FitsMore(Whole):
    def fit(self, benign, extra): ...


class FitsLess(Whole):
    def fit(self): ...


class Renamed(Whole):
    def scores(self, histories): ...

    def window_scores(self, traces, size, weight=1.0): ...


class Anything(Whole):
    def fit(self, *args, **kwargs): ...


class SetsAMethod(Detector):
    def __init__(self, config):
        self.scores = self.window_scores = lambda traces, size=1: None

    def fit(self, benign): ...


class Followed:
    def fit(self, benign): ...


@pytest.mark.parametrize("part", [Whole, Renamed, Anything, SetsAMethod], ids=lambda part: part.__name__)
def test_a_class_that_can_be_a_part_is_taken(part):
    check_class("detector own", part, Detector)


@pytest.mark.parametrize(("part", "base"), [(Defense, Defense), (Attacker, Attacker), (QueryStrategy, QueryStrategy)])
def test_a_base_class_that_leaves_nothing_open_is_one_too(part, base):
    check_class("part own", part, base)


PACKAGED = [registry[name] for registry in (attackers, callbacks, defenses, detectors, methods, rules, strategies)
            for name in registry]  # fmt: skip


@pytest.mark.parametrize("packaged", PACKAGED, ids=registered_as)
def test_a_class_that_derives_from_one_of_this_package_is_whole(packaged):
    base = next(base for base in BASES if issubclass(packaged, base))
    check_class("part own", type("Own", (packaged,), {}), base)


@pytest.mark.parametrize(
    ("part", "base", "message"),
    [
        (Followed, Detector, "Followed is no subclass of Detector; derive it from that class"),
        (len, Detector, "len is no subclass of Detector"),
        (Whole, Defense, "Whole is no subclass of Defense"),
        (Nothing, Detector, "Nothing does not define fit and scores and window_scores, as every Detector does"),
        (CallsScores, Detector, "CallsScores does not define scores, as every Detector does"),
        (Verdictless, VerificationMethod, "Verdictless does not define verdict, as every VerificationMethod does"),
        (Termless, SwapRule, "Termless does not define term, as every SwapRule does"),
        (Tailless, Defense, "Tailless does not define tail, as every Defense does"),
        (WithoutConfig, Detector, "__init__ of WithoutConfig takes (self), where it is called with (self, config)"),
        (FitsMore, Detector, "fit of FitsMore takes (self, benign, extra), where it is called with (self, benign)"),
        (FitsLess, Detector, "fit of FitsLess takes (self), where it is called with (self, benign)"),
    ],
)
def test_what_a_class_lacks_is_named_in_one_line(part, base, message):
    with pytest.raises(UserError, match=re.escape(f"part own: {message}")) as error:
        check_class("part own", part, base)
    assert "\n" not in str(error.value)


def test_a_registry_checks_what_it_gives(monkeypatch):
    monkeypatch.setattr(detectors, "_entries", dict(detectors._entries))
    detectors.register("own")(Followed)
    with pytest.raises(UserError, match=r"^detector own: Followed is no subclass of Detector"):
        detectors["own"]


def test_a_registry_without_a_base_class_takes_any_object():
    registry = Registry("shape")
    registry.register("own")(Followed)
    assert registry["own"] is Followed


def test_methods_that_a_class_of_a_users_own_leaves_open_count_too():
    class Half(Whole):
        @abstractmethod
        def weights(self): ...

    class Part(Half):
        pass

    with pytest.raises(UserError, match="Part does not define weights"):
        check_class("detector own", Part, Detector)
