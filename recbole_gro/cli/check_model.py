"""The command `recbole-gro check-model`: the trials of models, as the table of docs/reference/models.md."""

import tempfile
from pathlib import Path

from recbole_gro.utils import terminal
from recbole_gro.utils.command_line import Parser, options_and_settings
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.progress import progress_bar

START, END = "<!-- table -->", "<!-- end -->"
EXAMPLES = {
    "recbole-gro check-model SASRec my_module:MyModel": "one of RecBole's, and one of your own",
    "recbole-gro check-model my_module:MyModel --width=16": "with a setting of the model",
    "recbole-gro check-model --write=docs/reference/models.md": "all of RecBole's, into a page",
}


def parser() -> Parser:
    """Return the parser of the options."""
    made = Parser(
        prog="recbole-gro check-model",
        usage="recbole-gro check-model [MODEL ...] [--write PAGE] [--KEY=VALUE ...]",
        description="Try models as target, student and surrogate on the first 60 users of ml-100k.\n"
        "The exit status is 1 where a named model does not work in some role.",
        examples=EXAMPLES,
    )
    made.add_argument("models", nargs="*", metavar="MODEL", help="RecBole's names or module:Class; none: all RecBole's")
    made.add_argument("--write", type=Path, metavar="PAGE", help="put the table between the page's table marks")
    return made


def work(words: list[str]) -> int:
    """Run the trials of the named models, or of all of RecBole's, and print the table.

    Returns:
        The exit status: 0, or 1 where a named model does not work in some role.

    Raises:
        UserError: an invalid word, model or page.
    """
    given, settings = options_and_settings(parser(), words)
    if word := next((name for name in settings if name in ("model", "models")), None):
        raise UserError(f"--{word}: models are named without it, as in recbole-gro check-model {settings[word]}")
    from recbole_gro.utils.random_state import global_state_kept

    with global_state_kept():
        return _tried(given.models, given.write, settings)


def _tried(models: list[str], page: Path | None, words: dict[str, str]) -> int:
    from recbole_gro.config.files import values_of
    from recbole_gro.config.models import CANNOT_SERVE, sequential_model, sequential_models
    from recbole_gro.quick_start.model_table import table, table_row
    from recbole_gro.quick_start.model_trials import TRIALS_BY_ROLE, ModelTrials, check_settings, write_first_users

    before = _page(page) if page else ""  # what cannot work is said before the trials
    for model in set(models) - set(sequential_models()):
        sequential_model(model)
    check_settings(words)
    settings = {name: values_of(name, text) for name, text in words.items()}
    rows, tried = {}, models or sorted(sequential_models())
    with tempfile.TemporaryDirectory() as folder:
        data_path = write_first_users(Path(folder))
        for model in tried if settings else ():
            if model not in CANNOT_SERVE:
                ModelTrials(model, data_path, Path(folder), **settings)  # refuses those that it does not read
        with progress_bar("models", len(tried), "models") as bar:
            for model in tried:
                rows[model] = table_row(model, data_path, settings)
                bar.update()
    print(terminal.for_output(table(rows)))
    if page:
        _write_table(table(rows).markdown(), page, before)
    works = all(row[role] == "works" for row in rows.values() for role in TRIALS_BY_ROLE)
    return 0 if works or not models else 1


def _page(page: Path) -> str:
    """Return the text of a page.

    Raises:
        UserError: it cannot be read, or has no marks of a table.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--write: {page} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not 0 <= text.find(START) < text.find(END):
        raise UserError(f"--write: {page} has no line {START} with a line {END} after it, between which the table goes")
    return text


def _write_table(table: str, page: Path, text: str) -> None:
    """Replace the table between the marks of a page."""
    from recbole_gro.utils.files import write_whole

    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    write_whole(page, f"{before}{START}\n{table}\n{END}{after}")
