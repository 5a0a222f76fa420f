"""What an attacker is, and the table of them."""

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


def query_length(config) -> int:
    """Items of a query sequence."""
    return setting(config, "query_length") or config["MAX_ITEM_LIST_LENGTH"]


def query_budget(config) -> int:
    """Lists that an attacker may ask for, whoever he is: one for every prefix of every query sequence."""
    return setting(config, "query_sequences") * query_length(config)


class Attacker:
    """Asks a black box within the budget, then trains a copy on the answers: by default as the paper's attacker does.

    What he has is what his methods are given: a black box, the size of the catalogue, and no data, unless he says by
    `known_share` that he is to be handed some. The two methods may run in different processes, so `steal` goes by the
    log alone.

    Args:
        config: the target's config; `query_*`, `surrogate_*` and `attacker_*` are read from it.

    Attributes:
        settled: keys of his as they were in force, and why, where that is more than the config tells.
    """

    summary = "asks and learns as in the paper"  # what he does, in a few words, for the log
    # classes of settings that it reads besides queries and surrogate; None: not declared, so it may be any key
    settings: tuple[type[Settings], ...] | None = None
    known_share = 0.0  # share of the users whose training items he is handed; 0: he has no data
    times_asked = 1  # how often he asks each prefix of his log
    copies = 1  # how many surrogates he trains
    trainer: type[ExtractionTrainer] = ExtractionTrainer  # of a surrogate

    def __init__(self, config):
        self.config = config
        self.strategy = create_query_strategy(setting(config, "query_strategy"), config)
        self.settled: dict[str, Any] = {}
        self.candidates_folder: Path | None = None  # of copies that he only tries; None: where all checkpoints are

    @property
    def n_sequences(self) -> int:
        """Sequences that he can ask every prefix of, `times_asked` times each, for his budget."""
        return setting(self.config, "query_sequences") // self.times_asked

    def ask(
        self,
        black_box: ListSource,
        generator: torch.Generator,
        known: Tensor | None = None,
        show_progress: bool = False,
    ) -> QueryLog:
        """What he asked and made of the answers.

        Args:
            black_box: gives `query_budget` lists at least.
            generator: source of all his draws.
            known: [U, L] items of real users, most recent last, padded right with 0; None unless `known_share` says
                that he has them.
            show_progress: a bar.
        """
        return self.strategy(black_box, self.n_sequences, query_length(self.config), generator, show_progress)

    def learned(self, log: QueryLog) -> QueryLog:
        """What of the log he trains on, [S, L, at most k]; 0 pads shorter lists at their end."""
        return log

    def steal(
        self,
        log: QueryLog,
        n_items: int,
        items=None,
        stage: str = "surrogate",
        seed: int | None = None,
        show_progress: bool = False,
    ) -> ExtractionTrainer:
        """His copy, trained on a log of his, in its trainer.

        Args:
            log: from `ask`.
            n_items: size of the id space.
            items: the dataset that item features come from, where `surrogate_knows_features` lets him see them.
            stage: names files and the progress bar.
            seed: of weights, order and negatives; None: the config's.
            show_progress: a bar.
        """
        seed = self.config["seed"] if seed is None else seed
        init_seed(seed, self.config["reproducibility"])
        surrogate, surrogate_config = create_surrogate(self.config, n_items, items)
        surrogate_config["seed"] = seed
        trainer = self.trainer(surrogate_config, surrogate, stage)
        if self.candidates_folder:
            self.candidates_folder.mkdir(parents=True, exist_ok=True)
            trainer.saved_model_file = str(self.candidates_folder / f"{stage}.pth")
        trainer.fit(*trainer.loaders(self.learned(log)), show_progress=show_progress)
        trainer.load_saved()
        return trainer


_attackers: Registry[type[Attacker]] = Registry("attacker")
register_attacker = _attackers.register


def create_attacker(name: str, config) -> Attacker:
    """The attacker of that name.

    Args:
        name: as registered.
        config: the target's config.

    Raises:
        UserError: no such attacker, or settings that he cannot work with.
    """
    return _attackers[name](config)


@register_attacker("standard")
class StandardAttacker(Attacker):
    """The paper's: asks each prefix of `query_strategy`'s sequences once and learns from all that a list holds."""

    settings = ()
