"""The option `--plugins` of commands that load checkpoints."""

import argparse

from recbole_gro.utils.command_line import Parser


def add_plugins(made: Parser) -> None:
    """Add `--plugins` to a parser."""
    meaning = "modules to import first, such as [my_parts], for models and parts of your own"
    made.add_argument("--plugins", metavar="MODULES", help=meaning)


def import_given(options: argparse.Namespace) -> None:
    """Import the installed plugins and the modules that `--plugins` names.

    Raises:
        UserError: a module does not exist or fails when it is imported.
    """
    from recbole_gro.config.plugins import import_plugins

    import_plugins({"plugins": options.plugins} if options.plugins else {})
