"""The command `recbole-gro verify`."""

from typing import Any

from recbole_gro.cli.plugin_option import add_plugins, import_given
from recbole_gro.utils.command_line import Parser, options_and_settings
from recbole_gro.utils.errors import UserError, check_spelling

EXAMPLES = {
    "recbole-gro verify --owner=target.pth --suspect=suspect.yaml --references=8 --key=verify.key": "a service over "
    "HTTP, against 8 references that are trained first",
    "recbole-gro verify --owner=target.pth --suspect=suspect.pth --references=a.pth,b.pth,c.pth,d.pth,e.pth "
    "--key=verify.key": "a checkpoint, against references that exist",
    "recbole-gro verify --recompute=results.json --owner=target.pth": "check the results of somebody else",
}


def parser() -> Parser:
    """Return the parser of the options; all else is a setting of the method."""
    made = Parser(
        prog="recbole-gro verify",
        usage="recbole-gro verify --owner=FILE --suspect=SUSPECT --key=FILE [OPTION ...] [--KEY=VALUE ...]",
        description="Say whether a suspect recommender is a copy of the owner's model, with a p-value.",
        examples=EXAMPLES,
        epilog="Every other --KEY=VALUE is a setting of the method, such as --level=0.001.",
    )
    made.add_argument("--owner", metavar="FILE", help="checkpoint of the owner's model, target.pth of a run")
    made.add_argument("--suspect", help="yaml file as of an audit, checkpoint (.pth), or module:function")
    made.add_argument("--key", metavar="FILE", help="secret that decides the probes; made where there is none")
    made.add_argument("--method", default="fingerprint", help="verification method (default fingerprint)")
    made.add_argument("--probes", default="2000", metavar="N", help="histories that the suspect answers (default 2000)")
    made.add_argument("--references", metavar="FILES|N", help="checkpoints, separated by commas, or how many to train")
    made.add_argument(
        "--data_path", metavar="FOLDER", help="of the dataset's folder, for methods and references that need data"
    )
    made.add_argument("--output_dir", metavar="FOLDER", help="of everything that is written (default runs/verify-TIME)")
    made.add_argument("--only_commit", action="store_true", help="end before a query is sent to the suspect")
    add_plugins(made)
    made.add_argument("--recompute", metavar="FILE", help="results.json to check; with --owner from the models on")
    return made


def work(words: list[str]) -> int:
    """Verify a suspect, or recompute the results of a verification.

    Returns:
        1 where there is no verdict, else 0.

    Raises:
        UserError: an invalid word, setting, file, plugin or answer.
    """
    options, settings = options_and_settings(parser(), words)
    given: dict[str, Any] = vars(options)
    import_given(options)
    file = given.pop("recompute")
    del given["plugins"]
    from recbole_gro.config.files import value_of
    from recbole_gro.ownership.method import methods
    from recbole_gro.ownership.recompute import recompute
    from recbole_gro.ownership.report import summary
    from recbole_gro.ownership.run import run_verification

    check_spelling(settings, given.keys(), {key.name for method in methods for key in methods[method].keys})
    if file:
        plain = vars(parser().parse_args([]))
        unread = [name for name in ("suspect", "key", "method", "probes", "references", "output_dir", "only_commit")
                  if given[name] != plain[name]]  # fmt: skip
        if unread := [*unread, *settings]:
            raise UserError(f"{unread[0]}: --recompute does not read it; it takes --owner and --data_path")
        results = recompute(file, given["owner"], given["data_path"])
        checked = (
            "models, probes and verdict" if given["owner"] else "key, probes and verdict; without --owner no model"
        )
        left_out, n = results["left_out"], len(results["probes"])
        differs = "nothing differs"
        if left_out:
            differs = f"the claim is the same without {left_out:,} of {n:,} probes that come out differently here"
        print(f"{summary(results)} Recomputed: {differs} ({checked}).")
        return int(bool(results["refused"]))
    for name in ("owner", "suspect", "key"):
        if not given[name]:
            raise UserError(f"{name}: not set; {parser().prog} --help describes it")
    references = given["references"] or ""
    if given["references"] is not None and not references.strip(", "):
        raise UserError("references: empty; give checkpoints, separated by commas, or how many to train")
    given["references"] = (
        int(references) if references.isdecimal() else [file for file in references.split(",") if file]
    )
    given["probes"] = value_of("probes", given["probes"])
    results = run_verification(**given, settings={name: value_of(name, value) for name, value in settings.items()})
    return int(bool(results.get("refused")))
