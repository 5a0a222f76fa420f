"""The service behind the HTTP routes: a recommender, its ledger, and the answer to a batch of queries."""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Sequence

import torch

from recbole_gro.config.files import value_of
from recbole_gro.config.models import sequential_model
from recbole_gro.config.own_modules import is_own
from recbole_gro.config.plugins import import_plugins
from recbole_gro.config.settings import declared_keys
from recbole_gro.config.values import as_names
from recbole_gro.defense import Defense, create_defense
from recbole_gro.defense.base import defenses
from recbole_gro.defense.combined import JOIN, trains
from recbole_gro.defense.defense_key import defense_key
from recbole_gro.defense.keyed_randomness import KeyedDraws
from recbole_gro.defense.settings import KeyedSettings, RandomSettings
from recbole_gro.detection.calibration import CalibratedDetector
from recbole_gro.detection.traces import Tracer
from recbole_gro.http_service.batching import Outcome
from recbole_gro.http_service.detect import calibrate, detection_settings
from recbole_gro.http_service.guard import ON_ALARM, Guard
from recbole_gro.http_service.ledger import Admitted, Entry, Ledger
from recbole_gro.http_service.open_file import check_same
from recbole_gro.http_service.options import Options
from recbole_gro.http_service.recommender import Recommender
from recbole_gro.http_service.refusal import HttpRefusal
from recbole_gro.serving.catalogue import Catalogue
from recbole_gro.serving.saved_target import SavedTarget, load_target
from recbole_gro.serving.settings import ServiceSettings
from recbole_gro.utils.errors import UserError

logger = logging.getLogger("recbole_gro.http_service")
NOT_GIVEN_BACK = "%d lists of the API keys with ids %s are not given back: %r"
DRAWN_PER_QUERY = {"defense_key": "secret", "random_keyed": True}  # a repeated query must not get a second draw


class DefendedService:
    """Answer batches of queries from a checkpoint through a defense, counted and logged.

    Args:
        options: of the service.
        detector_file: the detector with its thresholds, as another process of the service saved it; None: computed.
        ledger: identity of the ledger that another process of the service has open; None: it may be a new one.

    Attributes:
        detector: the one of the service, with its thresholds; None without `options.detector`.

    Raises:
        UserError: the checkpoint, defense, a setting or the ledger is invalid.
    """

    def __init__(self, options: Options, detector_file: str | None = None, ledger: tuple[int, int] | None = None):
        check_same(options.ledger_file, ledger)
        torch.set_num_threads(options.threads)
        import_plugins({"plugins": options.plugins})
        model = sequential_model(options.model) if options.model else None
        target = load_target(options.checkpoint, model, device=options.device)
        defense = output_defense(target, options)
        self.recommender = Recommender(target, defense)
        heads = [f", {part.name}: head_k {part.head_k}" for part in defense.parts if hasattr(part, "head_k")]
        self.lists = f"lists of {target.config['served_k']} items{''.join(heads)}"
        catalogue = Catalogue.of(self.recommender.tokens[1:])
        if os.path.exists(options.ledger_file):  # before a detector is calibrated, which takes minutes
            with contextlib.closing(Ledger(options.ledger_file)) as found:
                found.check_catalogue(catalogue)
        judge = calibrated_detector(target, options, detector_file) if options.detector else None
        draws = KeyedDraws(target.config, "alarm")
        self.recommender.check()
        if judge and options.on_alarm == "decoy":
            defense_key(target.config)  # the draws read it at the first alarm
        check_same(options.ledger_file, ledger)  # here, so that none is made in the place of one that was moved
        self.ledger = Ledger(options.ledger_file)  # last, so that invalid input leaves no file and binds none
        self.ledger.bind(catalogue)
        self._owed: list[tuple[list[Admitted], int]] = []  # queries whose lists are to be given back, and status
        self.on_alarm = options.on_alarm
        self.guard = self.detector = None
        if judge:
            self.detector, tracer, rate = judge
            # seeding takes longer than some detectors do, and those of this package draw nothing
            seed = target.config["seed"] if is_own(type(self.detector.detectors[0]).__module__) else None
            self.guard = Guard(self.detector, tracer, options.ledger_file, rate, draws, seed=seed)

    def close(self) -> None:
        """Close the ledger, once the lists that are owed are given back; the log says which are not."""
        error = self._settle()
        for queries, _ in self._owed:
            logger.error(NOT_GIVEN_BACK, *_amount(queries), error)
        self.ledger.close()
        if self.guard:
            self.guard.close()

    def respond(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Return the lists of item ids of each query, or why it gets none; those that fail here are not counted.

        Raises:
            sqlite3.Error: the ledger cannot be used; nothing is counted.
        """
        error = self._settle()
        if error and _is_locked(error):
            raise error  # to wait for the lock once more would take as long again
        admitted = self.ledger.admit(entries)
        outcomes: list[Outcome] = [entry if isinstance(entry, HttpRefusal) else [] for entry in admitted]
        for k in {entry.k for entry in entries}:
            places = [
                place
                for place, entry in enumerate(entries)
                if entry.k == k and not isinstance(admitted[place], HttpRefusal)
            ]
            if places:
                self._fill(outcomes, [entries[place] for place in places], places, admitted)
        return outcomes

    def _fill(self, outcomes: list[Outcome], entries: list[Entry], places: list[int], admitted: list) -> None:
        histories = [history for entry in entries for history in entry.histories]
        keys = [entry.key for entry in entries for _ in entry.histories]
        try:
            alarms = self.guard.alarms(histories, keys) if self.guard else [False] * len(histories)
            lists = iter(self._lists(histories, alarms, entries[0].k))
        except BaseException as error:  # whatever failed, its lists are given back; the next batch is served
            of_ledger = isinstance(error, sqlite3.Error)
            if not of_ledger:
                logger.exception("a batch of %d histories failed", len(histories))
            self._give_back([admitted[place] for place in places], 503 if of_ledger else 500)
            for place in places:
                outcomes[place] = error if isinstance(error, sqlite3.Error) else HttpRefusal(500, "internal error")
            return
        judged = iter(alarms)
        for place, entry in zip(places, entries, strict=True):
            outcomes[place] = [next(lists) for _ in entry.histories]
            alarm = any([next(judged) for _ in entry.histories])  # all of them are taken from `judged`
            if alarm and self.on_alarm == "refuse":
                self._give_back([admitted[place]], 429)
                outcomes[place] = HttpRefusal(429, "these requests are not like those of users of this service")

    def _give_back(self, queries: list[Admitted], status: int) -> None:
        """Give the lists of admitted queries back, now or as soon as the ledger can be used."""
        self._owed.append((queries, status))
        if error := self._settle():
            logger.error("ledger: %s cannot be used: %s; lists are given back later", self.ledger.file, error)

    def _settle(self) -> sqlite3.Error | None:
        """Give back what is owed, and return why some of it is still owed; what fails here fails no query."""
        owed, self._owed, reason = self._owed, [], None
        for queries, status in owed:
            if reason and _is_locked(reason):  # each would wait for the lock as long again
                self._owed.append((queries, status))
                continue
            try:
                self.ledger.withdraw(queries, status)
            except sqlite3.Error as error:
                reason = error
                self._owed.append((queries, status))
            except Exception as error:  # a fault of the service, which would fail alike each time
                logger.exception(NOT_GIVEN_BACK, *_amount(queries), error)
        return reason

    def _lists(self, histories: list[list[int]], alarms: list[bool], k: int) -> list[list[int]]:
        """Return the list of each history; random items for flagged ones where `on_alarm` says so."""
        decoyed = [place for place, alarm in enumerate(alarms) if alarm and self.on_alarm != "log"]
        lists: list[list[int]] = [[]] * len(histories)
        if kept := sorted({*range(len(histories))} - {*decoyed}):
            answered = self.recommender.answer([histories[at] for at in kept], k)
            for at, row in zip(kept, answered, strict=True):
                lists[at] = row
        if self.guard and decoyed and self.on_alarm == "decoy":
            decoys = self.guard.decoys([histories[at] for at in decoyed], k)
            for at, row in zip(decoyed, decoys, strict=True):
                lists[at] = row[: self.recommender.longest_list]  # as long as the others, which a defense may cut
        return lists


def _is_locked(error: sqlite3.Error) -> bool:
    """Return whether another process locked the ledger for as long as a transaction waits."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _amount(queries: Sequence[Admitted]) -> tuple[int, list[int]]:
    """Return the number of lists of some queries, and the ids of their API keys."""
    return sum(query.lists for query in queries), sorted({query.key for query in queries})


def calibrated_detector(
    target: SavedTarget, options: Options, file: str | None = None
) -> tuple[CalibratedDetector, Tracer, float]:
    """Return the detector of a service with its thresholds, the tracer of the model, and the rate of false positives.

    Args:
        target: the served model.
        options: of the service.
        file: as `DefendedService` takes it.

    Raises:
        UserError: an unknown detector or reaction, or benign users that give no thresholds.
    """
    if options.on_alarm not in ON_ALARM:
        raise UserError(f"on_alarm: {options.on_alarm!r} is none of {', '.join(ON_ALARM)}")
    rate = options.false_positive_rate
    if rate is None:  # whatever the run of the checkpoint had
        rate = declared_keys()["false_positive_rate"].default
    own = detection_settings(target, {"detector": options.detector, "false_positive_rate": rate})
    if len(as_names(own.detector)) != 1:
        raise UserError(f"detector: {options.detector} are several; a service has one")
    tracer = Tracer(target.model, ServiceSettings.of(target.config).served_k)
    if file and os.path.exists(file):  # of this service, in a folder that its user alone can enter, unless cleaned
        return torch.load(file, weights_only=False), tracer, rate
    [detector] = calibrate(target, tracer, options.benign, own).values()
    return detector, tracer, rate


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
    if own.issuperset(RandomSettings.names):  # which draws by a key then
        own.update(KeyedSettings.names)
    for name in options.settings:
        if name not in own | {"served_k"}:
            raise UserError(
                f"{name}: no setting of serve with --defense={options.defense}, which reads "
                f"{', '.join(sorted(own | {'served_k'}))}"
            )
    for name, value in {**DRAWN_PER_QUERY, **options.settings}.items():
        read = value_of(name, value) if isinstance(value, str) else value
        declared_keys()[name].check(read)
        target.config[name] = read
    target.config["output_dir"] = os.path.dirname(options.checkpoint) or "."  # where a secret key is kept
    return create_defense(options.defense, target.config)
