"""The audit from top to bottom: query a live service, extract a surrogate, and measure how much of it leaks."""

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.utils import init_seed

from recbole_gro.attack import (
    STRONGEST,
    Attacker,
    BlackBox,
    attacks_of,
    create_attacker,
    query_budget,
    query_length,
    suite_agreement,
)
from recbole_gro.attack.query_log import QueryLog, checked
from recbole_gro.attack.selection import SELECTED_AT, list_agreement
from recbole_gro.attack.surrogate_trainer import HELD_OUT
from recbole_gro.audit.accuracy import accuracy
from recbole_gro.audit.description import Description, check_size, read_description
from recbole_gro.audit.folder import RESULTS, open_audit_folder, settings_of_audit
from recbole_gro.audit.journal import Journal
from recbole_gro.audit.live_service import Client, LiveService, collected_catalogue, irregularities, n_with_list
from recbole_gro.audit.report import irregular_lines, read_results, result_table, save_results
from recbole_gro.audit.sources import FunctionSource, HttpSource, Source
from recbole_gro.config.config import Config, with_settings
from recbole_gro.config.files import literal
from recbole_gro.config.loss_settings import ExtractionLossSettings
from recbole_gro.config.recbole_defaults import TrainingSettings, ValidationSettings
from recbole_gro.config.settings import of_sections, refuse_unread
from recbole_gro.config.values import as_names
from recbole_gro.data.histories import read_histories
from recbole_gro.data.settings import DataSettings
from recbole_gro.detection.settings import READER, DetectionSettings
from recbole_gro.report.budget_curve import SHARES, lists_needed
from recbole_gro.report.environment import environment
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import load_state, save_state
from recbole_gro.utils.log import console, show, shown_on_console
from recbole_gro.utils.random_state import global_state_kept, stage_seed

NOTICE = "This audit is for services that you own or are allowed to test."
SURROGATE = "GRU4Rec"  # where no setting names another architecture
DATASET = "service"  # a config names a dataset; none is read
PARTS = (16, 8, 4, 2)  # of the query log, for the budget curve: a sixteenth, .., a half
COLLECTED = 10  # a catalogue is collected with at most one in so many lists of the budget
# settings that an audit does not read: of a target's data and training, and of other work of a run
OF_A_TARGET = {
    *(*DataSettings.names, *TrainingSettings.names, *ValidationSettings.names),
    *("learning_rate", "train_batch_size", "train_neg_sample_args", "valid_metric_bigger"),
}
OF_A_RUN = {
    *("access_log", "attack", "eval_batch_size", "metrics", "references"),
    *("stages_dir", "surrogate_knows_features", "workers"),
}


@dataclass
class Attack:
    """The outcome of one attack.

    Attributes:
        name: of the attacker.
        attacker: with its selected hyperparameters.
        log: its queries; lists that the service did not give are empty.
        held_out: the part of the log that the surrogate was not trained on.
        surrogate: at its best epoch.
        facts: for the results.
    """

    name: str
    attacker: Attacker
    log: QueryLog
    held_out: QueryLog
    surrogate: torch.nn.Module
    facts: dict[str, Any]


@global_state_kept()
def run_audit(
    black_box: str,
    histories: str | None = None,
    *,
    description: Mapping[str, Any] | None = None,
    command_line: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Attack a live service within a list budget, and report how much of it a surrogate reproduces.

    An audit of the same settings in `output_dir` is resumed; answers that it has are not requested again.

    Args:
        black_box: service.yaml, or module:function.
        histories: RecBole's atomic file of test histories; None for none.
        description: keys of service.yaml that take precedence over the file's.
        command_line: settings of the attack, values as text.

    Returns:
        The contents of results.json.

    Raises:
        UserError: invalid input, before anything is written; or a service that gives no lists.
    """
    service = read_description(black_box, dict(description or {}))
    config = _attack_config(service, dict(command_line or {}))
    own = read_histories(histories, config) if histories else []
    source: Source = FunctionSource(service.function) if service.function else HttpSource(service)
    budget = len(attacks_of(config)) * query_budget(config)
    read = {"catalogue": service.catalogue, "histories": own, "seeds": service["seeds"], "url query": service.query}
    settings = settings_of_audit(config, service.public, read)
    with open_audit_folder(config, settings) as folder, shown_on_console():
        console.info(NOTICE)
        console.info(f"output: {folder}; --output_dir={folder} resumes this audit")
        if (finished := read_results(folder / RESULTS)) is not None:
            console.info("audit: finished already; its results are read")
            show(result_table(finished))
            return finished
        journal = Journal(folder / "answers.jsonl", budget + len(own))
        try:
            console.info(f"audit: at most {budget + len(own):,} lists, {journal.spent:,} of them given out before")
            if not service.function:
                requests = (journal.limit - journal.spent) / service["batch"]
                seconds = math.ceil(requests / service["rate"])
                console.info(
                    f"audit: {math.ceil(requests):,} requests at {service['rate']}/s take {seconds // 60} min "
                    f"{seconds % 60} s or more"
                )
            results = _audit(config, Client(source, journal, service), folder, own)
        except KeyboardInterrupt as error:
            error.add_note(journal.resume)
            raise
        results |= environment(config)
        save_results(results, folder)
        console.info("\n".join(f"audit: {line}" for line in irregular_lines(results)))
        shutil.rmtree(folder / "work", ignore_errors=True)
        show(result_table(results))
        console.info(f"audit: {folder} holds report.html, report.md, results.json and the surrogates")
    return results


def _attack_config(service: Description, settings: dict[str, Any]) -> Config:
    """Return the config of the attack: no dataset is read, and lists are as long as the service's."""
    if "served_k" in settings:
        raise UserError("served_k: the length of lists is k of the service's description")
    refuse_unread(settings, DetectionSettings.names, "recbole-gro audit", READER)
    refuse_unread(
        settings,
        of_sections("Defense") - set(ExtractionLossSettings.names),  # which a surrogate trains with too
        "recbole-gro audit",
        "the provider's side, such as recbole-gro run,",
    )
    refuse_unread(settings, OF_A_TARGET, "recbole-gro audit", "recbole-gro run, which trains a target,")
    refuse_unread(settings, OF_A_RUN, "recbole-gro audit", "recbole-gro run")
    if "data_path" in settings:
        raise UserError("data_path: an audit reads no dataset; --histories=FILE gives test histories")
    k = service["k"]
    positions = literal(str(settings.get("topk")))
    for position in positions if isinstance(positions, list | tuple) else [positions]:
        if isinstance(position, int) and position > k:
            raise UserError(
                f"topk: position {position} is beyond the lists (k={k} of the service's description); "
                f"lower topk or raise k"
            )
    given = {"served_k": k, "topk": [n for n in (1, 5, 10) if n <= k], "dataset": DATASET}
    config = Config(None if "model" in settings else SURROGATE, config_dict=given, command_line=settings)
    for name in attacks_of(config):
        attacker = create_attacker(name, config)
        if attacker.auxiliary_share or attacker.sequence_source:
            raise UserError(f"attacker: {name} needs histories of users, which an audit does not have")
    if service.catalogue is None and query_budget(config) < COLLECTED:
        raise UserError("query_sequences: no list is left to collect the catalogue with; raise it")
    return config


def _audit(config: Config, client: Client, folder: Path, own: list[list[str]]) -> dict[str, Any]:
    service, journal = client.description, client.journal
    catalogue, n_collected = service.catalogue, 0
    if catalogue is None:
        catalogue, n_collected = collected_catalogue(client, service["seeds"], query_budget(config) // COLLECTED)
        console.info(f"audit: {len(catalogue):,} items in the lists for {n_collected:,} one-item histories")
        check_size(catalogue, service["k"])
        left = (query_budget(config) - n_collected) // query_length(config)
        if left < 2:
            raise UserError("query_sequences: no two sequences are left after the catalogue was collected; raise it")
        config = with_settings(config, query_sequences=left)
    attacks = [_attack(config, name, client, catalogue, folder) for name in attacks_of(config)]
    best = _mark_strongest(config, attacks)
    live = LiveService(client, catalogue)
    results: dict[str, Any] = {
        "service": service.public | {"catalogue": len(catalogue), "catalogue_given": service.catalogue is not None},
        "attacks": [attack.facts for attack in attacks],
        "curve": _curve(config, best, len(catalogue) + 1, folder),
    }
    lists, reached = (np.array([point[key] for point in results["curve"]], float) for key in ("lists", "agreement"))
    leaks = best.facts["surrogate_improved"] and reached[-1] > best.facts["agreement_at"] / len(catalogue)
    results["lists_needed"] = {
        f"{share:.0%}": round(lists_needed(lists, reached, share * reached[-1])) if leaks else None for share in SHARES
    }
    if own:
        results["histories"] = accuracy(client, live, best.surrogate, own, config)
    counts = irregularities(journal, live)
    lists_of = {"limit": journal.limit, "given_out": journal.spent, "for_catalogue": n_collected}
    return results | {"lists": lists_of, "irregularities": counts, "failures": journal.reasons}


def _attack(config: Config, name: str, client: Client, catalogue: list[str], folder: Path) -> Attack:
    """Return the outcome of an attack; its query log and its surrogate are written."""
    live, n_items = LiveService(client, catalogue), len(catalogue) + 1
    attacker = create_attacker(name, _training_config(config, folder))
    box = BlackBox(live, live.k, query_budget(config), n_items=n_items)
    console.info(f"attack {name}: {attacker.summary}; {query_budget(config):,} lists at most")
    init_seed(config["seed"], config["reproducibility"])
    generator = torch.Generator().manual_seed(config["seed"])
    log = checked(attacker.query(box, generator, None, config["show_progress"]), f"attacker: {name}", n_items)
    live.check()
    log.save(folder / f"queries-{name}.npz")
    held_out = _split(config, log)[1]
    if not n_with_list(held_out):
        raise UserError(f"{client.description.name}: no held-out query got a list; raise query_sequences")
    trainer = attacker.train_surrogate(log, n_items, stage=f"surrogate-{name}", show_progress=config["show_progress"])
    checkpoint = load_state(trainer.saved_model_file)
    checkpoint["catalogue"]["item_tokens"] = ["[PAD]", *catalogue]  # so that load_target takes the service's item ids
    save_state(folder / f"surrogate-{name}.pth", checkpoint)
    surrogate = trainer.model.eval()
    facts = {
        "attacker": name,
        "lists": box.lists_returned - live.n_without,
        "agreement": round(list_agreement(surrogate, held_out), 4),
        "agreement_at": min(SELECTED_AT, held_out.lists.shape[2]),
        "surrogate_model": trainer.config.model_class.__name__,
        "surrogate_epochs": len(trainer.train_loss_dict),
        "surrogate_improved": trainer.improved,
        "surrogate_still_improving": trainer.still_improving,
        "selected_hyperparameters": attacker.selected,
        "strongest": False,
    }
    console.info(
        f"attack {name}: agreement@{facts['agreement_at']} {100 * facts['agreement']:.1f} % on held-out queries; "
        f"of lists of random items {100 * facts['agreement_at'] / len(catalogue):.1f} %"
    )
    return Attack(name, attacker, log, held_out, surrogate, facts)


def _mark_strongest(config: Config, attacks: list[Attack]) -> Attack:
    """Return the strongest attack, by agreement with held-out queries that are the same for all."""
    if len(attacks) == 1:
        shared = {attacks[0].name: attacks[0].facts["agreement"]}
    else:
        shared = suite_agreement({attack.name: (attack.surrogate, attack.held_out) for attack in attacks})
    best = max(attacks, key=lambda attack: shared[attack.name])
    best.facts["strongest"] = True
    if len(attacks) > 1 or STRONGEST in as_names(config["attacker"]):
        for attack in attacks:
            attack.facts["suite_agreement"] = round(shared[attack.name], 4)
        console.info(f"audit: the strongest attack is {best.name}")
    return best


def _curve(config: Config, best: Attack, n_items: int, folder: Path) -> list[dict[str, Any]]:
    """Return the agreement with the held-out queries of surrogates that are trained on growing parts of the log.

    The last one is that of the whole log, whose held-out queries decided when its training ended; those of the others
    are a share of their own part.
    """
    train = _split(config, best.log)[0]
    points: list[dict[str, Any]] = []
    for part in (len(train.sequences) // divisor for divisor in PARTS):
        if part < 2 or (points and part == points[-1]["sequences"]):
            continue
        log = QueryLog(train.sequences[:part], train.lists[:part])
        attacker = create_attacker(best.name, _training_config(config, folder))
        trainer = attacker.train_surrogate(log, n_items, stage=f"part-{part}")
        agreement = round(list_agreement(trainer.model.eval(), best.held_out), 4)
        lists = n_with_list(log) * attacker.repeats
        points.append({"lists": lists, "sequences": part, "agreement": agreement})
        console.info(f"audit: agreement {100 * agreement:.1f} % with {lists:,} lists")
    whole = {key: best.facts[key] for key in ("lists", "agreement")} | {"sequences": len(best.log.sequences)}
    return [*points, whole]


def _split(config: Config, log: QueryLog) -> tuple[QueryLog, QueryLog]:
    """Return the training and the held-out part of a log, as the surrogate's trainer does."""
    return log.split(HELD_OUT, torch.Generator().manual_seed(stage_seed(config["seed"], "surrogate")))


def _training_config(config: Config, folder: Path) -> Any:
    """Return a config whose trainers write to the folder's work folder and resume from there."""
    trained = with_settings(config)
    trained["output_dir"], trained["resume_dir"] = str(folder / "work"), str(folder / "work" / "resume")
    return trained
