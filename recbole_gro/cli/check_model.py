"""The command `recbole-gro check-model`: the trials of models, as the table of docs/reference/models.md.

recbole-gro check-model SASRec my_module:MyModel
"""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from recbole_gro.config.models import CANNOT_SERVE, sequential_models
from recbole_gro.quick_start.model_trials import ROLES, ModelTrials, TrialFailed, write_first_users
from recbole_gro.report import document
from recbole_gro.scoring import AnonymousUserScorer, MaskedScorer, create_scorer
from recbole_gro.utils.command_line import Parser, exit_code
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import write_whole
from recbole_gro.utils.random_state import global_state_kept


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


def table_row(model: str | type, data_path: Path) -> dict[str, str]:
    """Return a model's row of the table: `works` or the reason against it by role, and a remark.

    Args:
        model: RecBole's name of a model, `module:Class`, or a class.
        data_path: folder that `write_first_users` returned.

    Raises:
        UserError: an unknown model.
    """
    if model in CANNOT_SERVE:
        return {**dict.fromkeys(ROLES, "no"), "remark": CANNOT_SERVE[str(model)]}
    row = {}
    with tempfile.TemporaryDirectory() as folder, _quiet():
        trials = ModelTrials(model, data_path, Path(folder))
        for role, passes in ROLES.items():
            row[role] = "works"
            try:
                for trial in passes:
                    trial(trials)
            except (TrialFailed, UserError) as error:
                row[role] = f"no: {error}"
        row["remark"] = _remark(trials)
    return row


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress RecBole's log, and what FEARec prints."""
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(None):
            yield
    finally:
        logging.disable(logging.NOTSET)


def markdown_table(rows: dict[str, dict[str, str]]) -> str:
    """Return the table of docs/reference/models.md, from {name of a model: `table_row`}."""
    head = ["model", *ROLES, "remark"]
    lines = [[name, *(row[column] for column in head[1:])] for name, row in rows.items()]
    return "\n".join(document.markdown_table(head, lines, len(head)))


@global_state_kept()
def main(arguments: list[str] | None = None) -> int:
    """Run the trials of the named models, or of all of RecBole's, and print the table.

    Args:
        arguments: of the command line; None: those of the process. `--write PAGE` puts the table into a page.

    Returns:
        The exit status: 0; 1 where a named model does not work in some role; 2 after one line on invalid input.
    """
    parser = Parser(prog="recbole-gro check-model", description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", help="RecBole's names or module:Class; none given: all of RecBole's")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between the page's table marks")

    def work(words: list[str]) -> int:
        given = parser.parse_args(words)
        models = given.models or sorted(sequential_models())
        with tempfile.TemporaryDirectory() as folder:
            data_path = write_first_users(Path(folder))
            rows = {model: table_row(model, data_path) for model in tqdm(models, desc="models", unit="model")}
        print(table := markdown_table(rows))
        if given.write:
            _write_table(table, given.write)
        works = all(row[role] == "works" for row in rows.values() for role in ROLES)
        return 0 if works or not given.models else 1

    return exit_code("recbole-gro check-model", work, arguments)


def _write_table(table: str, page: Path) -> None:
    """Replace the table between the marks of a page."""
    try:
        before, _, rest = page.read_text(encoding="utf-8").partition("<!-- table -->")
    except OSError as error:
        raise UserError(f"--write: {page} cannot be read: {error.strerror}") from error
    _, _, after = rest.partition("<!-- end -->")
    write_whole(page, f"{before}<!-- table -->\n{table}\n<!-- end -->{after}")
