"""Suspects of an experiment on watermarks: the marked model, its surrogates, changed and cleansed ones."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from recbole_gro.attack.query_log import QueryLog
from recbole_gro.experiment.planned_suspects import PlannedSuspect
from recbole_gro.experiment.suspect_entries import USUAL
from recbole_gro.experiment.suspects import PRUNED, attack_name, fine_tuned, pruned, retrained
from recbole_gro.experiment.workshop import Workshop
from recbole_gro.quick_start.references import UNDEFENDED
from recbole_gro.quick_start.stages import Stages

OFTENER = 3  # an item that unusual histories are answered with this many times as often as usual ones is left out


PLAIN, MARKED, CLEANSED = "undefended", "marked", "cleansed"  # groups of suspects
OWNERS = "owners"  # models for which marks of false claims are chosen


@dataclass(frozen=True)
class MarkedSuspect:
    """A suspect of one marked model.

    Attributes:
        model: that is served.
        stages: of the attack, or of the defense.
        log: the lists that it was trained on; None where it was trained on none.
        left_out: [n_items] bool, items that were removed from these lists.
    """

    model: nn.Module
    stages: Stages
    log: QueryLog | None = None
    left_out: Tensor | None = None


Planned = PlannedSuspect[MarkedSuspect]


def marked_suspects(workshop: Workshop, model: str, defense: str, seed: int) -> Iterator[Planned]:
    """Yield the suspects of a model that a defense marked; they are made when they are tried."""
    part, stages = workshop.experiment.marks, workshop.stages(model, seed, defense)
    yield Planned("the undefended target", PLAIN, lambda: MarkedSuspect(workshop.target(model, seed), stages))
    marked = functools.cache(lambda: MarkedSuspect(workshop.defended(model, seed, defense), stages))
    yield Planned("the marked target", MARKED, marked)
    yield from _pruned("the marked target", marked)
    for attack in part["copies"]:
        yield Planned(f"surrogate, {attack_name(attack)}", MARKED, _surrogate(workshop, model, seed, attack, defense))
    for attack in part["changed"]:
        name, surrogate = f"surrogate, {attack_name(attack)}", _surrogate(workshop, model, seed, attack, defense)
        yield from _pruned(name, surrogate)
        make = functools.partial(_fine_tuned, surrogate)
        yield Planned(f"{name}, fine-tuned on 10 % of the users", MARKED, make)
    for entry in part["cleansed"]:
        usual, attack = entry[USUAL], {key: value for key, value in entry.items() if key != USUAL}
        make = functools.partial(_cleansed, workshop, (model, seed, defense), attack, usual)
        yield Planned(f"surrogate, {attack_name(attack)}, cleansed by {usual}", CLEANSED, make)


def _surrogate(
    workshop: Workshop, model: str, seed: int, attack: dict[str, Any], defense: str
) -> Callable[[], MarkedSuspect]:
    """Return what makes the surrogate of an attack, once for all suspects that are made of it."""

    @functools.cache
    def made() -> MarkedSuspect:
        surrogate, attacked, log, _ = workshop.surrogate(model, seed, attack, defense)
        return MarkedSuspect(surrogate, attacked, log)

    return made


def _pruned(name: str, made: Callable[[], MarkedSuspect]) -> Iterator[Planned]:
    def smaller(share: float) -> MarkedSuspect:
        return replace(made(), model=pruned(made().model, share))

    for share in PRUNED:
        yield Planned(f"{name}, {share:.0%} pruned", MARKED, functools.partial(smaller, share))


def _fine_tuned(made: Callable[[], MarkedSuspect]) -> MarkedSuspect:
    return replace(made(), model=fine_tuned(made().model, made().stages))


def _cleansed(workshop: Workshop, owner: tuple[str, int, str], attack: dict[str, Any], usual: str) -> MarkedSuspect:
    model, seed, defense = owner
    attacked, log = workshop.queries(model, seed, attack, defense)
    _, usual_log = workshop.queries(model, seed, {**attack, "attacker": usual}, defense)
    left_out = of_unusual_histories(log, usual_log, attacked.train._dataset.item_num)
    cleansed = retrained(attacked, log, ~left_out[log.lists])
    return MarkedSuspect(cleansed, attacked, log, left_out)


def unmarked_suspects(workshop: Workshop) -> Iterator[PlannedSuspect[nn.Module]]:
    """Yield the undefended targets of all models and seeds, and the surrogates of each, as `marked_suspects` does."""
    for model in map(str, workshop.experiment.vary["model"]):
        for seed in workshop.experiment.seeds:
            make = functools.partial(workshop.target, model, seed)
            yield PlannedSuspect(f"target {model} {seed}", PLAIN, make)
            for attack in workshop.experiment.marks["copies"]:
                surrogate = _surrogate(workshop, model, seed, attack, UNDEFENDED)
                yield PlannedSuspect(
                    f"surrogate of {model} {seed}, {attack_name(attack)}", PLAIN, functools.partial(_model, surrogate)
                )


def _model(made: Callable[[], MarkedSuspect]) -> nn.Module:
    return made().model


def of_unusual_histories(unusual: QueryLog, usual: QueryLog, n_items: int) -> Tensor:
    """Return the items that lists for unusual histories hold more often, as an adversary without the key finds marks.

    Args:
        unusual: lists for histories such as no user has.
        usual: lists for histories such as users have.
        n_items: with the padding.

    Returns:
        [n_items] bool: whether its share of the unusual lists is OFTENER times that of the usual ones or more, where
        one list more is counted, so that an item of no usual list has a share too.
    """
    often, seldom = (torch.bincount(log.lists.flatten(), minlength=n_items) for log in (unusual, usual))
    found = often * usual.n_lists >= OFTENER * (seldom + 1) * unusual.n_lists
    found[0] = False
    return found


def share_of_positions(log: QueryLog, items: Tensor) -> float:
    """Return the share of the positions of all lists that hold some of the items [M]."""
    listed = log.lists[log.lists != 0]
    return float(torch.isin(listed, items).double().mean())
