"""Suspects of an experiment on ownership: copies, changed copies, and models that are none."""

import copy
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from recbole.data.transform import construct_transform
from torch import Tensor, nn

from recbole_gro.attack import create_surrogate, query_length
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.attack.surrogate_trainer import ExtractionTrainer
from recbole_gro.data import SequenceDataset, build_dataset, build_loaders
from recbole_gro.data.auxiliary_data import auxiliary_sequences
from recbole_gro.defense import create_defense
from recbole_gro.evaluator import PopularityService
from recbole_gro.experiment.kept_loaders import loaders_key
from recbole_gro.experiment.plan import Experiment, in_words
from recbole_gro.experiment.tables import suspect_named
from recbole_gro.quick_start.comparison import attack_service, serve_defended
from recbole_gro.quick_start.fingerprint import Fingerprints, fingerprint
from recbole_gro.quick_start.references import UNDEFENDED
from recbole_gro.quick_start.seeding import start_stage
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.quick_start.stages import Stages
from recbole_gro.serving.service import Service
from recbole_gro.utils.ranking import found_in, keep_items

ANOTHER = "independent, another architecture"
TOP = 10
Lists = Callable[[Tensor], Tensor]  # from histories [N, L] to lists [N, TOP or more]
FINE_TUNED_ON = 0.1  # share of users
PRUNED = (0.3, 0.5)  # share of each weight matrix
REPLACED = [2, 5, 8]  # places in a list whose items give way to those as far from its end
FIRST_SMALL_SEED = 101


@dataclass(frozen=True)
class Suspect:
    """A suspect of one owner.

    Attributes:
        kind: row of the table.
        name: tells it from others of its kind.
        is_copy: whether lists of the owner's model made it.
        lists: its lists.
        n_lists: number of the owner's lists that it was trained on.
    """

    kind: str
    name: str
    is_copy: bool
    lists: Lists
    n_lists: int = 0


class Workshop:
    """Make the models of an experiment, each once.

    Args:
        experiment: with its part `ownership`.
        stages_dir: folder of the stages.
    """

    def __init__(self, experiment: Experiment, stages_dir: Path):
        self.experiment, self.cache = experiment, StageCache(stages_dir, announce=False)
        self._loaders: dict[Any, Any] = {}

    def stages(self, model: str, seed: int, defense: str = UNDEFENDED, **settings: Any) -> Stages:
        """Return the stages of a model at a seed, behind a defense."""
        given = {"model": model, "references": [], **settings, "defense": defense}
        config = self.experiment.config(given, seed)
        config["show_progress"] = False
        config["checkpoint_dir"] = str(self.cache.folder)  # a folder that RecBole makes in any case
        key = loaders_key(config)
        loaders = self._loaders.get(key) or build_loaders(config, build_dataset(config))
        if key is not None:
            self._loaders[key] = loaders
        construct_transform(config)  # masked models read the field names that their transform leaves in the config
        return Stages(config, loaders, self.cache, Fingerprints(config, defense), None)

    def target(self, model: str, seed: int) -> nn.Module:
        """Return the target of a model at a seed."""
        with suspect_named(f"target {model}, seed {seed}"):
            return self.stages(model, seed).target()

    def small(self, seed: int) -> nn.Module:
        """Return a small independent model."""
        settings = small_settings(self.experiment)
        with suspect_named(f"small independent model, seed {seed}"):
            return self.stages(settings.pop("model"), seed, **settings).target()

    def of_half(self, model: str, seed: int) -> nn.Module:
        """Return a model trained as the target on half of the users, drawn by the seed."""
        config = self.stages(model, seed).config
        dataset = build_dataset(config)
        keep_half_of_users(dataset, seed)
        of_half = fingerprint("target", Fingerprints(config, UNDEFENDED).training, users="half")
        prints = Fingerprints(config, UNDEFENDED, variant={"training": of_half})
        with suspect_named(f"{model}, seed {seed}, of half of the users"):
            return Stages(config, build_loaders(config, dataset), self.cache, prints, None).target()

    def surrogate(
        self, model: str, seed: int, attack: dict[str, Any], defense: str = UNDEFENDED
    ) -> tuple[nn.Module, Stages, QueryLog, int]:
        """Return the surrogate of an attack on a service, its stages, the query log and the number of lists."""
        stages = self.stages(model, seed, defense, **attack)
        with suspect_named(f"surrogate of {model}, seed {seed}, {in_words(attack)}"):
            surrogate, log, facts = attack_service(stages, serve_defended(stages)[0], defense)
        return surrogate, stages, log, facts["lists_returned"]

    def queries(
        self, model: str, seed: int, attack: dict[str, Any], defense: str = UNDEFENDED
    ) -> tuple[Stages, QueryLog]:
        """Return the stages of an attack on a service, and its query log, without a surrogate."""
        stages = self.stages(model, seed, defense, **attack)
        with suspect_named(f"queries to {model}, seed {seed}, {in_words(attack)}"):
            return stages, stages.queries(serve_defended(stages)[0], defense)[0]


def copies(workshop: Workshop, model: str, seed: int) -> Iterator[Suspect]:
    """Yield the copies of a target, as they are and changed."""
    for attack in attacks(workshop.experiment, "copies", model, seed):
        surrogate, _, _, n_lists = workshop.surrogate(model, seed, attack)
        yield Suspect(f"copy, {n_lists:,} lists", _name(attack), True, _served(surrogate), n_lists)
    for attack in attacks(workshop.experiment, "changed", model, seed):
        surrogate, stages, _, n_lists = workshop.surrogate(model, seed, attack)
        other = _own_model(workshop, model, seed)
        for kind, lists in _changed(surrogate, stages, other).items():
            yield Suspect(kind, _name(attack), True, lists, n_lists)
    for attack in attacks(workshop.experiment, "avoiding", model, seed):
        _, stages, log, n_lists = workshop.surrogate(model, seed, attack)
        with suspect_named(f"surrogate trained on lists less rare items, {in_words(attack)}"):
            lists = _avoiding(stages, log, _own_model(workshop, model, seed))
        yield Suspect("adaptive: trained on lists less rare items", _name(attack), True, lists, n_lists)


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


def small_settings(experiment: Experiment) -> dict[str, Any]:
    """Return the settings of small independent models, `model` among them."""
    return {name: value for name, value in experiment.ownership["small"].items() if name != "count"}


def usual_attacks(experiment: Experiment, model: str, seed: int) -> list[dict[str, Any]]:
    """Return the attacks of the usual budget and surrogate: their copies are suspects of other owners too."""
    return [attack for attack in attacks(experiment, "copies", model, seed) if list(attack) == ["attacker"]]


def _changed(surrogate: nn.Module, stages: Stages, other: nn.Module) -> dict[str, Lists]:
    """Return changed copies; `other` is an independent model that an attacker with data trained."""
    plain, independent = (_served(model, stages.config["served_k"]) for model in (surrogate, other))
    return {
        "copy, fine-tuned on 10 % of the users": lambda rows: _served(fine_tuned(surrogate, stages))(rows),
        **{f"copy, {share:.0%} of the weights pruned": _served(pruned(surrogate, share)) for share in PRUNED},
        "copy, top 5 served": lambda rows: plain(rows)[:, :5],
        "copy behind tail_shuffle": _shuffled(surrogate, stages),
        "adaptive: 3 of the first 10 items from below": lambda rows: _with_replaced(plain(rows)),
        "adaptive: every second item": lambda rows: plain(rows)[:, ::2],
        "adaptive: mean of ranks with a model of its own": lambda rows: blended(plain(rows), independent(rows)),
    }


def others(workshop: Workshop, model: str, seed: int) -> Iterator[Suspect]:
    """Yield suspects that are no copies of a target; references are not among them."""
    experiment = workshop.experiment
    for name in map(str, experiment.vary["model"]):
        for other in trained_seeds(experiment):
            if name != model:
                yield Suspect(ANOTHER, f"{name} {other}", False,
                              _served(workshop.target(name, other)))  # fmt: skip
        for other in experiment.seeds:
            if (name, other) != (model, seed):
                for attack in usual_attacks(experiment, name, other):
                    surrogate = workshop.surrogate(name, other, attack)[0]
                    yield Suspect("copy of another model", f"{name} {other} {_name(attack)}", False, _served(surrogate))
        for other in experiment.ownership.get("half", {}).get(name, ()):
            yield Suspect("independent, half of the users", f"{name} {other}", False,
                          _served(workshop.of_half(name, other)))  # fmt: skip
    for number in range(FIRST_SMALL_SEED, FIRST_SMALL_SEED + experiment.ownership["small"]["count"]):
        yield Suspect("independent, small", f"{number}", False, _served(workshop.small(number)))
    stages = workshop.stages(model, seed)
    counts = stages.train._dataset.interaction_counter
    yield Suspect("popularity", "", False, PopularityService(stages.new_model(), TOP, counts).recommend)


def keep_half_of_users(dataset: SequenceDataset, seed: int) -> None:
    """Remove the interactions of every second user, drawn by the seed; the catalogue stays.

    Args:
        dataset: as of `build_dataset`, not built yet.
        seed: of the draw.
    """
    n = dataset.user_num - 1
    users = 1 + torch.randperm(n, generator=torch.Generator().manual_seed(seed))[: n // 2].numpy()
    kept = dataset.inter_feat[dataset.uid_field].isin(users).to_numpy()
    dataset.inter_feat = dataset.inter_feat[kept].reset_index(drop=True)
    dataset.time_ranks = dataset.time_ranks[kept].reset_index(drop=True)


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
    return _served(retrained(stages, log, found_in(log.lists, own), f"what {type(other).__name__} ranks low"))


def retrained(stages: Stages, log: QueryLog, kept: Tensor, left_out: str) -> nn.Module:
    """Return the surrogate of an attack that trains on part of its lists.

    Args:
        stages: of the attack.
        log: its query log.
        kept: [S, L, k] bool, which items stay in the lists.
        left_out: the others in words, for the fingerprint.
    """
    name = stages.prints.name
    prints = Fingerprints(stages.config, name, variant={"queries": f"{stages.prints.queries} less {left_out}"})
    part = Stages(stages.config, stages.loaders, stages.cache, prints, None)
    return part.surrogate(QueryLog(log.sequences, keep_items(log.lists, kept)), name)[0]


def _shuffled(surrogate: nn.Module, stages: Stages) -> Lists:
    return Service(surrogate, stages.config["served_k"], create_defense("tail_shuffle", stages.config).answer).recommend


def _with_replaced(lists: Tensor) -> Tensor:
    changed = lists.clone()
    k = lists.shape[1]
    changed[:, REPLACED] = lists[:, [k - place for place in REPLACED]]
    return changed


def _served(model: nn.Module, k: int = TOP) -> Lists:
    service = Service(model, k)
    return lambda rows: service.recommend(rows).cpu()


def _own_model(workshop: Workshop, model: str, seed: int) -> nn.Module:
    """Return the independent model of an attacker with data: no candidate of the line-up."""
    names = [name for name in map(str, workshop.experiment.vary["model"]) if name != model]
    return workshop.target(names[0], seed) if names else workshop.small(FIRST_SMALL_SEED)


def _name(attack: dict[str, Any]) -> str:
    return str(attack["attacker"]) + "".join(f", {in_words({key: value})}" for key, value in attack.items()
                                             if key not in ("attacker", "query_sequences"))  # fmt: skip
