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
    "recbole-gro verify --method=aow --owner=target-aow.pth --key=owner.key": "whether a marked model shows its own "
    "marks; nothing is queried, written or revealed",
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
    made.add_argument(
        "--suspect",
        help="yaml file as of an audit, checkpoint (.pth), or module:function; without it "
        "aow and injected look for the marks in the owner's own model",
    )
    made.add_argument("--key", metavar="FILE", help="secret that decides the probes; made where there is none")
    made.add_argument("--method", default="fingerprint", help="verification method (default fingerprint)")
    made.add_argument("--probes", default="2000", metavar="N", help="histories that the suspect answers (default 2000)")
    made.add_argument(
        "--k", metavar="N", help="items of a list that count (default 10); a service's are in its yaml file"
    )
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
    """Verify a suspect, check a model's own marks, or recompute the results of a verification.

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
    from recbole_gro.ownership.run import run_verification

    check_spelling(settings, given.keys(), {key.name for method in methods for key in methods[method].keys})
    if file:
        return _recompute(file, given, settings)
    is_self_check = given["suspect"] is None and methods[given["method"]].key_was_planted
    for name in ("owner", "key") if is_self_check else ("owner", "suspect", "key"):
        if not given[name]:
            raise UserError(f"{name}: not set; {parser().prog} --help describes it")
    given |= {name: value_of(name, given[name]) for name in ("probes", "k") if given[name] is not None}
    settings = {name: value_of(name, value) for name, value in settings.items()}
    if is_self_check:
        return _check_marks(given, settings)
    references = given["references"] or ""
    given["references"] = int(references) if references.isdecimal() else _files(given["references"])
    results = run_verification(**given, settings=settings)
    return int(bool(results.get("refused")))


def _files(references: str | None) -> list[str]:
    """Return the words of --references, separated by commas."""
    if references is not None and not references.strip(", "):
        raise UserError("references: empty; give checkpoints, separated by commas, or how many to train")
    return [file for file in (references or "").split(",") if file]


def _check_marks(given: dict[str, Any], settings: dict[str, Any]) -> int:
    from recbole_gro.ownership.report import self_check_text
    from recbole_gro.ownership.self_check import check_marks

    _check_read(
        given,
        ("references", "output_dir", "only_commit"),
        "the check of a model's own marks does not read it; leave it out, or name a --suspect",
    )
    owner, method = given["owner"], given["method"]
    found = check_marks(
        owner,
        given["key"],
        method,
        **{name: given[name] for name in ("probes", "k", "data_path")},
        settings=settings,
    )
    print(self_check_text(owner, method, found))
    return int(bool(found["refused"]))


def _recompute(file: str, given: dict[str, Any], settings: dict[str, Any]) -> int:
    from recbole_gro.ownership.recompute import recompute
    from recbole_gro.ownership.report import dated_hashes, summary

    advice = "--recompute does not read it; it takes --owner, --references and --data_path"
    _check_read(given, ("suspect", "key", "method", "probes", "k", "output_dir", "only_commit"), advice)
    if settings:
        raise UserError(f"{next(iter(settings))}: {advice}")
    results = recompute(file, given["owner"], given["data_path"], _files(given["references"]))
    without = "key, probes and verdict; without --owner no model, nor which item is which"
    checked = "models, probes and verdict" if given["owner"] else without
    left_out, n = results["left_out"], len(results["probes"])
    differs = "nothing differs"
    if left_out:
        differs = f"the claim is the same without {left_out:,} of {n:,} probes that come out differently here"
    print(f"{summary(results)} Recomputed: {differs} ({checked}).")
    print(dated_hashes(results))
    return int(bool(results["refused"]))


def _check_read(given: dict[str, Any], unread: tuple[str, ...], advice: str) -> None:
    """Check that no option is given that is not read."""
    plain = vars(parser().parse_args([]))
    for name in unread:
        if given[name] != plain[name]:
            raise UserError(f"{name}: {advice}")
