"""Suspects of an experiment on ownership: copies, changed copies, and models that are none."""

import copy
import functools
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recbole_gro.attack import create_surrogate, query_length
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.attack.surrogate_trainer import ExtractionTrainer
from recbole_gro.data.auxiliary_data import auxiliary_sequences
from recbole_gro.defense import create_defense
from recbole_gro.evaluator import PopularityService
from recbole_gro.experiment.plan import Experiment, in_words
from recbole_gro.experiment.planned_suspects import PlannedSuspect
from recbole_gro.experiment.workshop import Workshop
from recbole_gro.quick_start.seeding import start_stage
from recbole_gro.quick_start.stage_fingerprints import Fingerprints, fingerprint
from recbole_gro.quick_start.stages import Stages
from recbole_gro.serving.service import Service
from recbole_gro.utils.ranking import found_in, keep_items

COPIES, OTHERS = "copies", "others"  # groups of suspects
SAME, ANOTHER = "independent, same architecture", "independent, another architecture"
TOP = 10
Lists = Callable[[Tensor], Tensor]  # from histories [N, L] to lists [N, TOP or more]
FINE_TUNED_ON = 0.1  # share of users
PRUNED = (0.3, 0.5)  # share of each weight matrix
REPLACED = [2, 5, 8]  # places in a list whose items give way to those as far from its end
FIRST_SMALL_SEED = 101
AVOIDING = "adaptive: trained on lists less rare items"
SHUFFLED = "tail_shuffle"  # the defense that a changed copy is behind


@dataclass(frozen=True)
class Suspect:
    """A suspect of one owner.

    Attributes:
        kind: row of the table.
        name: tells it from others of its kind.
        is_copy: whether lists of the owner's model made it.
        lists: its lists.
        n_lists: number of the owner's lists that it was trained on.
        made_of: the target of the experiment that it is or was made from, where that is not the owner's.
    """

    kind: str
    name: str
    is_copy: bool
    lists: Lists
    n_lists: int = 0
    made_of: str = ""


def copies(workshop: Workshop, model: str, seed: int) -> Iterator[PlannedSuspect[Suspect]]:
    """Yield the copies of a target, as they are and changed; they are made when they are tried."""
    for attack in attacks(workshop.experiment, "copies", model, seed):
        make = functools.partial(_copy, workshop, model, seed, attack)
        yield PlannedSuspect(f"copy: {in_words(attack)}", COPIES, make)
    other = functools.partial(_own_model, workshop, model, seed)
    for attack in attacks(workshop.experiment, "changed", model, seed):
        surrogate = functools.cache(functools.partial(workshop.surrogate, model, seed, attack))
        for kind in CHANGED:
            make = functools.partial(_changed_copy, kind, attack_name(attack), surrogate, other)
            yield PlannedSuspect(f"{kind}: {in_words(attack)}", COPIES, make)
    for attack in attacks(workshop.experiment, "avoiding", model, seed):
        make = functools.partial(_avoiding_copy, workshop, model, seed, attack)
        yield PlannedSuspect(f"{AVOIDING}: {in_words(attack)}", COPIES, make)


def _copy(workshop: Workshop, model: str, seed: int, attack: dict[str, Any]) -> Suspect:
    surrogate, _, _, n_lists = workshop.surrogate(model, seed, attack)
    return Suspect(f"copy, {n_lists:,} lists", _name(attack), True, _served(surrogate), n_lists)


def _changed_copy(kind: str, name: str, made: Callable[[], Any], other: Callable[[], nn.Module]) -> Suspect:
    surrogate, stages, _, n_lists = made()
    return Suspect(kind, name, True, CHANGED[kind](surrogate, stages, other), n_lists)


def _avoiding_copy(workshop: Workshop, model: str, seed: int, attack: dict[str, Any]) -> Suspect:
    _, stages, log, n_lists = workshop.surrogate(model, seed, attack)
    lists = _avoiding(stages, log, _own_model(workshop, model, seed))
    return Suspect(AVOIDING, attack_name(attack), True, lists, n_lists)


def attacks(experiment: Experiment, part: str, model: str, seed: int) -> list[dict[str, Any]]:
    """Return the settings of the attacks on an owner's model; `only` restricts an entry to some models or seeds."""
    listed = experiment.ownership[part]
    return [
        {name: value for name, value in entry.items() if name != "only"}
        for entry in listed
        if {model, seed} & {*entry.get("only", [model])}
    ]


def trained_seeds(experiment: Experiment) -> list[int]:
    """Return the seeds of the independent models of an architecture, each once: owners may be references too."""
    return [*dict.fromkeys((*experiment.seeds, *experiment.ownership["references"]))]


def usual_attacks(experiment: Experiment, model: str, seed: int) -> list[dict[str, Any]]:
    """Return the attacks of the usual budget and surrogate: their copies are suspects of other owners too."""
    return [attack for attack in attacks(experiment, "copies", model, seed) if list(attack) == ["attacker"]]


def others(workshop: Workshop, model: str, seed: int) -> Iterator[PlannedSuspect[Suspect]]:
    """Yield suspects that are no copies of a target, as `copies` does; references are not among them."""
    experiment = workshop.experiment

    def planned(kind: str, name: str, trained: Callable[[], nn.Module], of: str = "") -> PlannedSuspect[Suspect]:
        return PlannedSuspect(
            f"{kind}: {name}", OTHERS, lambda: Suspect(kind, name, False, _served(trained()), made_of=of)
        )

    for name in map(str, experiment.vary["model"]):
        for other in trained_seeds(experiment):
            if name != model:
                yield planned(ANOTHER, f"{name} {other}", functools.partial(workshop.target, name, other))
        for other in experiment.seeds:
            if (name, other) != (model, seed):
                for attack in usual_attacks(experiment, name, other):
                    surrogate = functools.partial(_surrogate, workshop, name, other, attack)
                    of = f"{name} {other}"
                    yield planned("copy of another model", f"{of} {_name(attack)}", surrogate, of)
        for other in experiment.ownership.get("half", {}).get(name, ()):
            of_half = functools.partial(workshop.of_half, name, other)
            yield planned("independent, half of the users", f"{name} {other}", of_half)
    for number in range(FIRST_SMALL_SEED, FIRST_SMALL_SEED + experiment.ownership["small"]["count"]):
        yield planned("independent, small", f"{number}", functools.partial(workshop.small, number))
    yield PlannedSuspect("popularity", OTHERS, functools.partial(_popularity, workshop, model, seed))


def _surrogate(workshop: Workshop, model: str, seed: int, attack: dict[str, Any]) -> nn.Module:
    return workshop.surrogate(model, seed, attack)[0]


def _popularity(workshop: Workshop, model: str, seed: int) -> Suspect:
    stages = workshop.stages(model, seed)
    service = PopularityService(stages.new_model(), TOP, stages.train._dataset.interaction_counter)
    return Suspect("popularity", "", False, service.recommend)


def fine_tuned(surrogate: nn.Module, stages: Stages) -> nn.Module:
    """Return a surrogate after training on the real next items of a tenth of the users, each a list of one item."""
    draw = torch.Generator().manual_seed(start_stage(stages.config, "fine-tuning"))
    known = auxiliary_sequences(stages.train._dataset, FINE_TUNED_ON, query_length(stages.config) + 1, draw)
    config = create_surrogate(stages.config, stages.train._dataset.item_num, None, type(surrogate))[1]
    with tempfile.TemporaryDirectory() as folder:
        config["checkpoint_dir"] = config["output_dir"] = folder
        trainer = ExtractionTrainer(config, copy.deepcopy(surrogate))
        trainer.fit(*trainer.loaders(QueryLog(known[:, :-1], known[:, 1:].unsqueeze(2))), show_progress=False)
        trainer.load_saved()
    return trainer.model.eval()


def pruned(model: nn.Module, share: float) -> nn.Module:
    """Return a model whose smallest weights, a share of each matrix, are 0."""
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for weights in changed.parameters():
            if weights.dim() > 1:
                smallest = weights.abs().flatten().kthvalue(max(1, int(share * weights.numel()))).values
                weights[weights.abs() <= smallest] = 0
    return changed.eval()


def blended(lists: Tensor, others: Tensor) -> Tensor:
    """Return the first items [N, TOP] by the sum of 1 / (rank + 10) in two lists [N, k]."""
    gain = 1.0 / (torch.arange(lists.shape[1]) + 11)
    scores = torch.zeros(len(lists), int(max(lists.max(), others.max())) + 1)
    for listed in (lists, others):
        scores.scatter_add_(1, listed, gain.expand_as(listed))
    return scores.topk(TOP).indices


def _avoiding(stages: Stages, log: QueryLog, other: nn.Module) -> Lists:
    """Return the lists of a surrogate that was trained without what the attacker's own model ranks low."""
    width = min(2 * log.lists.shape[2], stages.train._dataset.item_num - 1)
    queries = [log.sequences[:, : t + 1] for t in range(log.sequences.shape[1])]
    own = torch.stack([_served(other, width)(rows) for rows in queries], 1)
    return _served(retrained(stages, log, found_in(log.lists, own)))


def retrained(stages: Stages, log: QueryLog, kept: Tensor) -> nn.Module:
    """Return the surrogate of an attack that trains on part of its lists.

    Args:
        stages: of the attack.
        log: its query log.
        kept: [S, L, k] bool, which items stay in the lists.
    """
    name = stages.prints.name
    part = hashlib.sha256(kept.numpy().tobytes()).hexdigest()[:16]
    prints = Fingerprints(stages.config, name, variant={"queries": fingerprint("part", stages.prints.queries, part)})
    of_part = Stages(stages.config, stages.loaders, stages.cache, prints, None)
    return of_part.surrogate(QueryLog(log.sequences, keep_items(log.lists, kept)), name)[0]


def _shuffled(surrogate: nn.Module, stages: Stages) -> Lists:
    return Service(surrogate, stages.config["served_k"], create_defense(SHUFFLED, stages.config).answer).recommend


def _with_replaced(lists: Tensor) -> Tensor:
    changed = lists.clone()
    k = lists.shape[1]
    changed[:, REPLACED] = lists[:, [k - place for place in REPLACED]]
    return changed


def _served(model: nn.Module, k: int = TOP) -> Lists:
    service = Service(model, k)
    return lambda rows: service.recommend(rows).cpu()


def _plain(surrogate: nn.Module, stages: Stages) -> Lists:
    return _served(surrogate, stages.config["served_k"])


def _own_model(workshop: Workshop, model: str, seed: int) -> nn.Module:
    """Return the independent model of an attacker with data: no candidate of the line-up."""
    names = [name for name in map(str, workshop.experiment.vary["model"]) if name != model]
    return workshop.target(names[0], seed) if names else workshop.small(FIRST_SMALL_SEED)


def _name(attack: dict[str, Any]) -> str:
    """Return an attack in words, less its budget: the kind of a copy has the number of lists."""
    return attack_name({key: value for key, value in attack.items() if key != "query_sequences"})


def attack_name(attack: dict[str, Any]) -> str:
    """Return an attack in words: its name, and what else it sets."""
    others = {key: value for key, value in attack.items() if key != "attacker"}
    return str(attack["attacker"]) + (f", {in_words(others)}" if others else "")


def _pruned(share: float, surrogate: nn.Module, *_: Any) -> Lists:
    return _served(pruned(surrogate, share))


def _blended(surrogate: nn.Module, stages: Stages, other: nn.Module) -> Lists:
    plain, independent = _plain(surrogate, stages), _plain(other, stages)
    return lambda rows: blended(plain(rows), independent(rows))


# from a surrogate, its stages and what makes an independent model, which an attacker with data trains, to lists
CHANGED: dict[str, Callable[[nn.Module, Stages, Callable[[], nn.Module]], Lists]] = {
    "copy, fine-tuned on 10 % of the users": lambda one, stages, _: lambda rows: _served(fine_tuned(one, stages))(rows),
    **{f"copy, {share:.0%} of the weights pruned": functools.partial(_pruned, share) for share in PRUNED},
    "copy, top 5 served": lambda one, stages, _: lambda rows: _plain(one, stages)(rows)[:, :5],
    "copy behind tail_shuffle": lambda one, stages, _: _shuffled(one, stages),
    "adaptive: 3 of the first 10 items from below": lambda one, stages, _: (
        lambda rows: _with_replaced(_plain(one, stages)(rows))
    ),
    "adaptive: every second item": lambda one, stages, _: lambda rows: _plain(one, stages)(rows)[:, ::2],
    "adaptive: mean of ranks with a model of its own": lambda one, stages, other: _blended(one, stages, other()),
}
