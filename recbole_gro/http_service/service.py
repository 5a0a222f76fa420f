"""The service behind the HTTP routes: a recommender, its ledger, and the answer to a batch of queries."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from recbole_gro.config.files import value_of
from recbole_gro.config.models import sequential_model
from recbole_gro.config.settings import declared_keys
from recbole_gro.defense import Defense, create_defense
from recbole_gro.defense.base import defenses
from recbole_gro.defense.combined import JOIN, trains
from recbole_gro.http_service.batching import Outcome
from recbole_gro.http_service.ledger import Entry, Ledger
from recbole_gro.http_service.query import Limits
from recbole_gro.http_service.recommender import Recommender
from recbole_gro.http_service.refusal import Refusal
from recbole_gro.serving.saved_target import SavedTarget, load_target
from recbole_gro.utils.errors import UserError

logger = logging.getLogger("recbole_gro.http_service")
DRAWN_PER_QUERY = {"defense_key": "secret", "random_keyed": True}  # a repeated query must not get a second draw


@dataclass(frozen=True)
class Options:
    """Hold what a process of the service is made of.

    Attributes:
        checkpoint: a target of a run.
        defense: of the list; names joined by +.
        settings: of the defense, and `served_k`; values may be texts.
        ledger: SQLite file; None: service.db beside the checkpoint.
        model: class of a model outside RecBole, as module:Class.
        device: to serve on; None: as `load_target`.
        catalogue: whether clients can list the items.
        limits: of a request; its k becomes `served_k`.
        batch: most histories of a batch.
        wait: seconds that a query waits for others at most.
        threads: of torch per process.
    """

    checkpoint: str
    defense: str = "none"
    settings: Mapping[str, object] = field(default_factory=dict)
    ledger: str | None = None
    model: str | None = None
    device: str | None = None
    catalogue: bool = False
    limits: Limits = field(default_factory=Limits)
    batch: int = 64
    wait: float = 0.002
    threads: int = 1

    @property
    def ledger_file(self) -> str:
        """File of the ledger."""
        return self.ledger or str(Path(self.checkpoint).parent / "service.db")


class DefendedService:
    """Answer batches of queries from a checkpoint through a defense, counted and logged.

    Args:
        options: of the service.

    Raises:
        UserError: the checkpoint, defense, a setting or the ledger is invalid.
    """

    def __init__(self, options: Options):
        torch.set_num_threads(options.threads)
        model = sequential_model(options.model) if options.model else None
        target = load_target(options.checkpoint, model, device=options.device)
        defense = output_defense(target, options)
        self.recommender = Recommender(target, defense)
        self.ledger = Ledger(options.ledger_file)

    def respond(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Return the lists of item ids of each query, or why it gets none; those that fail here are not counted."""
        admitted = self.ledger.admit(entries)
        outcomes: list[Outcome] = [entry if isinstance(entry, Refusal) else [] for entry in admitted]
        for k in {entry.k for entry in entries}:
            places = [
                place
                for place, entry in enumerate(entries)
                if entry.k == k and not isinstance(admitted[place], Refusal)
            ]
            if places:
                self._fill(outcomes, [entries[place] for place in places], places, admitted)
        return outcomes

    def _fill(self, outcomes: list[Outcome], entries: list[Entry], places: list[int], admitted: list) -> None:
        histories = [history for entry in entries for history in entry.histories]
        keys = [entry.key for entry in entries for _ in entry.histories]
        try:
            lists = iter(self.recommender.answer(histories, keys, entries[0].k))
        except Exception:  # whatever failed, its lists are given back, and the next batch is served
            logger.exception("a batch of %d histories failed", len(histories))
            self.ledger.withdraw([admitted[place] for place in places])
            for place in places:
                outcomes[place] = Refusal(500, "internal error")
            return
        for place, entry in zip(places, entries, strict=True):
            outcomes[place] = [next(lists) for _ in entry.histories]


def output_defense(target: SavedTarget, options: Options) -> Defense:
    """Return the defense of a service, with settings of its own and, for keyed draws, a secret key.

    Raises:
        UserError: it trains, or a setting is none of this defense's.
    """
    parts = [defenses[name] for name in options.defense.split(JOIN) if name]
    if training := [name for name in options.defense.split(JOIN) if name and trains(defenses[name])]:
        rest = JOIN.join(name for name in options.defense.split(JOIN) if name not in training) or "none"
        raise UserError(
            f"defense: {training[0]} trains a model; serve the checkpoint that it made, such as "
            f"target-{training[0]}.pth, with --defense={rest}"
        )
    own = {name for part in parts for settings in part.output_settings or () for name in settings.names}
    for name, value in {**DRAWN_PER_QUERY, **options.settings}.items():
        if name not in own | {"served_k"} | DRAWN_PER_QUERY.keys():
            raise UserError(
                f"{name}: no setting of {options.defense}; it reads {', '.join(sorted(own | {'served_k'}))}"
            )
        read = value_of(name, value) if isinstance(value, str) else value
        declared_keys()[name].check(read)
        target.config[name] = read
    target.config["output_dir"] = os.path.dirname(options.checkpoint) or "."  # where a secret key is kept
    return create_defense(options.defense, target.config)
