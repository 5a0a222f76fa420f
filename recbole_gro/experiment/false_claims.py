"""False claims of an experiment on watermarks: models without marks, tested with keys whose marks no model has."""

import itertools
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from torch import nn

from recbole_gro.config.config import with_settings
from recbole_gro.experiment.mark_probes import (
    FOUND,
    false_keys,
    mark_probes,
    mark_verdicts,
    marked_for,
    owner_with_marks,
)
from recbole_gro.experiment.marked_suspects import OWNERS, unmarked_suspects
from recbole_gro.experiment.planned_suspects import Absent, PlannedSuspect, itself
from recbole_gro.experiment.workshop import Workshop
from recbole_gro.ownership.method import Probes, create_method
from recbole_gro.utils.log import say

FALSE_CLAIMS = "false_claims.csv"
FALSE_HEAD = ["defense", "key", "owner", "suspect", *FOUND]
Row = dict[str, Any]


def false_claims(workshop: Workshop, defense: str, known: Sequence[Row]) -> Iterator[Row | Absent]:
    """Yield the rows of models without marks, tested with keys whose marks no model has, or why a model failed.

    Marks depend on the undefended target (aow), at the first seed of each model, or on the data alone (injected). Rows
    that are known stay as they are.
    """
    experiment, method = workshop.experiment, create_method(defense, {})
    suspects, targets, seed = [*unmarked_suspects(workshop)], {}, experiment.seeds[0]
    say(f"{time.strftime('%H:%M:%S')} false claims, {defense}: {len(suspects)} models")
    for model in map(str, experiment.vary["model"]):
        of_model = PlannedSuspect(f"marks for {model}", OWNERS, partial(marked_for, workshop, model, defense, seed))
        target = of_model.tried(itself)
        if isinstance(target, Absent):
            yield target
        else:
            targets[model] = target
    tests: dict[tuple[int, str], tuple[Probes, int]] = {}
    marked = set()
    for key, model in itertools.product(false_keys(experiment), targets):
        stages = workshop.stages(model, seed, defense)
        owner = owner_with_marks(stages, targets[model], with_settings(stages.config, seed=key))
        marks = str(owner.marks["sequences"].tolist())
        if marks not in marked:  # of another model, on which they do not depend
            marked.add(marks)
            tests[key, model] = mark_probes(method, owner), stages.config["served_k"]
    earlier: dict[tuple[str, int, str], list[Row]] = defaultdict(list)
    for row in known:
        earlier[row["suspect"], row["key"], row["owner"]].append(row)

    def rows(name: str, model: nn.Module) -> dict[tuple[int, str], list[Row]]:
        found = {}
        for (key, owner), (probes, k) in tests.items():
            own = {"defense": defense, "key": key, "owner": owner, "suspect": name}
            known_rows = earlier.get((name, key, owner))
            found[key, owner] = known_rows or [own | one for one in mark_verdicts(method, probes, model, k)]
        return found

    by_suspect = []
    for suspect in suspects:
        made = suspect.tried(partial(rows, suspect.name))
        if isinstance(made, Absent):
            yield made
        else:
            by_suspect.append(made)
    for test, found in itertools.product(tests, by_suspect):
        yield from found[test]
