"""Defenses by name, and combinations of them: `gro+tail_decoy` trains with the first and serves through both."""

import copy
from typing import Any

from torch import Tensor

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.defense.base import Defense, defenses
from recbole_gro.serving.service import Query, checked_lists
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import plain_state

JOIN = "+"


def create_defense(name: str, config: ConfigLike) -> Defense:
    """Return the defense of a name, or of several names joined by +, each acting on the list of the one before.

    Args:
        name: registered names; the one that trains comes first, the one that shortens lists last.
        config: the target's config.

    Raises:
        UserError: no such defense, settings that contradict each other, or an impossible order.
    """
    names = name.split(JOIN)
    if "" in names and JOIN in name:
        raise UserError(f"defense: {name!r} lacks a name beside its {JOIN}; write it as gro{JOIN}tail_decoy")
    if len(names) > 1:
        _check_training_first(name, names)  # before the parts check their settings
    parts = [defenses[part](config) for part in names]
    for part, part_name in zip(parts, names, strict=True):
        part.name = part_name
    if len(parts) == 1:
        return parts[0]
    _check_shortest_last(name, names, parts)
    return CombinedDefense(config, parts)


def trains(defense: type[Defense]) -> bool:
    """Return whether a defense trains a model, rather than serve the target."""
    return defense.protect is not Defense.protect


def saved_state(defense: Defense) -> dict[str, Any]:
    """Return the state of a defense, which later lists do not change.

    Raises:
        UserError: it holds anything but plain values and tensors.
    """
    name = JOIN.join(part.name for part in defense.parts)
    return copy.deepcopy(plain_state(defense.state_dict(), f"defense: {name}: state_dict"))


def restore_state(defense: Defense, state: dict[str, Any]) -> None:
    """Bring a defense into a state from `saved_state`, which its later lists do not change."""
    defense.load_state_dict(copy.deepcopy(state))


def _check_training_first(name: str, names: list[str]) -> None:
    twice = [part for place, part in enumerate(names) if part in names[:place]]
    if twice:
        raise UserError(f"defense: {name!r} names {twice[0]} twice; once is enough")
    training = [part for part in names if trains(defenses[part])]
    if len(training) > 1:
        raise UserError(f"defense: {name!r} trains with {' and '.join(training)}; choose one of them")
    if training and names[0] != training[0]:
        right = JOIN.join([*training, *(part for part in names if part != training[0])])
        raise UserError(f"defense: {training[0]} trains, so it stands first in {name!r}; write {right}")


def _check_shortest_last(name: str, names: list[str], parts: list[Defense]) -> None:
    short = [part for part, defense in zip(names[:-1], parts[:-1], strict=True) if defense.shortens]
    if short:
        right = JOIN.join([*(part for part in names if part != short[0]), short[0]])
        raise UserError(f"defense: {short[0]} cuts the list short, so it stands last in {name!r}; write {right}")


class CombinedDefense(Defense):
    """Combine defenses: the first may train; each acts on the list of the one before.

    Args:
        config: the target's config.
        parts: defenses, of which none but the first trains.
    """

    def __init__(self, config: ConfigLike, parts: list[Defense]):
        super().__init__(config)
        self._parts = tuple(parts)
        self.summary = "; then ".join(part.summary for part in parts)
        self.shortens = any(part.shortens for part in parts)
        self._collect_effective()

    @property
    def parts(self) -> tuple[Defense, ...]:
        return self._parts

    def protect(self, target, train_data, valid_data, show_progress: bool = False):
        protected = self._parts[0].protect(target, train_data, valid_data, show_progress)
        self._collect_effective()
        return protected

    def answer(self, ranked: Tensor, query: Query) -> Tensor:
        for part in self._parts[:-1]:
            shown = part.answer(ranked, query)
            if shown is not ranked:
                ranked = checked_lists(shown, ranked, query.scores.shape[1], part.name, part.shortens)
        return self._parts[-1].answer(ranked, query)  # whose lists the service checks

    def state_dict(self):
        return {str(place): part.state_dict() for place, part in enumerate(self._parts)}

    def load_state_dict(self, state):
        for place, part in enumerate(self._parts):
            part.load_state_dict(state[str(place)])

    def _collect_effective(self) -> None:
        self.effective = {name: value for part in self._parts for name, value in part.effective.items()}
