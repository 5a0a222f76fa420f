"""A verification from top to bottom: commit to secret probes, query the suspect, judge its lists, report."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recbole_gro.audit.description import Description
from recbole_gro.audit.journal import Journal
from recbole_gro.ownership.commitment import COMMITMENT, check_committed, committed, digest_of, probes_digest
from recbole_gro.ownership.key import (
    check_file_name,
    check_planted_key,
    check_secret_marks,
    note_revealed,
    read_key,
    revealed_by,
    sha256,
    warn_if_revealed,
)
from recbole_gro.ownership.method import NoVerdict, Probes, VerificationMethod, create_method, is_packaged
from recbole_gro.ownership.method_output import check_described, check_repeated, checked_probes
from recbole_gro.ownership.outcome import repeatable_outcome, without_verdict
from recbole_gro.ownership.references import check_trainable, load_references, train_references, unchecked_data
from recbole_gro.ownership.report import save_results, summary
from recbole_gro.ownership.stored_probes import store_probes, stored_probes
from recbole_gro.ownership.suspect import describe_suspect, query_suspect
from recbole_gro.report.environment import environment
from recbole_gro.serving.saved_target import SavedTarget, load_target
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import make_folder
from recbole_gro.utils.log import console, logged_to, show, shown_on_console
from recbole_gro.utils.random_state import global_state_kept
from recbole_gro.utils.terminal import Text
from recbole_gro.utils.work_folder import RESULTS, refuse_other_work, resumed_by_folder, used_alone, work_folder

ANSWERS, LOCK = "answers.jsonl", "verify.lock"


@dataclass(frozen=True, kw_only=True)
class LineUp:
    """Hold the models of a verification and its suspect.

    Attributes:
        owner: the model whose copies are looked for.
        owner_file: its checkpoint.
        references: models that were given, by checkpoint.
        n_trained: number of references that are trained in the verification's folder, in place of given ones.
        suspect: description of the service that is queried.
    """

    owner: SavedTarget
    owner_file: str
    references: dict[str, SavedTarget]
    n_trained: int
    suspect: Description


@global_state_kept()
def run_verification(
    owner: str,
    suspect: str,
    key: str,
    *,
    method: str = "fingerprint",
    probes: int = 2000,
    references: Sequence[str] | int = (),
    k: int | None = None,
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
        k: items of a list that count, of a suspect that is a checkpoint or a function; None: 10. A yaml file has its
            own.
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
    check_described(made)
    _check_arguments(made, probes, references)
    check_file_name(key)
    model = owners_model(owner, data_path)
    if made.key_was_planted:
        check_secret_marks(owner, model)
    folder = work_folder(output_dir, "verify")
    _check_files(made, key, folder)
    # what is wrong with the suspect, a reference or the key leaves no folder
    line_up = _line_up(made, (owner, model), references, (suspect, k))
    secret, is_new = read_key(Path(key))
    make_folder(folder)
    with (
        used_alone(folder, LOCK.removesuffix(".lock")),
        logged_to(folder),
        resumed_by_folder(folder, "verification"),
        shown_on_console(),
    ):
        console.info(f"output: {folder}; --output_dir={folder} resumes this verification")
        if is_new:
            console.info(f"key: made a new one, {key}")
        results: dict[str, Any] = {"method": method, "source": made.source, "assumptions": list(made.assumptions)}
        if isinstance(line_up, NoVerdict):
            results |= without_verdict(line_up)
        else:
            results["revealed_by"] = revealed_by(key, secret, folder)
            results["data_unchecked"] = unchecked_data(model, line_up.references) if made.needs_references else None
            warn_if_revealed(key, results["revealed_by"], made.key_was_planted)
            try:
                chosen, commitment = _commit(made, line_up, probes, secret, folder)
                if only_commit:
                    return commitment
                results |= _judge(made, line_up, chosen, folder) | {"commitment": commitment, "key": secret.hex()}
            except NoVerdict as reason:
                results |= without_verdict(reason)
        results |= {"suspect": suspect, "environment": environment(model.config)}
        save_results(results, folder)
        if "key" in results:
            note_revealed(key, secret, folder)
        show(Text(summary(results)))
        console.info(f"verification: {folder} holds report.html, report.md and results.json")
    return results


def _check_arguments(method: VerificationMethod, probes: int, references: Sequence[str] | int) -> None:
    """Check the number of probes and the references, before a model is read."""
    if type(probes) is not int or probes < 1:
        raise UserError(f"probes: {probes!r} is not allowed; it takes a whole number >= 1")
    if references and not method.needs_references:
        raise UserError(
            f"references: the method {method.name} compares with none; leave them out, or name another method"
        )
    fewest = method.settings.get("min_references", 0)
    if method.needs_references and not references and "min_references" not in method.settings:
        raise UserError(
            f"references: none are given, with which {method.name} compares; give checkpoints, separated by commas, or "
            "how many to train"
        )
    if isinstance(references, int):
        if method.needs_references and references < fewest:
            raise UserError(
                f"references: {references} is too few; {method.name} takes {fewest} or more (min_references)"
            )
        return
    for file in references:
        if not os.path.isfile(file):
            raise UserError(
                f"references: there is no checkpoint {file}; give checkpoints, separated by commas, or how many to "
                f"train, a whole number >= {fewest}"
            )


def owners_model(file: str, data_path: str | None) -> SavedTarget:
    """Return the owner's model.

    Args:
        file: its checkpoint.
        data_path: folder of the dataset's folder, for methods that read users' histories.

    Raises:
        UserError: it is no checkpoint of a target.
    """
    model = load_target(file, data_path=data_path)
    if model.item_tokens is None:
        raise UserError(f"owner: {file} holds no item tokens, as it is a surrogate; give the owner's target.pth")
    return model


def _check_files(method: VerificationMethod, key: str, folder: Path) -> None:
    """Check that the folder is new or holds a verification to resume, and that a planted key is there."""
    finished = (folder / RESULTS).exists()  # without a commitment there was no verdict, which nothing resumes
    own_key = [Path(key).name] if Path(key).parent.resolve() == folder.resolve() else []
    refuse_other_work(folder, [COMMITMENT] if finished else [COMMITMENT, LOCK, *own_key])
    if method.key_was_planted:
        check_planted_key(key, method.name)


def _line_up(
    method: VerificationMethod,
    owner: tuple[str, SavedTarget],
    references: Sequence[str] | int,
    suspect: tuple[str, int | None],
) -> LineUp | NoVerdict:
    """Return the models and the suspect, or why there can be no verdict on them.

    Args:
        method: of verification.
        owner: the owner's checkpoint, and its model.
        references: as of `run_verification`.
        suspect: and its k, as of `run_verification`.

    Raises:
        UserError: the suspect or a reference is invalid.
    """
    given, n_trained = dict[str, SavedTarget](), 0
    file, model = owner
    name, k = suspect
    try:
        method.check_owner(model)
        if not isinstance(references, int):
            given = load_references(references, model)
        elif method.needs_references:
            check_trainable(model)
            n_trained = references
        return LineUp(
            owner=model,
            owner_file=file,
            references=given,
            n_trained=n_trained,
            suspect=describe_suspect(name, model.item_tokens or (), k),
        )
    except NoVerdict as reason:
        return reason


def _commit(
    method: VerificationMethod, line_up: LineUp, n: int, secret: bytes, folder: Path
) -> tuple[Probes, dict[str, Any]]:
    """Train the references that are not given, choose the probes, and commit to all of it.

    Args:
        method: of verification.
        line_up: owner's model, references and suspect.
        n: number of probes.
        secret: the key.
        folder: of the verification.

    Returns:
        The probes, and the contents of commitment.json.

    Raises:
        NoVerdict: the models are none that the method applies to.
        UserError: the folder holds a commitment to something else, or the method returns what are no probes.
    """
    owner, references, key_digest = line_up.owner, line_up.references, sha256(secret)
    parts: dict[str, Any] = {"method": method.name, "settings": method.settings, "suspect": line_up.suspect.public}
    of_owner = digest_of(line_up.owner_file)
    check_committed(folder, parts | {"key_sha256": key_digest, "owner": of_owner})
    if line_up.n_trained:
        below, first = folder / "references", owner.config["seed"] + 1
        files = [str(below / f"seed-{first + place}" / "target.pth") for place in range(line_up.n_trained)]
        check_committed(folder, {"references": files})
        references = load_references(train_references(owner, line_up.n_trained, below), owner)
    earlier = check_committed(folder, {}) or {}
    # another machine rounds otherwise, and would make others of a few
    stored, n_items = stored_probes(folder, n, earlier.get("probes_sha256", "")), len(owner.item_tokens or ())
    made = stored or method.probes(owner, references, secret, n)
    probes = checked_probes(method.name, made, n, n_items)
    if not stored and not is_packaged(method):  # another instance, as --recompute has one
        again = create_method(method.name, method.settings).probes(owner, references, secret, n)
        check_repeated(method.name, probes, checked_probes(method.name, again, n, n_items))
    parts |= {
        "probes": len(probes.histories),
        "key_sha256": key_digest,
        "probes_sha256": probes_digest(probes),
        "owner": of_owner,
        "references": {file: digest_of(file) for file in references},
    }
    commitment = committed(folder, parts)
    store_probes(folder, n, probes)
    return probes, commitment


def _judge(method: VerificationMethod, line_up: LineUp, probes: Probes, folder: Path) -> dict[str, Any]:
    """Query the suspect, and return the verdict with all that it is computed from."""
    tokens, suspect = line_up.owner.item_tokens or [], line_up.suspect
    journal = Journal(folder / ANSWERS, None, "verification")  # each query is repeated `retries` times at most
    answers = query_suspect(suspect, probes.histories, tokens, journal, reads_order=method.reads_order)
    evidence = {
        "suspect_lists": answers.lists.tolist(),
        "probes": probes.histories,
        "expected": probes.expected,
        "item_tokens": tokens,
        "settings": method.settings,
        "answers": {name: value for name, value in asdict(answers).items() if name not in ("lists", "reason")}
        | {"lists": journal.n_lists, "lost": journal.spent - journal.n_lists},
        "failures": journal.reasons,
    }
    return evidence | repeatable_outcome(method, probes, answers)
