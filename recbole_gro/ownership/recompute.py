"""The check of a finished verification by somebody else: its results are computed again."""

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from recbole_gro.ownership.commitment import digest_of, probes_digest
from recbole_gro.ownership.found_references import find_references
from recbole_gro.ownership.key import check_secret_marks, sha256
from recbole_gro.ownership.method import NoVerdict, Probes, create_method
from recbole_gro.ownership.method_output import checked_probes
from recbole_gro.ownership.outcome import outcome
from recbole_gro.ownership.references import load_references, unchecked_data
from recbole_gro.ownership.stored_probes import MOST_ROUNDED, differing, without
from recbole_gro.ownership.suspect import Answers, most_frequent, n_sent_twice
from recbole_gro.serving.saved_target import load_target
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.own_code import fault_of_own_code

TOLERANCE = 1e-6  # relative, of the numbers of a verdict


def recompute(
    file: str, owner: str | None = None, data_path: str | None = None, references: Sequence[str] = ()
) -> dict[str, Any]:
    """Check the results of a verification: key and probes against the commitment, and the verdict against the lists.

    Args:
        file: results.json.
        owner: checkpoint of the owner's model: from it and the references the probes and the lists of the owner's
            models are computed again too, and its items are compared. Other processors and versions round scores
            otherwise, which exchanges neighbours in a few lists: probes that come out differently are left out, and
            the claim is to be the same without them.
        data_path: folder of the dataset's folder, for methods that read users' histories.
        references: checkpoints, in any order. Those that are not given are looked for where the results name them, and
            below the folder of the results.

    Returns:
        The results with the verdict computed again, and `left_out`, the number of probes that came out differently.

    Raises:
        UserError: something differs, or the file holds no lists; the message says what.
    """
    with _damage_named(file):
        results = json.loads(Path(file).read_text(encoding="utf-8"))
        _check_verification(file, results)
        commitment, key, counts = results["commitment"], bytes.fromhex(results["key"]), dict(results["answers"])
        probes = Probes(results["probes"], results["expected"])
        counts = {name: counts[name] for name in ("repeated", "changed", "unknown", "failed")}
        counts["sent_twice"] = n_sent_twice(probes.histories)
        counts["reason"] = most_frequent(results["failures"])
        method = create_method(results["method"], results["settings"])
        for part in ("method", "settings"):
            _check_equal(file, f"committed {part}", results[part], commitment[part])
        _check_equal(file, "committed suspect", results["suspect"], commitment["suspect"]["black_box"])
        _check_equal(file, "sha256 of the key", sha256(key), commitment["key_sha256"])
        _check_equal(file, "sha256 of the probes", probes_digest(probes), commitment["probes_sha256"])
        lists = torch.tensor(results["suspect_lists"])
        _check_equal(file, "number of histories without a list", int((lists == 0).all(1).sum()), counts["failed"])
        found = outcome(method, probes, Answers(lists=lists, **counts))
        _check_equal(file, "verdict", found["verdict"], results["verdict"])
        of_owner, of_others = commitment["owner"], dict(commitment["references"])
        tokens = list(results["item_tokens"])
    left_out: list[int] = []
    if references and owner is None:
        raise UserError("references: --recompute reads them with --owner alone; give both")
    if owner is not None:
        model = load_target(owner, data_path=data_path)
        _check_equal(file, "sha256 of the owner's checkpoint", digest_of(owner), of_owner)
        # a permutation of them is a key of its own: one can be found under which another model seems marked
        _check_equal(file, "order of the item_tokens", tokens, model.item_tokens)
        if method.key_was_planted:
            check_secret_marks(owner, model)
        try:
            found_at = find_references(file, of_others, references, of_owner)
            loaded = load_references([*found_at.values()], model)
            others = dict(zip(found_at, loaded.values(), strict=True))
            found["data_unchecked"] = unchecked_data(model, others) if method.needs_references else None
            n, n_items = len(probes.histories), len(model.item_tokens or ())
            again = checked_probes(method.name, method.probes(model, others, key, n), n, n_items)
        except NoVerdict as reason:
            raise UserError(f"recompute: {reason}") from reason
        left_out = _check_probes(file, again, probes)
        if left_out:
            kept, rows = without(probes, left_out)
            claims = [
                (one["verdict"] or {}).get("is_claim")
                for one in (found, outcome(method, kept, Answers(lists=lists[rows], **counts)))
            ]
            _check_equal(file, f"claim without the {len(left_out)} probes that come out differently here", *claims)
    return results | found | {"left_out": len(left_out)}


def _check_verification(file: str, results: dict[str, Any]) -> None:
    """Check that a file of results is that of a verification, and of one that has something to recompute."""
    if not {"method", "suspect"} & results.keys():  # a run, an audit and detect write a results.json too
        raise UserError(
            f"recompute: {file} holds the results of another command; give the results.json in the --output_dir of "
            "recbole-gro verify"
        )
    if results.get("refused") and "commitment" not in results:
        raise UserError(
            f"recompute: the verification of {file} ended before its commitment, so that there is nothing to "
            f"recompute: {results['refused']}"
        )


def _check_probes(file: str, made: Probes, stored: Probes) -> list[int]:
    """Return the places of the few probes that another machine's rounding made others."""
    places = differing(made, stored)
    n = len(stored.histories)
    if places is None or len(places) > MOST_ROUNDED * n:
        how_many = "what they are compared with differs" if places is None else f"{len(places)} of {n} differ"
        raise UserError(
            f"recompute: {file}: the probes made from the key and the models are not the stored ones: {how_many}, "
            f"where another machine's rounding may change {100 * MOST_ROUNDED:.0f} %"
        )
    return places


@contextlib.contextmanager
def _damage_named(file: str) -> Iterator[None]:
    """Report what a file of results lacks, or what is damaged, in one line."""
    try:
        yield
    except UserError:
        raise
    except IsADirectoryError as error:
        raise UserError(f"recompute: {file} is a folder; name the results.json of a verification in it") from error
    # a RecursionError is a RuntimeError
    except (OSError, LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        if fault := fault_of_own_code(error):  # of a verdict
            raise fault from error
        reason = f"it lacks {error.args[0]}" if isinstance(error, KeyError) else "a value is damaged"
        reason = str(error.strerror) if isinstance(error, OSError) else reason
        reason = "it is not JSON" if isinstance(error, json.JSONDecodeError) else reason
        raise UserError(f"recompute: {file} holds no evidence of a verification: {reason}") from error


def _check_equal(file: str, what: str, found: Any, stored: Any) -> None:
    if not _close(found, stored):
        if isinstance(found, dict) and isinstance(stored, dict):
            [name, *_] = [name for name in {**stored, **found} if not _close(found.get(name), stored.get(name))]
            what, found, stored = f"{name} of the {what}", found.get(name), stored.get(name)
        plain = all(isinstance(value, str | int | float) for value in (found, stored))
        detail = f": {found} here, {stored} there" if plain else ""
        raise UserError(f"recompute: {file}: the {what} is not the stored one{detail}")


def _close(one: Any, other: Any) -> bool:
    """Say whether plain values are equal but for the rounding of their numbers."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE**2)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_close, one, other))
    return bool(one == other)
