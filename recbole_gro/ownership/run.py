"""A verification from top to bottom: commit to secret probes, query the suspect, judge its lists, report."""

import contextlib
import datetime
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from recbole_gro.audit.description import Description
from recbole_gro.audit.journal import Journal
from recbole_gro.ownership.key import note_revealed, read_key, revealed_by, sha256, warn_if_revealed
from recbole_gro.ownership.method import Probes, Refusal, Verdict, VerificationMethod, create_method
from recbole_gro.ownership.references import check_trainable, load_references, train_references
from recbole_gro.ownership.report import save_results, summary
from recbole_gro.ownership.suspect import REPEATED, Asked, ask, describe_suspect
from recbole_gro.report.environment import environment
from recbole_gro.serving.saved_target import SavedTarget, load_target
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import one_at_a_time, write_whole
from recbole_gro.utils.log import console, logged_to, show, shown_on_console
from recbole_gro.utils.random_state import global_state_kept
from recbole_gro.utils.terminal import Text

COMMITMENT, RESULTS, ANSWERS = "commitment.json", "results.json", "answers.jsonl"


@global_state_kept()
def run_verification(
    owner: str,
    suspect: str,
    key: str,
    *,
    method: str = "fingerprint",
    probes: int = 2000,
    references: Sequence[str] | int = (),
    data_path: str | None = None,
    output_dir: str | None = None,
    only_commit: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Say whether a suspect is a copy of the owner's model, with evidence that a third party can recompute.

    A verification of the same arguments in `output_dir` is resumed; answers that it has are not requested again.

    Args:
        owner: checkpoint of the model whose copies are looked for.
        suspect: a yaml file that describes a service as an audit's does, a checkpoint (.pth), or module:function.
        key: file with the secret that decides the probes; made where it does not exist.
        method: name of a verification method.
        probes: number of histories that the suspect answers.
        references: checkpoints of models that differ from the owner's by their seed alone, or how many to train.
        data_path: folder of the dataset's folder, for the training of references.
        output_dir: folder of everything that is written; None: runs/verify-TIME.
        only_commit: whether to end before the suspect is queried, once the commitment is written.
        settings: of the method.

    Returns:
        The contents of results.json, or those of commitment.json with `only_commit`.

    Raises:
        UserError: invalid input, or a suspect that gives no lists.
    """
    made = create_method(method, settings or {})
    if type(probes) is not int or probes < 1:
        raise UserError(f"probes: {probes!r} is not allowed; it takes a whole number >= 1")
    if references and not made.needs_references:
        raise UserError(f"references: the method {method} compares with none; leave them out, or name another method")
    fewest = made.settings.get("min_references", 0)
    if isinstance(references, int) and made.needs_references and references < fewest:
        raise UserError(f"references: {references} is too few; {method} takes {fewest} or more (min_references)")
    for file in () if isinstance(references, int) else references:
        if not os.path.isfile(file):
            raise UserError(
                f"references: there is no checkpoint {file}; give checkpoints, separated by commas, or how many to "
                f"train, a whole number >= {fewest}"
            )
    owners = load_target(owner, data_path=data_path)
    if owners.item_tokens is None:
        raise UserError(f"owner: {owner} holds no item tokens, as it is a surrogate; give the owner's target.pth")
    if output_dir and os.path.exists(output_dir) and not os.path.isdir(output_dir):
        raise UserError(f"output_dir: {output_dir} is a file; it takes a folder")
    if made.key_was_planted and not os.path.exists(key):
        raise UserError(f"key: no file {key}; {method} takes the key that the owner's model was trained with")
    described, refusal, others = None, Refusal(), dict[str, SavedTarget]()
    try:  # what is wrong with the suspect, a reference or the key leaves no folder
        made.check_owner(owners)
        if made.needs_references:
            if isinstance(references, int):
                check_trainable(owners)
            else:
                others = load_references(references, owners)
        described = describe_suspect(suspect, owners.item_tokens)
    except Refusal as reason:
        refusal = reason
    is_new, secret = not os.path.exists(key), read_key(Path(key))
    folder = Path(output_dir or f"runs/verify-{datetime.datetime.now():%Y%m%d-%H%M%S-%f}")
    with one_at_a_time(folder / "verify"), logged_to(folder), shown_on_console():
        console.info(f"output: {folder}; --output_dir={folder} resumes this verification")
        results: dict[str, Any] = {"method": method, "source": made.source, "assumptions": list(made.assumptions)}
        try:
            if is_new:
                console.info(f"key: made a new one, {key}")
            if described is None:
                raise refusal
            results["revealed_by"] = revealed_by(key, secret, folder)
            warn_if_revealed(key, results["revealed_by"], made.key_was_planted)
            _check_committed(folder, {"method": made.name, "settings": made.settings, "suspect": described.public,
                                      "key_sha256": sha256(secret), "owner": _digest_of(owner)})  # fmt: skip
            if made.needs_references and isinstance(references, int):
                trained = [str(folder / "references" / f"seed-{owners.config['seed'] + 1 + place}" / "target.pth")
                           for place in range(references)]  # fmt: skip
                _check_committed(folder, {"references": trained})
                others = load_references(train_references(owners, references, folder / "references"), owners)
            chosen = made.probes(owners, others, secret, probes)
            commitment = _commitment(made, described, chosen, secret)
            commitment |= {"owner": _digest_of(owner), "references": {file: _digest_of(file) for file in others}}
            commitment = _committed(folder, commitment)
            if only_commit:
                return commitment
            results |= _judged(made, described, chosen, owners, folder)
            results |= {"commitment": commitment, "key": secret.hex()}
        except Refusal as reason:
            results |= {"verdict": None, "refused": str(reason)}
        results |= {"suspect": suspect, "environment": environment(owners.config)}
        save_results(results, folder)
        if "key" in results:
            note_revealed(key, secret, folder)
        show(Text(summary(results)))
        console.info(f"verification: {folder} holds report.html, report.md and results.json")
    return results


def _judged(
    method: VerificationMethod, described: Description, probes: Probes, owner: SavedTarget, folder: Path
) -> dict[str, Any]:
    """Query the suspect, and return the verdict with all that it is computed from."""
    tokens = owner.item_tokens or []
    most = len(probes.histories) + REPEATED
    console.info(f"verification: sends at most {most:,} queries to {described.name}")
    journal = Journal(folder / ANSWERS, most)
    asked = ask(described, probes.histories, tokens, journal)
    evidence = {
        "suspect_lists": asked.lists.tolist(),
        "probes": probes.histories,
        "expected": probes.expected,
        "item_tokens": tokens,
        "settings": method.settings,
        "asked": {name: value for name, value in asdict(asked).items() if name != "lists"} | {"lists": journal.spent},
    }
    return evidence | outcome(method, probes, asked)


def outcome(method: VerificationMethod, probes: Probes, asked: Asked) -> dict[str, Any]:
    """Return `verdict` and `refused` as results hold them; one of them is None."""
    try:
        asked.check()
        return {"verdict": as_plain(method.verdict(probes, asked.lists)), "refused": None}
    except Refusal as reason:
        return {"verdict": None, "refused": str(reason)}


def as_plain(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as results hold it."""
    return json.loads(json.dumps(asdict(verdict) | {"is_claim": verdict.is_claim}))


def recompute(file: str, owner: str | None = None, data_path: str | None = None) -> dict[str, Any]:
    """Check the results of a verification: key and probes against the commitment, and the verdict against the lists.

    Args:
        file: results.json.
        owner: checkpoint of the owner's model, with the references where the results name them: from these the probes
            and the lists of the owner's models are computed again too.
        data_path: folder of the dataset's folder, for methods that read users' histories.

    Returns:
        The verdict, computed again.

    Raises:
        UserError: something differs, or the file holds no lists; the message says what.
    """
    with _damage_named(file):
        results = json.loads(Path(file).read_text(encoding="utf-8"))
        commitment, key, asked = results["commitment"], bytes.fromhex(results["key"]), dict(results["asked"])
        del asked["lists"]
        probes = Probes(results["probes"], results["expected"])
        method = create_method(results["method"], results["settings"])
        for part in ("method", "settings"):
            _check_equal(file, f"committed {part}", results[part], commitment[part])
        _check_equal(file, "committed suspect", results["suspect"], commitment["suspect"]["black_box"])
        _check_equal(file, "sha256 of the key", sha256(key), commitment["key_sha256"])
        _check_equal(file, "sha256 of the probes", _probes_digest(probes), commitment["probes_sha256"])
        found = outcome(method, probes, Asked(lists=torch.tensor(results["suspect_lists"]), **asked))
        _check_equal(file, "verdict", found["verdict"], results["verdict"])
        of_owner, of_others = commitment["owner"], list(commitment["references"])
    if owner is not None:
        model = load_target(owner, data_path=data_path)
        _check_equal(file, "sha256 of the owner's checkpoint", _digest_of(owner), of_owner)
        try:
            references = load_references(of_others, model)
            for reference, digest in commitment["references"].items():
                _check_equal(file, f"sha256 of {reference}", _digest_of(reference), digest)
            again = method.probes(model, references, key, len(probes.histories))
        except Refusal as reason:
            raise UserError(f"recompute: {reason}") from reason
        _check_equal(file, "sha256 of the probes made from the key", _probes_digest(again), commitment["probes_sha256"])
    return results | found


@contextlib.contextmanager
def _damage_named(file: str) -> Iterator[None]:
    """Report what a file of results lacks, or what is damaged, in one line."""
    try:
        yield
    except UserError:
        raise
    except (OSError, LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = f"it lacks {error.args[0]}" if isinstance(error, KeyError) else "a value is damaged"
        reason = str(error.strerror) if isinstance(error, OSError) else reason
        reason = "it is not JSON" if isinstance(error, json.JSONDecodeError) else reason
        raise UserError(f"recompute: {file} holds no evidence of a verification: {reason}") from error


def _check_equal(file: str, what: str, found: Any, stored: Any) -> None:
    if found != stored:
        if isinstance(found, dict) and isinstance(stored, dict):
            [name, *_] = [name for name in {**stored, **found} if found.get(name) != stored.get(name)]
            what, found, stored = f"{name} of the {what}", found.get(name), stored.get(name)
        plain = all(isinstance(value, str | int | float) for value in (found, stored))
        detail = f": {found} here, {stored} there" if plain else ""
        raise UserError(f"recompute: {file}: the {what} is not the stored one{detail}")


def _commitment(method: VerificationMethod, described: Description, probes: Probes, key: bytes) -> dict[str, Any]:
    return {
        "method": method.name,
        "settings": method.settings,
        "suspect": described.public,
        "probes": len(probes.histories),
        "key_sha256": sha256(key),
        "probes_sha256": _probes_digest(probes),
    }


def _check_committed(folder: Path, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the commitment that a folder holds, after a check of some of its parts; None where there is none.

    Args:
        folder: of the verification.
        given: parts; of `references` the names alone may be given, as a list.

    Raises:
        UserError: a part is another one.
    """
    file = folder / COMMITMENT
    if not file.exists():
        return None
    earlier = json.loads(file.read_text(encoding="utf-8"))
    held = {name: list(earlier.get(name, ())) if isinstance(value, list) else earlier.get(name)
            for name, value in given.items()}  # fmt: skip
    if other := [name for name, value in json.loads(json.dumps(dict(given))).items() if value != held[name]]:
        raise UserError(
            f"output_dir: {folder} holds a commitment to something else ({', '.join(other)}); name another folder"
        )
    return earlier


def _committed(folder: Path, commitment: dict[str, Any]) -> dict[str, Any]:
    """Write the commitment with the time, or return the one that the folder holds.

    Raises:
        UserError: the folder holds another one.
    """
    file = folder / COMMITMENT
    plain = json.loads(json.dumps(commitment))
    if (earlier := _check_committed(folder, plain)) is not None:
        plain = earlier
    else:
        plain["time"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        write_whole(file, json.dumps(plain, indent=2) + "\n")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    show(Text(f"commitment: sha256 {digest} of {file}; publish it before the suspect is queried"))
    return plain


def _digest_of(file: str) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _probes_digest(probes: Probes) -> str:
    return sha256(json.dumps([probes.histories, probes.expected], sort_keys=True).encode())
