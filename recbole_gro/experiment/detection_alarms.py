"""A service that gives lists of random items after an alarm: what it costs users, and what an attack gets from it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_gro.attack import BlackBox, query_budget
from recbole_gro.attack.query_log import QueryLog, checked
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.values import as_names
from recbole_gro.defense.combined import restore_state, saved_state
from recbole_gro.defense.keyed_randomness import KeyedDraws
from recbole_gro.detection.looks import LOOKS, NOT_REACHED
from recbole_gro.detection.settings import DetectionSettings
from recbole_gro.evaluator.ranks import hits, ndcg, ranks
from recbole_gro.experiment.detection import ProviderUnderTest, settings_read
from recbole_gro.experiment.detection_names import target_and_attack
from recbole_gro.experiment.plan import Experiment, in_words
from recbole_gro.experiment.report import missing_cells, settings_blocks, unfinished
from recbole_gro.experiment.statistics import spread
from recbole_gro.http_service.guard import Found, Guard
from recbole_gro.quick_start.comparison import measure_references
from recbole_gro.quick_start.seeding import start_stage
from recbole_gro.quick_start.stage_fingerprints import Fingerprints, fingerprint
from recbole_gro.quick_start.stages import Stages
from recbole_gro.report.document import Block, Heading, Table, csv_text, write_document
from recbole_gro.report.run_report import label
from recbole_gro.serving.service import Service
from recbole_gro.utils.errors import UserError

UNGUARDED, BY_HISTORY, BY_KEY = "none", "history", "key"  # what gets decoys
AT = 10  # of surrogates
OF_USERS = {f"{name}@{k}": (metric, k) for name, metric in (("hit", hits), ("ndcg", ndcg)) for k in (AT, 20)}
SURROGATE_MEASURES = (f"ndcg@{AT}", f"agreement@{AT}")  # of a surrogate


@dataclass(kw_only=True)
class AlarmFigure:
    """One figure of a cell.

    Attributes:
        values: the varied keys.
        seed: of the cell.
        decoys: what gets decoys: `none`, each flagged `history`, or the flagged `key` too.
        of: `surrogate`, a reference, or `users`.
        measure: its name.
        value: a share; a number for `users`, `flagged` and `true_lists`, those that were no decoys.
    """

    values: dict[str, Any]
    seed: int
    decoys: str
    of: str
    measure: str
    value: float


class QueryGuard(Guard):
    """A guard in memory that judges the histories of a query together, and none once the key is flagged."""

    def _judged(self, histories: Sequence[list[int]], keys: Sequence[int]) -> list[Found]:
        if self._database.execute("SELECT 1 FROM suspicion WHERE key = ? AND alarm", (keys[0],)).fetchone():
            return [Found(True, [NOT_REACHED] * len(LOOKS))] * len(histories)
        return self._found(histories)

    def _warn(self, key: int, what: str) -> None:
        pass  # the report has what a log would


class GuardedService(Service):
    """Answer as `recbole-gro serve --on_alarm=decoy` does.

    Args:
        provider: the service, and the detector that judges its queries.
        config: of the cell.
        decoys: `history`, where each query comes from an account of its own, or `key`, where all come from one.

    Attributes:
        true_lists: number of lists so far that were no decoys.
    """

    def __init__(self, provider: ProviderUnderTest, config: ConfigLike, decoys: str):
        super().__init__(provider.service.model, provider.service.k, provider.service.output)
        self.one_key = decoys == BY_KEY
        [detector] = provider.detectors.values()
        self.guard = QueryGuard(detector, provider.tracer, ":memory:", provider.rate, KeyedDraws(config, "alarm"))
        self.answered = self.true_lists = 0

    def recommend(self, sequences: Any) -> Tensor:
        """Return lists [B, k], as of `Service`; random items for flagged histories and keys."""
        lists = super().recommend(sequences).cpu()
        padded, lengths = self.histories(sequences)
        histories = [row[:length] for row, length in zip(padded.tolist(), lengths.tolist(), strict=True)]
        first = self.answered * (not self.one_key)
        keys = [first + place * (not self.one_key) for place in range(len(histories))]
        flagged = [place for place, alarm in enumerate(self.guard.alarms(histories, keys)) if alarm]
        if flagged:
            lists[flagged] = torch.tensor(self.guard.decoys([histories[place] for place in flagged], self.k))
        self.answered += len(lists)
        self.true_lists += len(lists) - len(flagged)
        return lists


def guarded_variant(config: ConfigLike, decoys: str) -> dict[str, str]:
    """Return the variant of the fingerprints of an attack on the guarded service, as `Fingerprints` takes it.

    Args:
        config: of the cell.
        decoys: what gets decoys.
    """
    unguarded = Fingerprints(config, config["defense"][0]).queries
    return {"queries": fingerprint("guarded", unguarded, decoys=decoys, settings=settings_read(config))}


def check_alarms(config: ConfigLike) -> None:
    """Check that a config names one detector, as a service has, and measures what a report shows on whole lists.

    Raises:
        UserError: it names several, sets `exclude_seen`, or leaves out a figure of the report.
    """
    if AT not in config["topk"] or "ndcg" not in map(str.lower, config["metrics"]):
        raise UserError(f"topk, metrics: alarms reports NDCG@{AT} of surrogates; add {AT} to topk and NDCG to metrics")
    if config["exclude_seen"]:
        raise UserError("exclude_seen: the experiment alarms measures lists as they are served; leave it out")
    names = as_names(DetectionSettings.of(config).detector)
    if len(names) != 1:
        raise UserError(f"detector: {', '.join(names)} are several; a service has one, such as transitions")


def measure_alarms(
    provider: ProviderUnderTest, config: ConfigLike, values: dict[str, Any], seed: int
) -> Iterator[AlarmFigure]:
    """Yield the figures of a cell: surrogates by what gets decoys, the references, and the users.

    Args:
        provider: of the cell's target.
        config: of the cell.
        values: of the varied keys.
        seed: of the cell.
    """

    def figures(decoys: str, of: str, found: dict[str, Any]) -> Iterator[AlarmFigure]:
        for measure, value in found.items():
            yield AlarmFigure(values=values, seed=seed, decoys=decoys, of=of, measure=measure, value=float(value))

    _, served = provider.stages.evaluation(provider.service)
    state = saved_state(provider.defense)  # each attack meets the same service
    start_stage(config, "detection of users")
    for decoys, by_users in users_served(provider, config).items():
        yield from figures(decoys, "users", by_users)
    for decoys in (UNGUARDED, BY_HISTORY, BY_KEY):
        restore_state(provider.defense, state)
        if decoys == UNGUARDED:
            stages = provider.stages_of(config)
            log, facts = stages.queries(provider.service, in_words(values))
            true_lists = facts["lists_returned"]
        else:
            stages = provider.stages_of(config, guarded_variant(config, decoys))
            log, true_lists = guarded_queries(provider, stages, decoys)
        model, _ = stages.surrogate(log, f"{in_words(values)}, decoys {decoys}")
        metrics, _ = stages.surrogate_evaluation(model, served)
        yield from figures(decoys, "surrogate", {**metrics["test"], "true_lists": true_lists})
    for reference in measure_references(config, provider.loaders, provider.cache)[0]:
        measured = reference.row.get("surrogate") or reference.row["target"]  # the latter of a service
        yield from figures(UNGUARDED, reference.row["defense"], measured["test"])


def guarded_queries(provider: ProviderUnderTest, stages: Stages, decoys: str) -> tuple[QueryLog, int]:
    """Return the query log of an attack on the guarded service, and the number of its lists that are no decoys."""
    prints, config = stages.prints, stages.config

    def make(_: Path) -> dict[str, Any]:
        service = GuardedService(provider, config, decoys)
        auxiliary = stages.auxiliary_data()
        generator = torch.Generator().manual_seed(start_stage(config, "queries"))
        box = BlackBox(service, budget=query_budget(config))
        log = prints.attacker.query(box, generator, auxiliary)
        log = checked(log, f"attacker: {prints.attack}", box.n_items, box.lists_returned)
        return {"sequences": log.sequences.int(), "lists": log.lists.int(), "true_lists": service.true_lists}

    stored = provider.cache.once("guarded", prints.queries, make)
    return QueryLog(stored["sequences"].long(), stored["lists"].long()), stored["true_lists"]


def users_served(provider: ProviderUnderTest, config: ConfigLike) -> dict[str, dict[str, float]]:
    """Return accuracy for the users who gave no threshold, flagged ones included, by what gets decoys."""
    histories, items = provider.users.items, provider.test_items
    guarded = GuardedService(provider, config, BY_HISTORY)
    lists = {UNGUARDED: provider.service.recommend(histories).cpu(), BY_HISTORY: guarded.recommend(histories)}
    found = {
        decoys: {
            name: metric(ranks(own, items), k).mean() for name, (metric, k) in OF_USERS.items() if k <= own.shape[1]
        }
        for decoys, own in lists.items()
    }
    found[BY_HISTORY] |= {"users": len(histories), "flagged": len(histories) - guarded.true_lists}
    return found


# by what gets decoys, whose figure it is, and measure; by seed
Figures = dict[tuple[str, str, str], dict[int, float]]


def write_alarms_report(
    experiment: Experiment, found: Sequence[AlarmFigure], folder: Path, missing: Sequence[str] = ()
) -> None:
    """Write report.md, report.html, and results.csv with one row per figure.

    Args:
        experiment: the plan.
        found: of all finished cells.
        folder: of the files.
        missing: descriptions of the other cells.
    """
    lines = [[*one.values.values(), one.seed, one.decoys, one.of, one.measure, round(one.value, 6)] for one in found]
    head = [*experiment.vary, "seed", "decoys", "of", "measure", "value"]
    by_attack: dict[tuple[str, str], Figures] = defaultdict(lambda: defaultdict(dict))
    for one in found:
        names = target_and_attack(experiment, one.values, one.seed)
        by_attack[names][one.decoys, one.of, one.measure][one.seed] = one.value
    n_done = len({(in_words(one.values), one.seed) for one in found})
    blocks = [
        *unfinished(missing, n_done), *alarm_blocks(by_attack), *settings_blocks(experiment), *missing_cells(missing)
    ]  # fmt: skip
    write_document(experiment.title, blocks, csv_text(head, lines), folder)


def alarm_blocks(found: dict[tuple[str, str], Figures]) -> Iterator[Block]:
    """Yield the tables of the report.

    Args:
        found: figures by target and attack.
    """

    def of_surrogate(own: Figures, decoys: str) -> str:
        ndcg_10, agreement = ([*own[decoys, "surrogate", measure].values()] for measure in SURROGATE_MEASURES)
        return f"{in_percent(ndcg_10)} ({100 * np.mean(agreement):.0f} %)"

    def mean(by_seed: dict[int, float]) -> float:
        return float(np.mean([*by_seed.values()]))

    yield Heading("What the attack gets")
    yield Table(
        "NDCG@10 of the surrogate, percent, mean and deviation over seeds; in brackets agreement@10 with the target. "
        "True lists: those that are no decoys, where all queries come from one API key.",
        ["target", "attack", "seeds", "no decoys", "for flagged histories", "for the flagged key too", "true lists"],
        [
            [*attack, f"{len(own[UNGUARDED, 'surrogate', SURROGATE_MEASURES[0]])}",
             *(of_surrogate(own, decoys) for decoys in (UNGUARDED, BY_HISTORY, BY_KEY)),
             f"{mean(own[BY_KEY, 'surrogate', 'true_lists']):,.0f}"]
            for attack, own in found.items()
        ],
        labels=2,
    )  # fmt: skip
    yield Heading("What users lose")
    users = _of_users(found)
    shown = [name for name in OF_USERS if any((UNGUARDED, "users", name) in own for own in users.values())]
    yield Table(
        "Users who gave no threshold, each with one history: how many, how many of them are flagged, and accuracy over "
        "all of them, percent, without decoys and with decoys for the flagged ones. Mean and deviation over seeds.",
        ["target", "seeds", "users", "flagged",
         *(f"{label(name)}{what}" for name in shown for what in ("", ", decoys"))],
        [
            [target, f"{len(own[BY_HISTORY, 'users', 'users'])}",
             *(f"{mean(own[BY_HISTORY, 'users', measure]):,.1f}" for measure in ("users", "flagged")),
             *(in_percent([*own[decoys, "users", name].values()])
               for name in shown for decoys in (UNGUARDED, BY_HISTORY))]
            for target, own in users.items()
        ],
    )  # fmt: skip


def _of_users(found: dict[tuple[str, str], Figures]) -> dict[str, Figures]:
    """Return the figures of the users of each target, once per seed: they are the same for every attack."""
    by_target: dict[str, Figures] = defaultdict(lambda: defaultdict(dict))
    for (target, _), own in found.items():
        for key, by_seed in own.items():
            if key[1] == "users":
                of_all = {**by_seed, **by_target[target][key]}
                by_target[target][key] = dict(sorted(of_all.items()))
    return by_target


def in_percent(values: Sequence[float]) -> str:
    """Return mean and deviation of shares, in percent; nothing of none, as of a cut-off beyond the lists.

    >>> in_percent([0.01, 0.03])
    '2.00 ± 1.41'
    """
    if not values:
        return ""
    mean, deviation, n = spread(values)
    return f"{100 * mean:.2f}" + (f" ± {100 * deviation:.2f}" if n > 1 else "")
