"""Detection of extraction as an experiment: every attack against every detector, real users on the other side."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.own_reads import undeclared_keys
from recbole_gro.config.plugins import sources_of
from recbole_gro.config.settings import Settings, fingerprint_inputs
from recbole_gro.config.values import as_names
from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.defense.combined import restore_state, saved_state
from recbole_gro.defense.defense_key import key_digest
from recbole_gro.detection import detectors
from recbole_gro.detection.api_keys import LEAST_UNUSUAL, SHARES
from recbole_gro.detection.benign import BENIGN_WINDOWS, STEPS, BenignHistories, Score
from recbole_gro.detection.calibration import CalibratedDetector, Judged, calibrated
from recbole_gro.detection.looks import LOOK_LEVEL, LOOKS
from recbole_gro.detection.settings import DetectionSettings
from recbole_gro.detection.traces import Tracer, Traces
from recbole_gro.experiment.detection_keys import keys_flagged, lists_before_alarm, own_keys_flagged
from recbole_gro.experiment.detection_users import calibrating_users, rows_of_users
from recbole_gro.experiment.plan import in_words
from recbole_gro.quick_start.seeding import start_stage
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.quick_start.stage_fingerprints import Fingerprints
from recbole_gro.quick_start.stages import Stages
from recbole_gro.serving.service import Service

USER_WINDOWS = 100  # windows of random test users


@dataclass(kw_only=True)
class Detected:
    """What one detector sees of one attack.

    Attributes:
        values: the varied keys.
        seed: of the cell.
        detector: its name.
        auc: {items: area under the ROC curve of histories of so many items}.
        true_positives: {items: share of the attack's histories above the score that a share `rate` of real ones
            exceed}.
        false_positives: {items: share of test users flagged by the threshold from validation users}.
        flagged: share of the attack's histories flagged so far, after each item.
        users_flagged: the same of the test users' histories.
        items: mean items of a history answered before it is flagged; all of them where it never is.
        lists: answered before the key of the attack is flagged, all histories growing side by side; all where never.
        key_flagged: whether it is.
        windows: share of the attack's windows that are flagged; None where its histories make none.
        window_items: mean items of a history that are answered before its window is flagged, looked at whenever all
            its histories have 1, 2, 3, 5, 10, 20 and all items; all where it never is.
        user_windows: share of windows of random test users that are flagged at one of these lengths, whether their
            histories begin or have the most recent items.
        users_flagged_ever: share of test users flagged by one of the windows of their history that clients may send
            (`BenignHistories.windows`), twice as many as give thresholds.
        rate: of false positives, `false_positive_rate`.
        own_keys_flagged: share of test users who are flagged where each has an API key (`own_keys_flagged`).
        shared_keys_flagged: share of API keys that are flagged, each with the histories of `detection_window` random
            test users.
    """

    values: dict[str, Any]
    seed: int
    detector: str
    auc: dict[str, float]
    true_positives: dict[str, float]
    false_positives: dict[str, float]
    flagged: list[float]
    users_flagged: list[float]
    items: float
    lists: int
    key_flagged: bool
    windows: float | None
    window_items: float | None
    user_windows: float | None
    rate: float
    users_flagged_ever: float
    own_keys_flagged: float
    shared_keys_flagged: float


class ProviderUnderTest:
    """A provider whose service is attacked: real users, and detectors with thresholds from half of these.

    Half of the users, drawn with the seed, give thresholds, from their training and validation items. The others are
    the benign side: their histories before the test item, queried at once, at each step, or their most recent items.

    Args:
        config: of a cell.
        cache: of stages.
    """

    def __init__(self, config: ConfigLike, cache: StageCache):
        self.cache = cache
        self.loaders = build_loaders(config, build_dataset(config))
        self.stages = Stages(config, self.loaders, cache, Fingerprints(config, config["defense"][0]), None)
        self.defense = self.stages.defense
        self.target_print = self.stages.prints.service
        model, _ = self.stages.defended()
        self.service = Service(model, config["served_k"], self.defense.answer)
        self.tracer = Tracer(model, config["served_k"])
        own = DetectionSettings.of(config)
        self.rate, self.window = own.false_positive_rate, own.detection_window
        draw = torch.Generator().manual_seed(config["seed"])
        calibrating = calibrating_users(self.loaders[0]._dataset, draw)
        benign, _, _ = self._test_users(config, calibrating, True)
        users, tested, self.test_items = self._test_users(config, calibrating, False)
        self.users = users.whole
        longest = int(self.users.lengths.max())
        self.recent = {n: self.tracer.trace(_last(tested, n)) for n in LOOKS if n <= longest}
        start_stage(config, "detectors")  # one of a user's own may draw
        self.detectors = calibrated(as_names(own.detector), config, benign, self.rate, self.window)
        start_stage(config, "detection of users")
        scored: dict[str, Score] = {name: _scores_of(detector) for name, detector in self.detectors.items()}
        highest = users.highest(scored, 2 * STEPS)
        self.users_flagged_ever = {
            name: float((highest[name] > detector.threshold).double().mean())
            for name, detector in self.detectors.items()
        }
        rows = random_windows(len(self.users), USER_WINDOWS, self.window, draw)  # of a log, where equal ones count once
        self.user_windows = {}
        for name, detector in self.detectors.items():  # of users whose clients send all items, or that begin
            flagged = [self._windows_flagged(detector, of, rows)[1] for of in (users.whole, users.beginnings)]
            self.user_windows[name] = float((flagged[0] | flagged[1]).double().mean())
        start_stage(config, "detection of keys")
        self.own_keys_flagged = own_keys_flagged(self.detectors, users, self.tracer.longest, self.rate)
        self.shared_keys_flagged = {
            name: self._shared_keys(detector, rows) for name, detector in self.detectors.items()
        }

    def stages_of(self, config: ConfigLike, variant: Mapping[str, str] | None = None) -> Stages:
        """Return the stages of an attack on this service; `variant` as of `Fingerprints`."""
        prints = Fingerprints(config, config["defense"][0], variant=variant)
        return Stages(config, self.loaders, self.cache, prints, None, defense=self.defense)

    def attacked_state(self) -> dict[str, Any]:
        """Return the state of the defense that every attack meets, that after the evaluation, and bring it there."""
        if saved_state(self.defense):
            self.stages.evaluation(self.service)
        return saved_state(self.defense)

    def _test_users(self, config: ConfigLike, users: Tensor, inside: bool) -> tuple[BenignHistories, Tensor, Tensor]:
        """Return the histories of users, or of all others, those of their test rows [N, L], and test items [N]."""
        data = self.loaders[2]._dataset
        last = rows_of_users(config, data, users, inside)
        rows = data[last]
        kept = rows[config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"]]
        complete = getattr(data, "complete_histories", None)  # RecBole's own datasets keep what models read
        histories = list(kept) if complete is None else [complete(row, 1)[0] for row in last.tolist()]
        listed = [history[history > 0].tolist() for history in histories]
        return BenignHistories(self.tracer, listed), kept, rows[config["ITEM_ID_FIELD"]]

    def detected(self, config: ConfigLike, values: dict[str, Any], seed: int) -> Iterator[Detected]:
        """Yield what each detector sees of the attack of a cell."""
        state = self.attacked_state()
        log, facts = self.stages_of(config).queries(self.service, in_words(values))
        restore_state(self.defense, state)  # each attack meets the same service
        start_stage(config, "detection")
        traces = self.tracer.trace(log.sequences[:, : self.tracer.longest])  # the first items, which came first
        for name, detector in self.detectors.items():
            judged = detector.judged(traces)
            alarms, of_users = judged.alarms, detector.judged(self.users).alarms
            lists, key_flagged = lists_before_alarm(judged, traces.items, detector, self.rate)
            rows = torch.arange(len(traces) // self.window * self.window)
            window_items, flagged_windows = self._windows(detector, traces, rows)
            auc, true_positives, false_positives = self._by_length(detector, traces)
            yield Detected(
                values=values,
                seed=seed,
                detector=name,
                auc=auc,
                true_positives=true_positives,
                false_positives=false_positives,
                flagged=so_far(alarms, traces.items.shape[1]),
                users_flagged=so_far(of_users, self.users.items.shape[1]),
                items=float(torch.where(alarms > 0, alarms, traces.lengths).double().mean()),
                lists=lists * facts["repeats"],
                key_flagged=key_flagged,
                windows=flagged_windows,
                window_items=window_items,
                user_windows=self.user_windows[name],
                users_flagged_ever=self.users_flagged_ever[name],
                own_keys_flagged=self.own_keys_flagged[name],
                shared_keys_flagged=self.shared_keys_flagged[name],
                rate=self.rate,
            )

    def _shared_keys(self, detector: CalibratedDetector, rows: Tensor) -> float:
        """Return the share of keys that are flagged, of those that send the histories of users, each window's one."""
        judged, keys = detector.judged(self.users), torch.arange(USER_WINDOWS).repeat_interleave(self.window)
        of_rows = Judged(*(part[rows] for part in judged))
        return float(keys_flagged(of_rows, keys, detector, self.rate).double().mean())

    def _windows(self, detector: CalibratedDetector, traces: Traces, rows: Tensor) -> tuple[float | None, float | None]:
        """Return mean items per history before the window of some histories is flagged, and the share of windows."""
        if not len(rows):
            return None, None
        items, flagged = self._windows_flagged(detector, traces, rows)
        return float(items.mean()), float(flagged.double().mean())

    def _windows_flagged(self, detector: CalibratedDetector, traces: Traces, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean items per history before each window of some histories is flagged, and whether it is, [W]."""
        lengths, most = traces.lengths[rows], int(traces.lengths.max())
        items = lengths.view(-1, self.window).double().mean(1)
        never = torch.ones(len(items), dtype=torch.bool)
        for n in (*(n for n in LOOKS if n < most), most):
            flagged = detector.window_alarms(traces.whole(rows, lengths.clamp(max=n)))[1]
            items[flagged & never] = n
            never &= ~flagged
        return items, ~never

    def _by_length(self, detector: CalibratedDetector, traces: Traces) -> tuple[dict[str, float], ...]:
        """Return AUC, true positives at the rate of false ones, and false positives, by length of history."""
        auc, true_positives, false_positives = {}, {}, {}
        running = detector.running(traces)
        for n, users in self.recent.items():
            if n > traces.lengths.max():
                break
            real = detector.running(users)[users.lengths == n, n - 1]
            attack = running[traces.lengths >= n, n - 1]
            auc[str(n)] = area(attack, real)
            highest = real.sort(descending=True).values[int(self.rate * len(real))]
            true_positives[str(n)] = float((attack > highest).double().mean())
            false_positives[str(n)] = float((real > detector.threshold).double().mean())
        return auc, true_positives, false_positives


def random_windows(n: int, windows: int, size: int, generator: torch.Generator) -> Tensor:
    """Return the users [windows * size] of random windows of histories.

    Those of a window are different; where there are fewer than a window takes, each is in it about equally often.

    Args:
        n: number of users.
        windows: number of windows.
        size: histories per window.
        generator: source of the draws.
    """
    times = -(-size // n)
    return torch.rand(windows, times, n, generator=generator).argsort(2).flatten(1)[:, :size].flatten()


def _scores_of(detector: CalibratedDetector) -> Score:
    return lambda traces, _: detector.scores(traces)


def _last(items: Tensor, n: int) -> Tensor:
    """Return the most recent n items of each of items [N, L] that has as many, [M, n]."""
    lengths = (items != 0).sum(1)
    kept = lengths >= n
    place = lengths[kept].unsqueeze(1) - n + torch.arange(n)
    return items[kept].gather(1, place)


def area(positive: Tensor, negative: Tensor) -> float:
    """Return the area under the ROC curve: the probability that a positive score exceeds a negative one, ties halved.

    >>> area(torch.tensor([2.0, 3.0]), torch.tensor([1.0, 2.0]))
    0.875
    """
    ordered = negative.sort().values
    below = torch.searchsorted(ordered, positive) + torch.searchsorted(ordered, positive, right=True)
    return float(below.double().mean() / 2 / len(negative))


def so_far(alarms: Tensor, most: int) -> list[float]:
    """Return the share of histories flagged after each of `most` items, from the items after which each is.

    >>> so_far(torch.tensor([2, 0]), 3)
    [0.0, 0.5, 0.5]
    """
    counts = alarms.bincount(minlength=most + 1)[1:].cumsum(0)
    return [round(float(count) / len(alarms), 4) for count in counts]


def settings_read(config: ConfigLike) -> dict[str, Any]:
    """Return what thresholds and decoys depend on: settings of detectors, users' sources, windows, and a secret key."""
    named = [detectors[name] for name in as_names(DetectionSettings.of(config).detector)]
    own: list[type[Settings]] = [DetectionSettings, *(part for detector in named for part in detector.settings)]
    read = {name: value for part in own for name, value in part.fingerprint_inputs(config).items()}
    undeclared = fingerprint_inputs(config, sorted(undeclared_keys(named, [own])))
    windows = {
        "benign windows": [*BENIGN_WINDOWS, "beginnings", "judged by both halves"],
        "looks": [LOOKS, LOOK_LEVEL, LEAST_UNUSUAL, SHARES],
    }
    key = key_digest(config)
    return read | undeclared | sources_of(*named) | windows | ({"key": key} if key else {})
