"""The base class of attackers, their registry, and the paper's attacker."""

from pathlib import Path
from typing import Any

import torch
from recbole.utils import init_seed
from torch import Tensor

from recbole_gro.attack import settings  # noqa: F401  (declares the keys)
from recbole_gro.attack.black_box import ListSource
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.attack.query_strategies import create_query_strategy
from recbole_gro.attack.surrogate_model import create_surrogate
from recbole_gro.attack.surrogate_trainer import ExtractionTrainer
from recbole_gro.config.settings import Settings, setting
from recbole_gro.utils.registry import Registry


def query_length(config: Any) -> int:
    """Return how many items a query sequence has."""
    return setting(config, "query_length") or config["MAX_ITEM_LIST_LENGTH"]


def query_budget(config: Any) -> int:
    """Return the query budget in lists, the same for every attacker: one per prefix of every query sequence."""
    return setting(config, "query_sequences") * query_length(config)


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

    summary = "queries and trains as in the paper"  # its method in a few words, for the log
    # classes of settings that it reads besides queries and surrogate; None: not declared, so it may be any key
    settings: tuple[type[Settings], ...] | None = None
    auxiliary_share = 0.0  # share of the users whose training items are its auxiliary data; 0: none
    repeats = 1  # how often it queries each prefix of its log
    n_surrogates = 1  # how many surrogates it trains
    trainer: type[ExtractionTrainer] = ExtractionTrainer  # of a surrogate

    def __init__(self, config: Any):
        self.config = config
        self.strategy = create_query_strategy(setting(config, "query_strategy"), config)
        self.selected: dict[str, Any] = {}
        self.candidates_folder: Path | None = None  # of surrogates that are candidates only; None: with the others

    @property
    def n_sequences(self) -> int:
        """Sequences whose every prefix can be queried `repeats` times within the budget."""
        return setting(self.config, "query_sequences") // self.repeats

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
        return self.strategy(black_box, self.n_sequences, query_length(self.config), generator, show_progress)

    def training_log(self, log: QueryLog) -> QueryLog:
        """Return the part of a log that the surrogate is trained on, [S, L, at most k]; 0 pads lists at their end."""
        return log

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

        Args:
            log: from `query`.
            n_items: size of the id space.
            items: dataset that item features come from, where `surrogate_knows_features` allows them.
            stage: names files and the progress bar.
            seed: of weights, order and negatives; None: the config's.
            show_progress: whether to show a progress bar.
        """
        seed = self.config["seed"] if seed is None else seed
        init_seed(seed, self.config["reproducibility"])
        surrogate, surrogate_config = create_surrogate(self.config, n_items, items)
        surrogate_config["seed"] = seed
        trainer = self.trainer(surrogate_config, surrogate, stage)
        if self.candidates_folder:
            self.candidates_folder.mkdir(parents=True, exist_ok=True)
            trainer.saved_model_file = str(self.candidates_folder / f"{stage}.pth")
        trainer.fit(*trainer.loaders(self.training_log(log)), show_progress=show_progress)
        trainer.load_saved()
        return trainer


_attackers: Registry[type[Attacker]] = Registry("attacker")
register_attacker = _attackers.register


def create_attacker(name: str, config: Any) -> Attacker:
    """Return the attacker of that name.

    Args:
        name: as registered.
        config: the target's config.

    Raises:
        UserError: no such attacker, or settings that it cannot work with.
    """
    return _attackers[name](config)


@register_attacker("standard")
class StandardAttacker(Attacker):
    """The paper's attacker: queries each prefix of `query_strategy`'s sequences once and trains on whole lists."""

    settings = ()
