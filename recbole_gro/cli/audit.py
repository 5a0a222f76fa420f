"""The command `recbole-gro audit`."""

from collections.abc import Sequence

from recbole_gro.audit.run import NOTICE, run_audit
from recbole_gro.utils.command_line import Parser, exit_code, options_and_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, 2 after one line on invalid input, 130 after an interrupt."""
    parser = Parser(
        prog="recbole-gro audit",
        description=f"{NOTICE} It measures how much of a live recommender leaks through its lists.",
        epilog="Further words are settings of the attack, --KEY=VALUE, such as --query_sequences=300, "
        "--attacker=strongest, --surrogate_model=SASRec or --output_dir=FOLDER; recbole-gro --help lists them.",
    )
    parser.add_argument("--black_box", required=True, help="service.yaml, or module:function")
    parser.add_argument("--histories", metavar="FILE", help="test histories, a RecBole atomic file (.inter)")
    parser.add_argument("--catalogue", metavar="FILE", help="an item id per line; in place of service.yaml's")
    parser.add_argument("--k", type=int, help="length of a list; in place of service.yaml's")
    parser.add_argument("--item_type", choices=("str", "int"), help="of item ids in requests; likewise")

    def work(words: list[str]) -> None:
        options, settings = options_and_settings(parser, words)
        given = {name: value for name in ("catalogue", "k", "item_type") if (value := getattr(options, name))}
        run_audit(options.black_box, options.histories, description=given, command_line=settings)

    return exit_code("recbole-gro audit", work, arguments)
