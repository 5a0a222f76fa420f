"""The command `recbole-gro dataset convert`."""

from recbole_gro.utils.command_line import Parser

EXAMPLES = {
    "recbole-gro dataset convert ml-1m downloads/ml-1m": "writes dataset/ml-1m/ml-1m.inter, and .item",
    "recbole-gro dataset convert steam steam_reviews.json.gz --output=/data": "writes /data/steam/steam.inter",
}


def parser() -> Parser:
    """Return the parser of the options."""
    made = Parser(
        prog="recbole-gro dataset convert",
        description="Convert a published dataset to RecBole's atomic files.",
        examples=EXAMPLES,
    )
    from recbole_gro.data.raw_formats import PUBLISHED

    name = made.add_argument("name", metavar="NAME", help=f"one of {', '.join(PUBLISHED)}")
    name.completer = lambda **_: list(PUBLISHED)  # type: ignore[attr-defined]
    made.add_argument("path", metavar="PATH", help="the published file, plain or .gz, or the folder that holds it")
    made.add_argument("--output", default="dataset", help="RecBole's data_path (default %(default)s)")
    return made


def work(words: list[str]) -> None:
    """Convert a dataset and print the report on it.

    Raises:
        UserError: an invalid word or file.
    """
    given = parser().parse_args(words)
    from recbole_gro.data.convert import convert, summary

    print(summary(given.name, given.output, convert(given.name, given.path, given.output, show_progress=True)))
