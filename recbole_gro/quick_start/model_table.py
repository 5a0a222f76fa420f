"""The table of docs/reference/models.md: what the trials of models found."""

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from recbole_gro.config.models import CANNOT_SERVE, reference_to
from recbole_gro.data import train_rows_of
from recbole_gro.quick_start.model_fault import fault_of_model
from recbole_gro.quick_start.model_trials import TRIALS_BY_ROLE, ModelTrials, TrialFailed
from recbole_gro.scoring import AnonymousUserScorer, MaskedScorer, create_scorer
from recbole_gro.utils.errors import UserError, out_of_memory
from recbole_gro.utils.table import TextTable

TRAINED_ON_ROWS = ("target", "student")  # roles that read training rows; a surrogate reads a query log


def _remark(trials: ModelTrials) -> str:
    """Return what distinguishes a model from the others."""
    remarks, scorer = [], create_scorer(trials.target)
    if isinstance(scorer, AnonymousUserScorer):
        remarks.append(
            "scores with the user's embedding: every list is for one unknown user, the mean of the known ones"
        )
    if trials.config["selected_features"]:
        fields = ", ".join(trials.config["selected_features"])
        remarks.append(f"reads item features ({fields}); as surrogate with surrogate_knows_features=True")
    if isinstance(scorer, MaskedScorer):
        remarks.append("a mask after the last item; RecBole's own evaluation drops the oldest item for it")
    return "; ".join(remarks)


def table_row(model: str | type, data_path: Path, settings: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return a model's row of the table: `works` or the reason against it by role, and a remark.

    Args:
        model: RecBole's name of a model, `module:Class`, or a class.
        data_path: folder that `write_first_users` returned.
        settings: of the model.

    Raises:
        UserError: an unknown model.
    """
    if model in CANNOT_SERVE:
        return {**dict.fromkeys(TRIALS_BY_ROLE, "no"), "remark": CANNOT_SERVE[str(model)]}
    row, settings = {}, settings or {}
    with tempfile.TemporaryDirectory() as folder, _quiet():
        trials = ModelTrials(model, data_path, Path(folder), **settings)
        for role, passes in TRIALS_BY_ROLE.items():
            row[role] = _outcome(passes, trials, settings)
        row["remark"] = _remark(trials) if "works" in row.values() else ""
        if (rows := train_rows_of(trials.config)) != "prefixes":
            on_prefixes = ModelTrials(model, data_path, Path(folder) / "prefixes", **settings, train_rows="prefixes")
            for role in TRAINED_ON_ROWS:
                _add_difference(row, role, rows, _outcome(TRIALS_BY_ROLE[role], on_prefixes, settings))
    return row


def _add_difference(row: dict[str, str], role: str, rows: str, on_prefixes: str) -> None:
    """Add to a row of the table that a role works on one kind of training rows alone."""
    if row[role] == "works" != on_prefixes:
        remark = f"{role} on {rows} alone (train_rows=prefixes: {on_prefixes})"
        row["remark"] = "; ".join(filter(None, [row["remark"], remark]))
    elif row[role] != "works" == on_prefixes:
        row[role] += f" (on {rows}; works with train_rows=prefixes)"


def _outcome(passes: Iterable[Callable[[ModelTrials], None]], trials: ModelTrials, settings: Mapping[str, Any]) -> str:
    """Return `works`, or the reason against a model in a role; a model of RecBole's raises where nothing was set."""
    try:
        for trial in passes:
            trial(trials)
    except (TrialFailed, UserError) as error:
        return f"no: {error}"
    except (Exception, SystemExit) as error:  # RecBole's CPR models end the process at settings they do not support
        if ":" not in reference_to(trials.config.model_class) and not settings:
            raise
        given = ", ".join(f"{key}={value!r}" for key, value in settings.items())
        reason = out_of_memory(error) or fault_of_model(error, trials.config.model_class, trials.config)
        return f"no: {reason}" + (f" (given: {given})" if given else "")
    return "works"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress RecBole's log, and what FEARec prints."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(None):
            yield
    finally:
        logging.disable(before)


def table(rows: dict[str, dict[str, str]]) -> TextTable:
    """Return the table of {name of a model: `table_row`}."""
    head = ["model", *TRIALS_BY_ROLE, "remark"]
    return TextTable(head, [[name, *(row[column] for column in head[1:])] for name, row in rows.items()], len(head))
