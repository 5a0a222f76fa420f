"""One attack of an audit: its queries to the live service, its surrogate, and what the surrogate gained."""

import contextlib
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from recbole.utils import init_seed

from recbole_gro.attack import (
    STRONGEST,
    Attacker,
    BlackBox,
    attacks_of,
    create_attacker,
    create_surrogate,
    query_budget,
    query_length,
    suite_agreement,
)
from recbole_gro.attack.query_log import QueryLog, checked
from recbole_gro.attack.selection import SELECTED_AT, list_agreement
from recbole_gro.attack.surrogate_model import surrogates_by_name
from recbole_gro.attack.surrogate_trainer import HELD_OUT
from recbole_gro.audit.folder import WORK
from recbole_gro.audit.live_service import Client, LiveService, n_with_list
from recbole_gro.config.config import Config, with_settings
from recbole_gro.config.values import as_names
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import load_state, save_state
from recbole_gro.utils.log import console
from recbole_gro.utils.random_state import SEEDS, stage_seed


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


def attack_service(config: Config, name: str, client: Client, catalogue: list[str], folder: Path) -> Attack:
    """Return the outcome of an attack; its query log and its surrogate are written.

    Args:
        config: of the audit.
        name: of the attacker.
        client: of the service.
        catalogue: item ids, in the order of the surrogate's.
        folder: of the audit.

    Raises:
        UserError: the service gave no list for any held-out query.
    """
    live, n_items = LiveService(client, catalogue), len(catalogue) + 1
    attacker = create_attacker(name, training_config(config, folder))
    box = BlackBox(live, live.k, query_budget(config), n_items=n_items)
    console.info(f"attack {name}: {attacker.summary}; {query_budget(config):,} lists at most")
    init_seed(config["seed"], config["reproducibility"])
    generator = torch.Generator().manual_seed(config["seed"])
    log = attacker.query(box, generator, None, config["show_progress"])
    log = checked(log, f"attacker: {name}", n_items, box.lists_returned)
    live.check()
    _save_log(log, folder / f"queries-{name}.npz", folder)
    held_out = split(config, log)[1]
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
        "untrained_agreement": round(list_agreement(_untrained(attacker, n_items), held_out), 4),
        "surrogate_model": trainer.config.model_class.__name__,
        "surrogate_epochs": len(trainer.train_loss_dict),
        "surrogate_improved": trainer.improved,
        "surrogate_still_improving": trainer.still_improving,
        "selected_hyperparameters": attacker.selected,
        "strongest": False,
    }
    console.info(
        f"attack {name}: agreement@{facts['agreement_at']} {100 * facts['agreement']:.1f} % on held-out queries; "
        f"of an untrained surrogate {100 * facts['untrained_agreement']:.1f} %, "
        f"of lists of random items {100 * facts['agreement_at'] / len(catalogue):.1f} %"
    )
    return Attack(name, attacker, log, held_out, surrogate, facts)


def _save_log(log: QueryLog, file: Path, folder: Path) -> None:
    """Save a query log, and remove trainings on another one: failures of an earlier process may have lists by now."""
    with contextlib.suppress(UserError):  # none, or one that is damaged
        earlier = QueryLog.load(file)
        same = torch.equal(earlier.sequences, log.sequences.long()) and torch.equal(earlier.lists, log.lists.long())
        if not same:
            shutil.rmtree(_trainings(folder), ignore_errors=True)
    log.save(file)


def _untrained(attacker: Attacker, n_items: int) -> torch.nn.Module:
    """Return the attacker's selected surrogate as it was before its first epoch, of an ensemble the first."""
    config, model = attacker.config, attacker.selected.get("surrogate_model")
    init_seed(stage_seed(config["seed"], "surrogate") % SEEDS, config["reproducibility"])
    return create_surrogate(config, n_items, model=surrogates_by_name(config).get(str(model)))[0].eval()


def expected_requests(config: Config, batch: int) -> int:
    """Return how many requests the attacks take that share no answer: those of a step are sent together, steps apart.

    A step queries all sequences with one item more. Attacks that query in parts, as `rounds` and `mimic`, take a few
    more; for a catalogue that is collected its requests take the place of some.

    Args:
        config: of the audit.
        batch: maximum histories per request.
    """
    total = 0
    for name in attacks_of(config):
        attacker = create_attacker(name, config)
        total += query_length(attacker.config) * math.ceil(attacker.n_sequences * attacker.repeats / batch)
    return total


def mark_strongest(config: Config, attacks: list[Attack]) -> Attack:
    """Return the strongest attack, by agreement with held-out queries that are the same for all, and mark its facts."""
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


def split(config: Config, log: QueryLog) -> tuple[QueryLog, QueryLog]:
    """Return the training and the held-out part of a log, as the surrogate's trainer does."""
    return log.split(HELD_OUT, torch.Generator().manual_seed(stage_seed(config["seed"], "surrogate")))


def training_config(config: Config, folder: Path) -> Any:
    """Return a config whose trainers write to the folder's work folder and resume from there."""
    trained = with_settings(config)
    trained["output_dir"], trained["resume_dir"] = str(_trainings(folder)), str(_trainings(folder) / "resume")
    return trained


def _trainings(folder: Path) -> Path:
    return folder / WORK
