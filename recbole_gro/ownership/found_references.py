"""The references of a finished verification, found where whoever recomputes it has them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from recbole_gro.ownership.commitment import digest_of
from recbole_gro.utils.errors import UserError


def find_references(
    results: str, committed: Mapping[str, str], given: Sequence[str], owner: str = ""
) -> dict[str, str]:
    """Return where the references of a verification are, by the name that the results have for them.

    One is looked for among the given files, then where the results name it, then below the folder of the results, by
    the end of its path: the references of a folder that was handed over whole are found. Its sha256 decides, so that
    the owner's model, or another reference, in such a place is no wrong file: the reference is missing.

    Args:
        results: results.json.
        committed: sha256 of each reference, by name, as in the commitment.
        given: checkpoints, in any order.
        owner: sha256 of the owner's checkpoint.

    Raises:
        UserError: one of the given files is none of the references, or a reference is not found.
    """
    by_digest: dict[str, str] = {}
    for file in given:
        if not Path(file).is_file():
            raise UserError(f"references: there is no checkpoint {file}; give the files of the references")
        if (digest := digest_of(file)) not in committed.values():
            which = "the owner's own model, " if digest == owner else ""
            reason = f"is {which}none of those that {results} was committed to, by its sha256"
            raise UserError(f"references: {file} {reason}")
        by_digest[digest] = file
    found: dict[str, str] = {}
    for name, digest in committed.items():
        places = [by_digest[digest]] if digest in by_digest else [*_places(name, Path(results).parent)]
        there = {file: digest_of(file) for file in places if Path(file).is_file()}
        fitting = [file for file, own in there.items() if own == digest]
        wrong = [file for file, own in there.items() if own not in (owner, *committed.values())]
        if fitting:
            found[name] = fitting[0]
        elif wrong:
            of = "" if wrong[0] == name else f" of {name}"
            raise UserError(
                f"references: the sha256 of {wrong[0]} is not the stored one in {results}{of}: it is another model, or "
                "was changed; name the references' files, --references=FILE,FILE,.."
            )
        else:
            of_owner = [file for file, own in there.items() if own == owner]
            hint = f" ({of_owner[0]} is the owner's model)" if of_owner else ""
            raise UserError(
                f"references: there is no {name} here, nor below the folder of {results}{hint}; name the references' "
                "files, --references=FILE,FILE,.."
            )
    return found


def _places(name: str, folder: Path) -> Iterator[str]:
    """Yield the path of a reference as it was named, then its ends below a folder, the longest first."""
    yield name
    parts = Path(name).parts
    for start in range(len(parts)):
        yield str(folder.joinpath(*parts[start:]))
