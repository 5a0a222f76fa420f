"""The base class of attackers, their registry, and the paper's attacker."""

import functools
import itertools
from pathlib import Path
from typing import Any

import torch
from recbole.utils import init_seed
from torch import Tensor

from recbole_gro.attack import settings  # noqa: F401  (declares the keys of attacks before those of services)
from recbole_gro.attack.black_box import ListSource
from recbole_gro.attack.query_log import QueryLog, checked
from recbole_gro.attack.query_strategies import create_query_strategy, is_query_strategy
from recbole_gro.attack.selection import Candidate, agreement_name, held_out_agreement, write_selected
from recbole_gro.attack.settings import AttackSettings, EnsembleSettings, QuerySettings
from recbole_gro.attack.surrogate_model import create_surrogate, surrogate_models, surrogates_by_name
from recbole_gro.attack.surrogate_trainer import ExtractionTrainer
from recbole_gro.config.config import with_settings
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.settings import Settings
from recbole_gro.config.values import as_names
from recbole_gro.trainer import processes
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import make_folder
from recbole_gro.utils.random_state import SEEDS, stage_seed
from recbole_gro.utils.registry import Registry

STRONGEST = "strongest"  # the name of the best attack of the suite


def query_length(config: ConfigLike) -> int:
    """Return how many items a query sequence has."""
    return QuerySettings.of(config).query_length or config["MAX_ITEM_LIST_LENGTH"]


def query_budget(config: ConfigLike) -> int:
    """Return the query budget in lists, the same for every attacker: one per prefix of every query sequence."""
    return QuerySettings.of(config).query_sequences * query_length(config)


class Attacker:
    """Query a black box within the budget, then train a surrogate on the lists; by default as the paper's attack does.

    An attacker has what its methods are given: a black box, the size of the catalogue, and no data, unless it declares
    auxiliary data by `auxiliary_share`. The two methods may run in different processes, so `train_surrogate` depends
    on the query log alone.

    Args:
        config: the target's config; `query_*`, `surrogate_*` and `attacker_*` are read from it.

    Attributes:
        selected: selected hyperparameters, and why they were selected, for the results.
    """

    summary = "trains on all lists, with Eq. 4 of the paper"  # its method in a few words, for the log
    # classes of settings that it reads besides queries and surrogate; None: not declared, so it may be any key
    settings: tuple[type[Settings], ...] | None = None
    auxiliary_share = 0.0  # share of the users whose training items are its auxiliary data; 0: none
    repeats = 1  # how often it queries each prefix of its log
    sequence_source: str | None = None  # of its query sequences, in a word, where no query strategy generates them
    n_variants = 1  # how many training logs it makes of a query log, each for a candidate surrogate
    query_trainings = 0.0  # how often it trains a surrogate while it queries, in trainings on its whole log
    variant_key = ""  # the setting that tells them apart
    trainer: type[ExtractionTrainer] = ExtractionTrainer  # of a surrogate

    def __init__(self, config: ConfigLike):
        self.config = config
        self.strategy_name = QuerySettings.of(config).query_strategy
        self.strategy = create_query_strategy(self.strategy_name, config)
        self.selected: dict[str, Any] = {}

    @property
    def classes(self) -> tuple[type, ...]:
        """Classes whose code decides its results; those of a user count in fingerprints."""
        return type(self), type(self.strategy), self.trainer

    @property
    def n_sequences(self) -> int:
        """Sequences whose every prefix can be queried `repeats` times within the budget."""
        return QuerySettings.of(self.config).query_sequences // self.repeats

    @property
    def ensemble_size(self) -> int:
        """Number of surrogates whose mean of scores counts."""
        return EnsembleSettings.of(self.config).surrogate_ensemble

    @property
    def n_surrogates(self) -> int:
        """Number of surrogates that it trains: candidates, and the rest of an ensemble of the selected one."""
        return self.n_variants * len(surrogate_models(self.config)) + self.ensemble_size - 1

    def query(
        self,
        black_box: ListSource,
        generator: torch.Generator,
        auxiliary: Tensor | None = None,
        show_progress: bool = False,
    ) -> QueryLog:
        """Return the query log.

        Args:
            black_box: gives at least `query_budget` lists.
            generator: source of all draws.
            auxiliary: [U, L] items of real users, most recent last, padded right with 0; None where `auxiliary_share`
                is 0.
            show_progress: whether to show a progress bar.
        """
        return self.strategy.query(black_box, self.n_sequences, query_length(self.config), generator, show_progress)

    def training_log(self, log: QueryLog) -> QueryLog:
        """Return the part of a log that the surrogate is trained on, [S, L, at most k]; 0 pads lists at their end."""
        return log

    def training_logs(self, log: QueryLog, n_items: int, seed: int) -> dict[Any, QueryLog]:
        """Return the training logs of `n_variants` candidates by the value of `variant_key`; by default one.

        Args:
            log: from `query`.
            n_items: size of the id space.
            seed: of draws.
        """
        return {None: self.training_log(log)}

    def genuine_k_of(self, variant: Any) -> int | None:
        """Return how many first items of the lists of a training log were served, before random ones; None: all."""
        return None

    def train_surrogate(
        self,
        log: QueryLog,
        n_items: int,
        items: Any = None,
        stage: str = "surrogate",
        seed: int | None = None,
        *,
        show_progress: bool = False,
    ) -> ExtractionTrainer:
        """Train a surrogate on a query log, and return its trainer.

        Of several candidates (`surrogate_model`, `training_logs`) it is the one with the highest agreement@10 with
        held-out lists as they were served; the first of equal ones. Losses of Eq. 4 on lists of different lengths are
        not comparable. Of `surrogate_ensemble` > 1 the others are trained like it from other seeds, with the same
        queries held out.

        Args:
            log: from `query`.
            n_items: size of the id space.
            items: dataset that item features come from, where `surrogate_knows_features` allows them.
            stage: names files and the progress bar.
            seed: of weights, order and negatives; None: that of the stage `surrogate`, from the config's.
            show_progress: whether to show a progress bar.
        """
        seed = stage_seed(self.config["seed"], "surrogate") if seed is None else seed
        logs = self.training_logs(log.copy(), n_items, seed)  # agreement is measured with the lists as served
        for made in logs.values():
            checked(made, f"{type(self).__name__}.training_log", n_items)
        train = functools.partial(self._train_one, n_items=n_items, items=items, seed=seed, show_progress=show_progress)
        candidates = self._candidates(logs, stage)
        if self.n_surrogates == 1:
            [candidate] = candidates
            return train(candidate)
        trainers = {candidate.name: train(candidate) for candidate in candidates}
        selected = self._select(candidates, trainers, log)
        best = trainers[selected.name]
        others = [train(selected.member(number)) for number in range(1, self.ensemble_size)]
        # an interrupted run resumes with the candidates that are trained, so their files stay until its end
        unneeded = set() if selected.folder else {one.saved_model_file for one in (*trainers.values(), *others)}
        best.saved_model_file = processes.by_first(lambda: write_selected([best, *others], stage, unneeded))
        if others:
            best.lead(others, selected.log)
        return best

    def _candidates(self, logs: dict[Any, QueryLog], stage: str) -> list[Candidate]:
        """Return the surrogates to train: each architecture on each training log."""
        models = surrogates_by_name(self.config)
        alone, resumed = self.n_surrogates == 1, self.config["resume_dir"]
        candidates = []
        for (model, kind), (variant, log) in itertools.product(models.items(), logs.items()):
            chosen = {"surrogate_model": model} if len(models) > 1 else {}
            chosen |= {self.variant_key: variant} if self.n_variants > 1 else {}
            own_stage = "-".join([stage, *map(str, chosen.values() or ["0"])]).replace(":", ".")
            candidates.append(
                Candidate(
                    model=kind,
                    log=log,
                    genuine_k=self.genuine_k_of(variant),
                    hyperparameters=chosen,
                    stage=stage if alone else own_stage,
                    folder=Path(resumed) / "candidates" if resumed and not alone else None,
                )
            )
        return candidates

    def _train_one(
        self, candidate: Candidate, *, n_items: int, items: Any, seed: int, show_progress: bool
    ) -> ExtractionTrainer:
        """Train a candidate, and return its trainer; arguments as of `train_surrogate`."""
        own_seed = seed + candidate.number
        init_seed(own_seed % SEEDS, self.config["reproducibility"])
        surrogate, config = create_surrogate(self.config, n_items, items, candidate.model)
        config["seed"] = seed  # which holds out the same queries for all
        trainer = self.trainer(config, surrogate, candidate.stage)
        trainer.genuine_k = candidate.genuine_k
        if candidate.folder:
            make_folder(candidate.folder, "surrogate")
            trainer.saved_model_file = str(candidate.folder / f"{candidate.stage}.pth")
        train, held_out = trainer.loaders(candidate.log)
        if candidate.number:
            trainer.generator.manual_seed(own_seed)
            train.generator = torch.Generator().manual_seed(own_seed)
        trainer.fit(train, held_out, show_progress=show_progress)
        trainer.load_saved()
        return trainer

    def _select(self, candidates: list[Candidate], trainers: dict[str, ExtractionTrainer], log: QueryLog) -> Candidate:
        """Return the candidate that agrees best with held-out lists of the query log, and report it in `selected`."""
        if not candidates[0].hyperparameters:
            return candidates[0]
        agreement = processes.by_first(lambda: held_out_agreement(trainers, log))
        best = max(candidates, key=lambda candidate: agreement[candidate.name])
        rounded = {name: round(share, 4) for name, share in agreement.items()}
        self.selected = {**best.hyperparameters, agreement_name(log): rounded}
        return best


_attackers: Registry[type[Attacker]] = Registry("attacker", Attacker)
register_attacker = _attackers.register


def create_attacker(name: str, config: ConfigLike) -> Attacker:
    """Return the attacker of that name.

    Args:
        name: as registered; a query strategy and a length of sequences may follow and take precedence, as in
            head+mixed or standard+mixed+10, whose sequences of 10 items are so many that the budget stays the same.
        config: the target's config.

    Raises:
        UserError: no such attacker, or settings that it cannot work with.
    """
    attacker, *own = name.split("+")
    if attacker == STRONGEST:
        raise UserError(
            f"attacker: {name}: {STRONGEST} is the best of attacker_suite; it has no suffix and is no part of the suite"
        )
    if attacker not in _attackers and is_query_strategy(attacker):
        raise UserError(f"attacker: {attacker} is a query strategy; use standard+{attacker}")
    changes: dict[str, Any] = {}
    if own and own[-1].isdecimal():
        length, budget = int(own.pop()), query_budget(config)
        if not 1 <= length <= budget // 2:
            raise UserError(f"attacker: {name}: sequences have 1 to {budget // 2} items, half the budget of lists")
        changes = {"query_length": length, "query_sequences": budget // length}
    if own:
        if made := _attackers[attacker].sequence_source:
            raise UserError(
                f"attacker: {name}: {attacker} takes no query strategy, its sequences are {made}; leave it out"
            )
        changes["query_strategy"] = "+".join(own)
    return _attackers[attacker](with_settings(config, **changes) if changes else config)


def attacks_of(config: ConfigLike) -> list[str]:
    """Return the names of a config's attacks; `strongest` stands for those of `attacker_suite`."""
    declared = AttackSettings.of(config)
    suite, names = as_names(declared.attacker_suite), as_names(declared.attacker)
    return list(dict.fromkeys(attack for name in names for attack in (suite if name == STRONGEST else [name])))


@register_attacker("standard")
class StandardAttacker(Attacker):
    """The paper's attacker: queries each prefix of `query_strategy`'s sequences once and trains on whole lists."""

    settings = ()
