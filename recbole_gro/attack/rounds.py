"""An attack in rounds: each extends the query sequences whose lists the surrogate of the round before misses."""

from typing import Any

import torch
from recbole.utils import init_seed
from torch import Generator, Tensor

from recbole_gro.attack.attacker import Attacker, query_budget, query_length, register_attacker
from recbole_gro.attack.black_box import ListSource
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.attack.query_strategies import QueryStrategy, never_empty
from recbole_gro.attack.selection import agreement_by_sequence
from recbole_gro.attack.settings import AveragingSettings, MixedSettings, RoundsSettings, SurrogateSettings
from recbole_gro.attack.surrogate_model import create_surrogate
from recbole_gro.config.config import with_settings
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.loss_settings import ExtractionLossSettings
from recbole_gro.config.settings import setting
from recbole_gro.utils.compat import no_tensorboard
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.progress import progress_bar
from recbole_gro.utils.random_state import stage_seed


@register_attacker("rounds")
class RoundsAttacker(Attacker):
    """Query in `attacker_rounds` rounds of equal budget, and train a surrogate on the log after each.

    A round extends the sequences with the lowest agreement@10 of surrogate and service on their last queries; those
    whose agreement is `attacker_reproduced` or more are not extended, and new sequences take their share of the budget.
    The next item is drawn from the list with weight r^-`query_rank_decay` / log(e + n), r its rank and n how often it
    was drawn so far. `query_strategy` decides which items do not come from the list: first items and the random ones of
    `mixed`, which take the place of a drawn one and do not count in n. The last surrogate is trained on the
    whole log, as by the other attackers; those before it are used as their last epoch leaves them.

    Source: BECOME (CIKM'25, doi 10.1145/3746252.3761032).

    Raises:
        UserError: a query strategy that does not leave the draw of listed items to the attacker, such as `mimic`, or
            sends queries in an order of its own, such as `crawl`.
    """

    settings = (RoundsSettings, MixedSettings, SurrogateSettings, AveragingSettings, ExtractionLossSettings)

    def __init__(self, config: ConfigLike):
        super().__init__(config)
        self.own = RoundsSettings.of(config)
        if not self.strategy.lets_attacker_draw:
            name = self.strategy_name
            raise UserError(f"attacker: rounds draws listed items in its own way, {name} in another; take one of them")
        if type(self.strategy).query is not QueryStrategy.query:
            name = self.strategy_name
            raise UserError(f"attacker: rounds sends queries in its own order, {name} in another; take one of them")
        length = query_length(config)
        # all sequences have a multiple of it, so that a surrogate reads as many prefixes of each at once
        self.step = max(1, length // self.own.attacker_rounds)
        self.rounds = min(self.own.attacker_rounds, length, query_budget(config) // self.step)
        # after each round but the last, on what was queried by then
        self.query_trainings = (self.rounds - 1) / 2
        fewer = f" (of {self.own.attacker_rounds}; no more fit into its sequences and budget)"
        in_rounds = f"{self.rounds} rounds{fewer if self.rounds < self.own.attacker_rounds else ''}"
        self.summary = f"queries in {in_rounds} and extends sequences that the surrogate does not reproduce"

    def query(
        self, black_box: ListSource, generator: Generator, auxiliary: Tensor | None = None, show_progress: bool = False
    ) -> QueryLog:
        length, drawn = query_length(self.config), torch.zeros(black_box.n_items)
        rank_decay = setting(self.config, "query_rank_decay")

        def draw(served: Tensor, generator: Generator, _: float = 0.0) -> Tensor:
            items = draw_by_frequency(served, drawn, rank_decay, generator)  # whatever decay the strategy has
            drawn.index_add_(0, items, torch.ones(len(items)))
            return items

        self.strategy.draw = draw
        chunks = query_budget(self.config) // self.step  # a chunk is `step` queries that extend one sequence
        log = QueryLog(torch.zeros(0, length, dtype=torch.long), torch.zeros(0, length, black_box.k, dtype=torch.int32))
        with progress_bar("rounds of queries", self.rounds, "rounds", show_progress) as bar:
            for number in range(self.rounds):
                share = chunks // self.rounds + (number < chunks % self.rounds)
                extended = self._to_extend(log, share, black_box.n_items, number) if number else torch.empty(0).long()
                log = self._round(black_box, log, extended, share - len(extended), generator)
                bar.update()
        return log

    def _to_extend(self, log: QueryLog, most: int, n_items: int, number: int) -> Tensor:
        """Return the sequences [at most `most`] that a surrogate reproduces least, the least reproduced first."""
        agreement = agreement_by_sequence(self._surrogate(log, n_items, number), log, self.step)
        rounded = agreement.double().round(decimals=6)  # a mean of shares such as 0.8, but for its last digits
        open_ = (log.lengths < log.sequences.shape[1]) & (rounded < self.own.attacker_reproduced)
        return agreement.masked_fill(~open_, 2.0).argsort(stable=True)[: min(most, int(open_.sum()))]

    def _surrogate(self, log: QueryLog, n_items: int, number: int) -> Any:
        config, seed = with_settings(self.config), stage_seed(self.config["seed"], f"round {number}")
        config["output_dir"] = config["resume_dir"] = None
        init_seed(seed, config["reproducibility"])
        surrogate, derived = create_surrogate(config, n_items)
        derived["seed"] = seed
        with no_tensorboard():
            trainer = self.trainer(derived, surrogate, f"round {number}")
            trainer.fit(*trainer.loaders(log), verbose=False, saved=False)
        return trainer.model.eval()

    def _round(
        self, black_box: ListSource, log: QueryLog, extended: Tensor, n_new: int, generator: Generator
    ) -> QueryLog:
        """Return the log with some sequences extended by a chunk, and with new sequences of one chunk."""
        sequences, lists = log.sequences.clone(), log.lists.clone()
        for length in log.lengths[extended].unique().tolist():
            rows = extended[log.lengths[extended] == length]
            prefixes = torch.cat([sequences[rows, :length], torch.zeros(len(rows), self.step, dtype=torch.long)], 1)
            served = never_empty(lists[rows, length - 1].long(), black_box.n_items, generator)
            first = self.strategy.chosen_next(served, sequences[rows, :length], black_box.n_items, generator)
            prefixes[:, length] = first
            part = self.strategy.extend(black_box, prefixes, generator, queried=length)
            sequences[rows, : length + self.step] = part.sequences
            lists[rows, length : length + self.step] = part.lists[:, length:]
        if n_new:
            prefixes = self.strategy.chosen_prefixes(black_box.n_items, n_new, self.step, generator)
            new = self.strategy.extend(black_box, prefixes, generator)
            width = sequences.shape[1] - self.step
            sequences = torch.cat([sequences, torch.nn.functional.pad(new.sequences, (0, width))])
            lists = torch.cat([lists, torch.nn.functional.pad(new.lists, (0, 0, 0, width))])
        return QueryLog(sequences, lists)


def draw_by_frequency(served: Tensor, drawn: Tensor, decay: float, generator: Generator) -> Tensor:
    """Draw an item [S] of each list with weight rank^-decay / log(e + n); 0, which pads lists, is never drawn.

    Args:
        served: [S, k] item ids, best first.
        drawn: [n_items] how often each item was drawn before, n.
        decay: exponent of the rank.
        generator: source of the draws.
    """
    rank = torch.arange(1, served.shape[1] + 1, dtype=torch.double)
    weights = rank.pow(-decay) / (torch.e + drawn[served]).log() * (served != 0)
    return served.gather(1, torch.multinomial(weights, 1, generator=generator)).squeeze(1)
