"""The comparison of one defense, the paper's Figure 1 from top to bottom, and of the references beside it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from recbole_gro.attack import STRONGEST, attacks_of, suite_agreement
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.attack.selection import SELECTED_AT
from recbole_gro.attack.surrogate_model import surrogates_by_name
from recbole_gro.config.config import with_settings
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.config.values import as_names
from recbole_gro.defense.combined import restore_state, saved_state
from recbole_gro.evaluator.ranks import by_user, ndcg, ranks
from recbole_gro.evaluator.served_lists import agreement_metrics
from recbole_gro.quick_start.references import UNDEFENDED, Reference, create_references, is_packaged, measured
from recbole_gro.quick_start.stage_cache import StageCache
from recbole_gro.quick_start.stage_fingerprints import Fingerprints
from recbole_gro.quick_start.stages import Stages
from recbole_gro.report.run_report import label, settings_in_words
from recbole_gro.serving.service import Service
from recbole_gro.trainer import processes
from recbole_gro.utils.log import console
from recbole_gro.utils.units import with_unit


@dataclass
class Comparison:
    """The measurements of one attack on one defense.

    Attributes:
        row: as in results.json.
        served: lists of the service by split, [rows, k].
        surrogate_lists: lists of the surrogate likewise; empty without an attack.
    """

    row: dict[str, Any]
    served: dict[str, Tensor]
    surrogate_lists: dict[str, Tensor] = field(default_factory=dict)


def compare(
    config: ConfigLike, name: str, loaders: Any, cache: StageCache, output_dir: Path | None = None
) -> list[Comparison]:
    """Defend the target, serve it, attack the service, and measure both.

    Args:
        config: of the run or cell.
        name: of the defense.
        loaders: training, validation and test loaders.
        cache: of the results of stages.
        output_dir: folder for checkpoints and logs; None writes none.

    Returns:
        One comparison per attack; one without a surrogate where the config has none.
    """
    stages = Stages(config, loaders, cache, Fingerprints(config, name), output_dir)
    defense = stages.defense

    console.info(f"defense {name}: {defense.summary}")
    service, effective, (metrics, lists) = serve_defended(stages)
    console.info(f"defense {name}: the service reaches {metrics_in_words(metrics)}")
    row: dict[str, Any] = {"defense": name, "seconds": stages.seconds, "target": metrics}
    row["target_still_improving"] = stages.target_still_improving
    if effective:
        row["effective_settings"] = effective
    if not config["attack"]:
        return [Comparison(row, lists)]

    compared, surrogates, state = [], {}, saved_state(defense)
    for attack in attacks_of(config):
        restore_state(defense, state)  # each attack meets the same service
        on = attacked_name(config, name, attack)
        attacked = stages.attacked_by(attack)
        surrogate, log, facts = attack_service(attacked, service, on)
        extracted, surrogate_lists = attacked.surrogate_evaluation(surrogate, lists)
        _report_attack(on, config, extracted, facts)
        surrogates[attack] = surrogate, attacked.held_out(log)
        own = {"attacker": attack, "seconds": attacked.seconds, "surrogate": extracted, **facts}
        compared.append(Comparison(row | own, lists, surrogate_lists))
    if STRONGEST in as_names(config["attacker"]):
        suite = {attack: surrogates[attack] for attack in as_names(config["attacker_suite"])}
        _mark_strongest([one.row for one in compared], processes.by_first(lambda: suite_agreement(suite)))
    return compared


def serve_defended(stages: Stages) -> tuple[Service, dict[str, Any], tuple[dict[str, Any], dict[str, Tensor]]]:
    """Return the service of a comparison, the effective settings of its defense, and its `evaluation`."""
    model, effective = stages.defended()
    service = Service(model, stages.config["served_k"], stages.defense.answer)
    return service, effective, stages.evaluation(service)


def attack_service(stages: Stages, service: Service, on: str) -> tuple[nn.Module, QueryLog, dict[str, Any]]:
    """Query a service and train a surrogate on its lists; return surrogate, query log and the facts about both.

    Args:
        stages: of the attack.
        service: that it queries.
        on: name of defense and attack, for files and messages.
    """
    log, query_facts = stages.queries(service, on)
    surrogate, surrogate_facts = stages.surrogate(log, on)
    return surrogate, log, surrogate_facts | query_facts


def attacked_name(config: ConfigLike, name: str, attack: str) -> str:
    """Return the name of an attack on a defense, for files and messages; the defense's where there is one attack."""
    return name if len(attacks_of(config)) == 1 else f"{name}-{attack}"


def _report_attack(on: str, config: ConfigLike, extracted: dict[str, Any], facts: dict[str, Any]) -> None:
    """Log what an attack reached; `on` names defense and attack."""
    if facts["selected_hyperparameters"]:
        console.info(f"attack on {on}: selected {settings_in_words(facts['selected_hyperparameters'])}")
    console.info(f"attack on {on}: the surrogate reaches {metrics_in_words(extracted)}")
    if not facts["surrogate_improved"]:
        console.info(f"attack on {on}: its loss on held-out queries is no better than before training")
    elif facts["surrogate_still_improving"]:
        epochs = config["surrogate_epochs"]
        console.info(f"attack on {on}: the surrogate was still improving after surrogate_epochs={epochs}")


def _mark_strongest(rows: list[dict[str, Any]], agreement: dict[str, float]) -> None:
    """Set `suite_agreement` and `strongest` in the rows of the suite's attacks on one defense."""
    best = max(agreement, key=lambda attack: agreement[attack])
    for row in (row for row in rows if row["attacker"] in agreement):
        row["suite_agreement"] = round(agreement[row["attacker"]], 4)
        row["strongest"] = row["attacker"] == best
        if row["strongest"]:
            console.info(
                f"attack on {row['defense']}: strongest by agreement@{SELECTED_AT} on held-out queries: {best}, "
                f"{100 * agreement[best]:.1f} %"
            )


@dataclass
class ReferenceMeasurement:
    """The measurements of one reference.

    Attributes:
        name: of the reference.
        row: as in results.json; `target` holds the metrics of one that stands for a service, `surrogate` those of any
            other.
        lists: by split, [rows, k].
        seconds: that it took.
        architecture: of the surrogate that it belongs to, where attacks select one of several; None: of all.
    """

    name: str
    row: dict[str, Any]
    lists: dict[str, Tensor]
    seconds: float
    architecture: str | None = None


def shown_references(config: ConfigLike) -> tuple[list[Reference], bool]:
    """Return the config's references that mean something in its run, and whether agreement with the undefended target
    is among what they are measured by: nothing is trained for that alone."""
    attack = config["attack"]
    with_target = bool(attack) and any(Fingerprints(config, name).needs_target for name in config["defense"])
    shown = [
        reference
        for reference in create_references(config).values()
        if (attack or not reference.needs_attack) and (with_target or not reference.needs_target)
    ]
    return shown, with_target


def measure_own_references(config: ConfigLike, loaders: Any, cache: StageCache) -> None:
    """Measure the references of a user's own before all attacks, into the cache, so that a faulty one costs none.

    One that is measured per architecture waits for the attacks, which select it. Arguments as of `measure_references`.

    Raises:
        UserError: a reference returns what is none.
    """
    for reference in shown_references(config)[0]:
        if not is_packaged(reference) and not reference.per_architecture:
            measured(reference, Stages(config, loaders, cache, Fingerprints(config, UNDEFENDED), None))


def measure_references(
    config: ConfigLike, loaders: Any, cache: StageCache, rows: Sequence[dict[str, Any]] = ()
) -> tuple[list[ReferenceMeasurement], dict[str, Tensor] | None]:
    """Measure the config's references, and their agreement with the undefended target.

    Nothing is trained for agreement alone: without an attack, or where no defense needs the undefended target, there is
    no agreement, and references that mean nothing without it are left out.

    Args:
        config: of the run or cell.
        loaders: training, validation and test loaders.
        cache: of the results of stages.
        rows: of attacks, as in results.json. A reference per architecture is measured for each that they selected,
            and named by it where these are several; without rows it is measured for the first of the config's.

    Returns:
        The references, and the lists of the undefended target by split, None without agreement.
    """
    attack = config["attack"]
    shown, with_target = shown_references(config)
    for reference in create_references(config).values() if attack else ():
        if reference.name not in [one.name for one in shown]:
            console.info(f"reference {reference.name}: left out, as no defense needs the undefended target")
    target = None
    if shown and with_target:
        target = Stages(config, loaders, cache, Fingerprints(config, UNDEFENDED), None).undefended()[1]
    found = []
    selected = list(dict.fromkeys(map(selected_architecture, rows))) or [None]
    pairs = [(one, chosen) for one in shown for chosen in (selected if one.per_architecture else [None])]
    for reference, architecture in pairs:
        own = config
        if architecture is not None:
            own = with_settings(config, surrogate_model=surrogates_by_name(config)[architecture])
        stages = Stages(own, loaders, cache, Fingerprints(own, UNDEFENDED), None)
        metrics, lists = measured(reference, stages)
        is_service = reference.is_service or not attack
        if target and not is_service:
            of_target = {split: agreement_metrics(config, lists[split], target[split]) for split in lists}
            metrics = {split: values | of_target[split] for split, values in metrics.items()}
        name = f"{reference.name} {architecture}" if reference.per_architecture and selected[1:] else reference.name
        console.info(f"reference {name}: {metrics_in_words(metrics)}")
        row = {
            "defense": name,
            "meaning": reference.meaning,
            "target" if is_service else "surrogate": metrics,
        }
        found.append(ReferenceMeasurement(reference.name, row, lists, sum(stages.seconds.values()), architecture))
    return found, target


def selected_architecture(row: dict[str, Any]) -> str | None:
    """Return the architecture of the surrogate that an attack's row of results.json selected; None without a choice."""
    return (row.get("selected_hyperparameters") or {}).get("surrogate_model")


def set_gain(
    compared: list[Comparison], untrained: dict[str, Tensor], items: Tensor, k: int, users: Tensor | None = None
) -> None:
    """Set what each surrogate gained: its NDCG@k on test beyond the untrained one's, and whether that is beyond noise.

    It is noise where the difference is less than twice its standard error, paired over the test users.

    Args:
        compared: comparisons, each with a surrogate.
        untrained: lists of the untrained surrogate by split.
        items: [rows] test items.
        k: cut-off.
        users: [rows] their users; None: each row is of another one.
    """
    before = ndcg(ranks(untrained["test"], items), k)
    for one in compared:
        gain = ndcg(ranks(one.surrogate_lists["test"], items), k) - before
        gain = gain if users is None else by_user(gain, users.numpy())
        error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
        known = round(error, 4) if np.isfinite(error) else None
        one.row["gain"] = {f"ndcg@{k}": round(gain.mean(), 4), "standard_error": known}
        one.row["gained"] = bool(gain.mean() > 2 * error)


def metrics_in_words(metrics: dict[str, dict[str, float]]) -> str:
    """Return the metrics of the test split as text, each in its unit."""
    return ", ".join(f"{label(name)} {with_unit(name, value)}" for name, value in metrics["test"].items())
