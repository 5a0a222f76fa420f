"""The audit from top to bottom: query a live service, extract a surrogate, and measure how much of it leaks."""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_gro.attack import attacks_of, query_budget, query_length
from recbole_gro.audit.accuracy import accuracy, tested, users_left_out
from recbole_gro.audit.attack_config import COLLECTED, attack_config
from recbole_gro.audit.curve import budget_curve, lists_for_gain
from recbole_gro.audit.description import check_size, read_description
from recbole_gro.audit.extraction import attack_service, expected_requests, mark_strongest
from recbole_gro.audit.folder import RESULTS, WORK, open_audit_folder, settings_of_audit
from recbole_gro.audit.journal import Journal
from recbole_gro.audit.live_service import Client, LiveService, collected_catalogue, irregularities
from recbole_gro.audit.report import irregular_lines, read_results, result_table, save_results
from recbole_gro.audit.sources import open_source
from recbole_gro.config.config import Config, with_settings
from recbole_gro.data.histories import read_histories
from recbole_gro.report.environment import environment
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.log import console, show, shown_on_console
from recbole_gro.utils.random_state import global_state_kept
from recbole_gro.utils.work_folder import resumed_by_folder

NOTICE = "This audit is for services that you own or are allowed to test."


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
    config = attack_config(service, dict(command_line or {}), histories is not None)
    own = read_histories(histories, config, least=1) if histories else []
    n_own = sum(len(items) > 1 for items in own)  # of a user with one item no history is left
    if own and service.catalogue is not None:
        n_own = len(tested(own, {*service.catalogue}))
        if not n_own:
            raise UserError(users_left_out(own, service.catalogue))
    budget = len(attacks_of(config)) * query_budget(config)
    read = {"catalogue": service.catalogue, "histories": own, "seeds": service["seeds"], "url query": service.query}
    settings = settings_of_audit(config, service.public, read)
    with (
        open_source(service) as source,
        shown_on_console(),
        open_audit_folder(config, settings) as folder,
        resumed_by_folder(folder, "audit"),
    ):
        console.info(NOTICE)
        console.info(f"output: {folder}; --output_dir={folder} resumes this audit")
        if (finished := read_results(folder / RESULTS)) is not None:
            console.info("audit: finished already; its results are read")
            show(result_table(finished))
            return finished
        if service.catalogue is not None and (left_out := users_left_out(own, service.catalogue)):
            console.info(left_out)
        limit = budget + n_own
        journal = Journal(folder / "answers.jsonl", limit)
        console.info(f"audit: at most {limit:,} lists, {journal.spent:,} of them given out before")
        if not service.function:
            console.info(f"audit: {service.example(service.catalogue or service['seeds'])}")
            requests = expected_requests(config, service["batch"]) + math.ceil(n_own / service["batch"])
            requests = math.ceil(requests * (1 - journal.spent / limit))
            seconds = math.ceil(requests / service["rate"])
            console.info(
                f"audit: about {requests:,} requests at {service['rate']}/s take {seconds // 60} min "
                f"{seconds % 60} s or more"
            )
        results = _audit(config, Client(source, journal, service), folder, own)
        results |= environment(config)
        save_results(results, folder)
        console.info("\n".join(f"audit: {line}" for line in irregular_lines(results)))
        shutil.rmtree(folder / WORK, ignore_errors=True)
        show(result_table(results))
        console.info(f"audit: {folder} holds report.html, report.md, results.json and the surrogates")
    return results


def _audit(config: Config, client: Client, folder: Path, own: list[list[str]]) -> dict[str, Any]:
    service, journal = client.description, client.journal
    catalogue, n_collected = service.catalogue, 0
    if catalogue is None:
        catalogue, n_collected = collected_catalogue(client, service["seeds"], query_budget(config) // COLLECTED)
        console.info(f"audit: {len(catalogue):,} items in the lists for {n_collected:,} one-item histories")
        check_size(catalogue, service["k"])
        if left_out := users_left_out(own, catalogue):
            console.info(left_out)
        left = (query_budget(config) - n_collected) // query_length(config)
        if left < 2:
            raise UserError("query_sequences: no two sequences are left after the catalogue was collected; raise it")
        config = with_settings(config, query_sequences=left)
    attacks = [attack_service(config, name, client, catalogue, folder) for name in attacks_of(config)]
    best = mark_strongest(config, attacks)
    live = LiveService(client, catalogue)
    results: dict[str, Any] = {
        "service": service.public | {"catalogue": len(catalogue), "catalogue_given": service.catalogue is not None},
        "attacks": [attack.facts for attack in attacks],
        "curve": (curve := budget_curve(config, best, len(catalogue) + 1, folder)),
        "lists_needed": lists_for_gain(best, curve, len(catalogue)),
    }
    if own:
        results["histories"] = accuracy(client, live, best.surrogate, own, config)
    client.keep_failures()
    counts = irregularities(journal, live)
    lists_of = {"limit": journal.limit, "given_out": journal.spent, "for_catalogue": n_collected}
    return results | {"lists": lists_of, "irregularities": counts, "failures": journal.reasons}
