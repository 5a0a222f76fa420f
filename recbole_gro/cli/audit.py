"""The command `recbole-gro audit`."""

from recbole_gro.utils.command_line import Parser, options_and_settings

NOTICE = "For services that you own or are allowed to test."
EXAMPLES = {
    "recbole-gro audit --black_box=service.yaml --query_sequences=300": "15,000 lists of a service over HTTP",
    "recbole-gro audit --black_box=service.yaml --histories=test.inter": "with accuracy on test histories of your own",
    "recbole-gro audit --black_box=my_module:recommend --catalogue=items.txt": "a Python function",
}


def parser() -> Parser:
    """Return the parser of the options; all else is --KEY=VALUE."""
    made = Parser(
        prog="recbole-gro audit",
        usage="recbole-gro audit --black_box=SERVICE [OPTION ...] [--KEY=VALUE ...]",
        description=f"{NOTICE} It measures how much of a live recommender leaks through its lists.",
        examples=EXAMPLES,
        epilog="Every other --KEY=VALUE is a setting of the attack, such as --query_sequences=300, "
        "--attacker=strongest or --output_dir=FOLDER.\n`recbole-gro settings` searches them.",
    )
    made.add_argument("--black_box", required=True, help="service.yaml, or module:function")
    made.add_argument("--histories", metavar="FILE", help="test histories, a RecBole atomic file (.inter)")
    made.add_argument("--catalogue", metavar="FILE", help="an item id per line; in place of service.yaml's")
    made.add_argument("--k", type=int, help="length of a list; in place of service.yaml's")
    made.add_argument("--item_type", choices=("str", "int"), help="of item ids in requests; likewise")
    return made


def work(words: list[str]) -> None:
    """Audit a service.

    Raises:
        UserError: an invalid word, setting, description or answer.
    """
    options, settings = options_and_settings(parser(), words)
    given = {name: value for name in ("catalogue", "k", "item_type") if (value := getattr(options, name)) is not None}
    from recbole_gro.audit.run import run_audit

    run_audit(options.black_box, options.histories, description=given, command_line=settings)
