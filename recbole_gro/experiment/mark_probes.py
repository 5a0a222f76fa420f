"""Probes of the marks of an experiment on watermarks, and what suspects say to them."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.defense import create_defense
from recbole_gro.experiment.plan import Experiment
from recbole_gro.experiment.suspects import TOP
from recbole_gro.experiment.workshop import Workshop
from recbole_gro.ownership.method import NoVerdict, Probes, VerificationMethod
from recbole_gro.quick_start.stages import Stages
from recbole_gro.serving.saved_target import SavedTarget
from recbole_gro.serving.service import Service
from recbole_gro.utils.errors import UserError

FIRST_KEY = 1000  # the seed from which the first key of marks that no model has is derived
ALL = 10**6  # lists that a verification may take: those of all marks
FOUND = ["list_length", "lists", "marked_items", "listed", "listed_by_chance", "p_value"]
Row = dict[str, Any]


def false_keys(experiment: Experiment) -> list[int]:
    """Return the seeds from which keys of marks that no model has are derived."""
    return [FIRST_KEY + number for number in range(experiment.marks["keys"])]


def marked_for(workshop: Workshop, model: str, defense: str, seed: int) -> nn.Module:
    """Return the model that marks are chosen for: the undefended target, or any where the data alone choose them."""
    stages = workshop.stages(model, seed, defense)
    return workshop.target(model, seed) if stages.prints.needs_target else stages.new_model()


def owner_with_marks(stages: Stages, target: nn.Module, config: ConfigLike | None = None) -> Any:
    """Return an owner's model with the marks that the key of its config, or of another one, chooses."""
    config = stages.config if config is None else config
    defense: Any = create_defense(stages.prints.name, config)
    dataset = stages.train._dataset
    return SavedTarget(
        model=target,
        dataset=None,
        config=config,
        item_tokens=dataset.field2id_token[dataset.iid_field].tolist(),
        marks=defense.new_marks(target.eval(), stages.train).state(),
    )


def mark_probes(method: VerificationMethod, owner: Any) -> Probes:
    """Return the probes of all marks.

    Raises:
        UserError: no suspect could be claimed with so few of them.
    """
    try:
        return method.probes(owner, {}, b"", ALL)
    except NoVerdict as reason:
        few = str(reason).partition(";")[0]  # without its advice, which is on an option of `verify`
        raise UserError(f"defense: {method.name}: {few}; plant more or longer marks") from reason


def mark_verdicts(method: VerificationMethod, probes: Probes, model: nn.Module, k: int) -> Iterator[Row]:
    """Yield what a suspect's lists say, for lists of k and of TOP items."""
    histories = pad_sequence([torch.tensor(row) for row in probes.histories], batch_first=True)
    lists = Service(model, k).recommend(histories).cpu()
    for length in dict.fromkeys((k, min(TOP, k))):
        numbers = {"list_length": length, "lists": len(lists), "marked_items": len(probes.expected["items"])}
        try:
            verdict = method.verdict(probes, lists[:, :length])
            facts = {name: verdict.facts[name] for name in ("listed", "listed_by_chance")}
            yield numbers | facts | {"p_value": verdict.p_value}
        except NoVerdict:  # it lists no candidate
            yield numbers | {"listed": 0.0, "listed_by_chance": 0.0, "p_value": None}
