"""The base class of verification methods, their registry, and their verdict."""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from recbole_gro.config.settings import Key
from recbole_gro.serving.saved_target import SavedTarget
from recbole_gro.utils.errors import UserError, unknown_name
from recbole_gro.utils.registry import Registry

LEVEL = 0.01  # maximum rate of false claims, unless said otherwise


class NoVerdict(Exception):
    """An assumption of a method does not hold, so that there is no verdict; the message is one sentence."""


@dataclass(frozen=True)
class Probes:
    """The queries to a suspect, and what the verdict reads besides its lists.

    Attributes:
        histories: item ids of the owner, most recent last; in the order in which they are sent. None is empty.
        expected: values that JSON gives back as they are, such as the owner's own lists: no tensor, tuple or NaN.
    """

    histories: list[list[int]]
    expected: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a method says about a suspect.

    Attributes:
        p_value: probability of evidence this strong or stronger under the null hypothesis of the method.
        level: a copy is claimed where the p-value is at most this one.
        effect: (value, low, high), a size with its 95 % interval, in the unit that `effect_name` names.
        effect_name: what the effect is, such as `percent of marked items in the top 10, less what chance gives`.
        null: the null hypothesis, and how its distribution was obtained, in one sentence.
        turning_point: what would have changed the verdict, in one sentence.
        facts: further values, for results.json and the table of the report, that JSON gives back as they are.
    """

    p_value: float
    level: float
    effect: tuple[float, float, float]
    effect_name: str
    null: str
    turning_point: str
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def is_claim(self) -> bool:
        """Whether the suspect is claimed to be a copy."""
        return self.p_value <= self.level


class VerificationMethod:
    """Choose secret probes, and say from a suspect's lists whether it is a copy.

    `probes` reads the key and the models of the owner; `verdict` is a function of its arguments alone, so that anybody
    can recompute it from results.json.

    Args:
        settings: values of `keys`, by name; absent ones take their default.

    Attributes:
        name: as registered.
        summary: what it measures, in a few words.
        source: publication, or who proposed it.
        assumptions: under which its p-value holds, one sentence each.
        keys: settings that it reads.
        needs_references: whether it compares with the owner's models of other seeds.
        key_was_planted: whether the key is the one that the owner's model was trained with.
        reads_order: whether the order of a list matters to it, not its items alone.
        effect_unit: of the effect of its verdicts: `share`, from 0 to 1, or `percent`; both are shown in percent. Any
            other effect is shown as it is.

    Raises:
        UserError: an unknown setting, or an invalid value.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    source: ClassVar[str] = ""
    assumptions: ClassVar[tuple[str, ...]] = ()
    keys: ClassVar[tuple[Key, ...]] = ()
    needs_references: ClassVar[bool] = False
    key_was_planted: ClassVar[bool] = False
    reads_order: ClassVar[bool] = True
    effect_unit: ClassVar[str] = ""

    def __init__(self, settings: Mapping[str, Any]):
        known = {key.name: key for key in self.keys}
        if "" in known:
            raise UserError(f"method: {self.name}: one of its keys has no name; declare it as Key(name, default, ..)")
        for name, value in settings.items():
            if name not in known:
                if not known:
                    raise UserError(f"unknown setting {name!r}: the method {self.name} has none")
                raise unknown_name(f"setting of {self.name}", name, known)
            known[name].check(value)
        self.settings: dict[str, Any] = {name: key.default for name, key in known.items()} | dict(settings)

    def check_owner(self, owner: SavedTarget) -> None:
        """Check that the method applies to a model, before anything else is done.

        Raises:
            NoVerdict: it does not.
        """

    @abstractmethod
    def probes(self, owner: SavedTarget, references: Mapping[str, SavedTarget], key: bytes, n: int) -> Probes:
        """Return the queries to the suspect; equal arguments give equal probes.

        All draws come from `keyed_draws`: `verify --recompute --owner` makes the probes anew and compares them. Those
        of a method from outside this package are made twice before the commitment, which refuses others.

        Args:
            owner: the model whose copies are looked for; its config says how it was trained.
            references: models that were trained as the owner's at other seeds, by name; empty where `needs_references`
                is False.
            key: secret of the owner; `keyed_draws` makes generators of it.
            n: maximum number of histories, 1 or more; the suspect gives a list for each.

        Raises:
            NoVerdict: the models are none that the method applies to.
        """
        raise NotImplementedError

    @abstractmethod
    def verdict(self, probes: Probes, lists: Tensor) -> Verdict:
        """Return the verdict.

        Args:
            probes: from `probes`.
            lists: [N, k] item ids of the owner that the suspect returned, best first; 0 pads shorter lists.

        Raises:
            NoVerdict: an assumption does not hold.
        """
        raise NotImplementedError


methods: Registry[type[VerificationMethod]] = Registry("verification method", VerificationMethod)


def register_method(name: str) -> Any:
    """Return a decorator that registers a verification method and sets its name.

    Raises:
        ValueError: the name is taken.
    """

    def decorate(method: type[VerificationMethod]) -> type[VerificationMethod]:
        method.name = name
        return methods.register(name)(method)

    return decorate


def create_method(name: str, settings: Mapping[str, Any]) -> VerificationMethod:
    """Return a verification method by name.

    Raises:
        UserError: no such method, or a setting that it does not have.
    """
    return methods[name](settings)


def is_packaged(method: VerificationMethod) -> bool:
    """Return whether a method is of this package, and not of a user's own."""
    return type(method).__module__.partition(".")[0] == __name__.partition(".")[0]


def keyed_draws(key: bytes, purpose: str) -> np.random.Generator:
    """Return a generator that only the holder of the key can repeat; different purposes give independent ones.

    Probes take any number of draws of any distribution, so it is a generator of numpy; `KeyedDraws` and `keyed_word` of
    the defenses are functions of a query or a description, and have no state.
    """
    digest = hashlib.blake2b(purpose.encode(), key=hashlib.sha256(key).digest(), digest_size=32).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))
