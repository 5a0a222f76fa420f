"""The budget curve of an audit: agreement against the number of lists, and the lists that a share of the gain takes."""

from pathlib import Path
from typing import Any

import numpy as np

from recbole_gro.attack import create_attacker
from recbole_gro.attack.query_log import QueryLog
from recbole_gro.attack.selection import list_agreement
from recbole_gro.audit.extraction import Attack, split, training_config
from recbole_gro.audit.live_service import n_with_list
from recbole_gro.config.config import Config
from recbole_gro.report.budget_curve import SHARES, lists_needed
from recbole_gro.utils.log import console

PARTS = (16, 8, 4, 2)  # of the query log, for the budget curve: a sixteenth, .., a half


def budget_curve(config: Config, best: Attack, n_items: int, folder: Path) -> list[dict[str, Any]]:
    """Return the agreement with the held-out queries of surrogates that are trained on growing parts of the log.

    The last one is that of the whole log, whose held-out queries decided when its training ended; those of the others
    are a share of their own part.

    Args:
        config: of the audit.
        best: the strongest attack.
        n_items: size of the id space.
        folder: of the audit.
    """
    train = split(config, best.log)[0]
    per_query = best.facts["lists"] / max(1, n_with_list(best.log))  # of `repeat`, whose repetitions may have got none
    points: list[dict[str, Any]] = []
    for part in (len(train.sequences) // divisor for divisor in PARTS):
        if part < 2 or (points and part == points[-1]["sequences"]):
            continue
        log = QueryLog(train.sequences[:part], train.lists[:part])
        attacker = create_attacker(best.name, training_config(config, folder))
        trainer = attacker.train_surrogate(log, n_items, stage=f"part-{part}")
        agreement = round(list_agreement(trainer.model.eval(), best.held_out), 4)
        lists = round(n_with_list(log) * per_query)
        points.append({"lists": lists, "sequences": part, "agreement": agreement})
        console.info(f"audit: agreement {100 * agreement:.1f} % with {lists:,} lists")
    whole = {key: best.facts[key] for key in ("lists", "agreement")} | {"sequences": len(best.log.sequences)}
    return [*points, whole]


def lists_for_gain(best: Attack, curve: list[dict[str, Any]], n_catalogue: int) -> dict[str, int | None]:
    """Return the number of lists from which on surrogates keep a share of the final gain, by share; None: no gain.

    The gain is the agreement beyond what needs no list of the service: that of an untrained surrogate or of lists of
    random items, whichever is higher.

    Args:
        best: the strongest attack.
        curve: its budget curve.
        n_catalogue: number of items.
    """
    lists, reached = (np.array([point[key] for point in curve], float) for key in ("lists", "agreement"))
    start = max(best.facts["untrained_agreement"], best.facts["agreement_at"] / n_catalogue)
    gain = reached[-1] - start
    gained = best.facts["surrogate_improved"] and gain > 0
    return {
        f"{share:.0%}": round(lists_needed(lists, reached, start + share * gain)) if gained else None
        for share in SHARES
    }
