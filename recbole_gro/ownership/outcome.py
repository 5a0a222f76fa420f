"""The outcome of a verification as results.json holds it: a verdict, or why there is none."""

import json
from dataclasses import asdict
from typing import Any

from recbole_gro.ownership.method import NoVerdict, Probes, Verdict, VerificationMethod
from recbole_gro.ownership.method_output import checked_verdict
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
        verdict = checked_verdict(method.name, method.verdict(probes, answers.lists))
        return {"verdict": as_plain(verdict), "refused": None}
    except NoVerdict as reason:
        return without_verdict(reason)


def without_verdict(reason: NoVerdict) -> dict[str, Any]:
    """Return `verdict` and `refused` where there is no verdict."""
    return {"verdict": None, "refused": str(reason)}


def as_plain(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as results hold it."""
    return json.loads(json.dumps(asdict(verdict) | {"is_claim": verdict.is_claim}))
