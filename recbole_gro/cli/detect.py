"""The command `recbole-gro detect`."""

from recbole_gro.cli.plugin_option import add_plugins, import_given
from recbole_gro.utils.command_line import Parser, options_and_settings

EXAMPLES = {
    "recbole-gro detect --target=runs/NAME/target.pth --log=runs/NAME/service.db": "the ledger of recbole-gro serve",
    "recbole-gro detect --target=target.pth --log=access-none.jsonl --detector=transitions": "the access_log of a run",
    "recbole-gro detect --target=target.pth --log=own.csv --benign=histories.inter": "a csv file with column history",
}


def parser() -> Parser:
    """Return the parser of the options; all else is --KEY=VALUE."""
    made = Parser(
        prog="recbole-gro detect",
        usage="recbole-gro detect --target=CHECKPOINT --log=FILE [OPTION ...] [--KEY=VALUE ...]",
        description="Find histories, windows of queries and API keys in an access log that are not like benign users'.",
        examples=EXAMPLES,
        epilog="Every other --KEY=VALUE is a setting of detection: --detector=[transitions,mmd], "
        "--false_positive_rate=0.01,\n--detection_window=100, one of a detector, or the --served_k of the service.",
    )
    made.add_argument("--target", required=True, metavar="CHECKPOINT", help="the served model, target.pth of a run")
    made.add_argument("--log", required=True, metavar="FILE", help="service.db, access-NAME.jsonl, or a csv file")
    made.add_argument(
        "--benign", metavar="FILE", help="histories of benign users, an atomic file (the target's own data)"
    )
    made.add_argument("--output_dir", "--output", metavar="FOLDER", help="of the report (runs/detect-TIME)")
    add_plugins(made)
    return made


def work(words: list[str]) -> None:
    """Judge a log.

    Raises:
        UserError: an invalid word, setting, checkpoint, log or plugin.
    """
    options, settings = options_and_settings(parser(), words)
    import_given(options)
    from recbole_gro.http_service.detect import run_detect

    run_detect(options.target, options.log, options.benign, options.output_dir, settings)
