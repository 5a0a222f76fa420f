"""The command `recbole-gro settings`: search all settings, of this plugin and of RecBole."""

import difflib
import sys

from recbole_gro.cli.plugin_option import add_plugins, import_given
from recbole_gro.utils.command_line import Parser

EXAMPLES = {
    "recbole-gro settings lambda": "settings whose name or meaning has the word",
    "recbole-gro settings learning rate": "both words, in any order; in quotation marks as they stand",
    "recbole-gro settings --plugins=[my_parts]": "all of them, those of a plugin too",
}


def parser() -> Parser:
    """Return the parser of the options."""
    made = Parser(
        prog="recbole-gro settings",
        description="Search all settings by name and meaning: type, default, meaning, and what reads each.\n"
        "The exit status is 1 where none matches.",
        examples=EXAMPLES,
    )
    made.add_argument("words", nargs="*", metavar="WORD", help="text in any case; none: all settings")
    add_plugins(made)
    return made


def work(words: list[str]) -> int:
    """Print the settings that match.

    Returns:
        The exit status: 0, or 1 where none matches.

    Raises:
        UserError: an invalid word, or a plugin that cannot be imported.
    """
    given = parser().parse_args(words)
    from recbole_gro.config.reference import all_keys, matching

    import_given(given)
    if entries := matching(*given.words):
        print("\n".join(entries))
        return 0
    near = difflib.get_close_matches("_".join(given.words).lower(), all_keys(), n=5, cutoff=0.5)
    hint = f"; the nearest are {', '.join(near)}" if near else ""
    if set("*?") & set("".join(given.words)):
        hint = "; a WORD is text that is searched for, no pattern: leave * and ? out"
    print(f"recbole-gro settings: no setting matches {' '.join(given.words)!r}{hint}", file=sys.stderr)
    return 1
