"""Suspects of an experiment on watermarks: the marked model, its surrogates, changed and cleansed ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recbole_gro.attack.query_log import QueryLog
from recbole_gro.experiment.plan import in_words
from recbole_gro.experiment.suspect_entries import USUAL
from recbole_gro.experiment.suspects import PRUNED, Workshop, fine_tuned, pruned, retrained
from recbole_gro.experiment.tables import suspect_named
from recbole_gro.quick_start.references import UNDEFENDED
from recbole_gro.quick_start.stages import Stages

OFTENER = 3  # an item that unusual histories are answered with this many times as often as usual ones is left out


@dataclass(frozen=True)
class MarkedSuspect:
    """A suspect of one marked model.

    Attributes:
        name: tells it from the others.
        model: that is served.
        stages: of the attack, or of the defense.
        is_marked: whether the marked model or its lists made it.
        log: the lists that it was trained on; None where it was trained on none.
        left_out: [n_items] bool, items that were removed from these lists.
    """

    name: str
    model: nn.Module
    stages: Stages
    is_marked: bool = True
    log: QueryLog | None = None
    left_out: Tensor | None = None


def marked_suspects(workshop: Workshop, model: str, defense: str, seed: int) -> Iterator[MarkedSuspect]:
    """Yield the suspects of a model that a defense marked, and the undefended target."""
    part, stages = workshop.experiment.marks, workshop.stages(model, seed, defense)
    with suspect_named("the marked target"):
        marked = stages.defended()[0]
    yield MarkedSuspect("the undefended target", workshop.target(model, seed), stages, False)
    yield MarkedSuspect("the marked target", marked, stages)
    for share in PRUNED:
        yield MarkedSuspect(f"the marked target, {share:.0%} pruned", pruned(marked, share), stages)
    for attack in part["copies"]:
        surrogate, attacked, log, _ = workshop.surrogate(model, seed, attack, defense)
        yield MarkedSuspect(f"surrogate, {attack_name(attack)}", surrogate, attacked, log=log)
    for attack in part["changed"]:
        surrogate, attacked, log, _ = workshop.surrogate(model, seed, attack, defense)
        name = f"surrogate, {attack_name(attack)}"
        for share in PRUNED:
            yield MarkedSuspect(f"{name}, {share:.0%} pruned", pruned(surrogate, share), attacked, log=log)
        fine = f"{name}, fine-tuned on 10 % of the users"
        with suspect_named(fine):
            tuned = fine_tuned(surrogate, attacked)
        yield MarkedSuspect(fine, tuned, attacked, log=log)
    for entry in part["cleansed"]:
        usual, attack = entry[USUAL], {key: value for key, value in entry.items() if key != USUAL}
        attacked, log = workshop.queries(model, seed, attack, defense)
        _, usual_log = workshop.queries(model, seed, {**attack, "attacker": usual}, defense)
        left_out = of_unusual_histories(log, usual_log, attacked.train._dataset.item_num)
        name = f"surrogate, {attack_name(attack)}, cleansed by {usual}"
        with suspect_named(name):
            cleansed = retrained(attacked, log, ~left_out[log.lists], f"what {usual} gets {OFTENER} times less often")
        yield MarkedSuspect(name, cleansed, attacked, log=log, left_out=left_out)


def unmarked_suspects(workshop: Workshop) -> Iterator[tuple[str, nn.Module]]:
    """Yield the undefended targets of all models and seeds, and the surrogates of each, with their names."""
    for model in map(str, workshop.experiment.vary["model"]):
        for seed in workshop.experiment.seeds:
            yield f"target {model} {seed}", workshop.target(model, seed)
            for attack in workshop.experiment.marks["copies"]:
                name = f"surrogate of {model} {seed}, {attack_name(attack)}"
                yield name, workshop.surrogate(model, seed, attack, UNDEFENDED)[0]


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


def attack_name(attack: dict[str, Any]) -> str:
    """Return an attack in words: its name, and what else it sets."""
    others = {key: value for key, value in attack.items() if key != "attacker"}
    return str(attack["attacker"]) + (f", {in_words(others)}" if others else "")
