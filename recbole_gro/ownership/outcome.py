"""The outcome of a verification as results.json holds it: a verdict, or why there is none."""

import copy
import json
from dataclasses import asdict
from typing import Any

from recbole_gro.ownership.method import NoVerdict, Probes, Verdict, VerificationMethod, create_method, is_packaged
from recbole_gro.ownership.method_output import check_same_verdict, checked_verdict
from recbole_gro.ownership.suspect import Answers


def outcome(method: VerificationMethod, probes: Probes, answers: Answers) -> dict[str, Any]:
    """Return `verdict` and `refused` as results hold them; one of them is None.

    Args:
        method: of verification.
        probes: that the suspect was sent.
        answers: its answers.

    Raises:
        UserError: the method returns what is no verdict.
    """
    try:
        answers.check()
        # a verdict that changes its arguments must not change what results hold
        own = method.verdict(copy.deepcopy(probes), answers.lists.clone())
        verdict = checked_verdict(method.name, own)
        return {"verdict": as_plain(verdict), "refused": None}
    except NoVerdict as reason:
        return without_verdict(reason)


def repeatable_outcome(method: VerificationMethod, probes: Probes, answers: Answers) -> dict[str, Any]:
    """Return `outcome`, which another instance of a method of a user's own is to find too, as `--recompute` has one.

    Raises:
        UserError: it finds another one, or the method returns what is no verdict.
    """
    found = outcome(method, probes, answers)
    if not is_packaged(method):
        again = outcome(create_method(method.name, method.settings), probes, answers)
        check_same_verdict(method.name, found, again)
    return found


def without_verdict(reason: NoVerdict) -> dict[str, Any]:
    """Return `verdict` and `refused` where there is no verdict."""
    return {"verdict": None, "refused": str(reason)}


def as_plain(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as results hold it."""
    return json.loads(json.dumps(asdict(verdict) | {"is_claim": verdict.is_claim}))
