"""The report of a verification: results.json, report.md, report.html and the shares of the candidates as csv."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from recbole_gro.ownership.commitment import commitment_digest
from recbole_gro.ownership.method import methods
from recbole_gro.report.document import Block, Bullets, Heading, Paragraph, Picture, Table, csv_text, write_document
from recbole_gro.report.run_report import SURROGATE_COLOUR, png
from recbole_gro.utils.files import write_whole

SHARES = {"share", "reference_shares", "share_needed"}  # facts of a line-up, which are drawn


def summary(results: dict[str, Any]) -> str:
    """Return the verdict in a few sentences, from the contents of results.json."""
    if results["refused"]:
        return f"No verdict: {results['refused']}."
    verdict = results["verdict"]
    said = "is claimed to be a copy" if verdict["is_claim"] else "is not claimed to be a copy"
    return (
        f"{results['suspect']} {said} of the owner's model: p {_p_value(verdict['p_value'])}, level "
        f"{verdict['level']:g}, from {results['answers']['lists']:,} lists. "
        f"{effect_text(results['method'], verdict)}"
    )


def effect_text(method: str, verdict: dict[str, Any]) -> str:
    """Return the effect of a verdict in one sentence, shares in percent.

    Args:
        method: name of the verification method.
        verdict: of it, as results.json holds one.
    """
    unit = methods[method].effect_unit
    scale, sign = {"share": (100, " %"), "percent": (1, " %")}.get(unit, (1, ""))
    effect, low, high = (f"{scale * value:.3g}{sign}" for value in verdict["effect"])
    return f"Effect: {effect}, 95 % interval {low} to {high} ({verdict['effect_name']})."


def self_check_text(owner: str, method: str, outcome: dict[str, Any]) -> str:
    """Return in a few sentences whether a marked model shows its own marks.

    Args:
        owner: its checkpoint.
        method: name of the verification method.
        outcome: `verdict` and `refused`, as in results.json.
    """
    if outcome["refused"]:
        return f"No self-check: {outcome['refused']}."
    verdict = outcome["verdict"]
    shows = (
        "shows its marks"
        if verdict["is_claim"]
        else "does not show its marks in these lists, so that a copy hardly will"
    )
    return (
        f"{owner} {shows}: p {_p_value(verdict['p_value'])}, level {verdict['level']:g}. "
        f"{effect_text(method, verdict)} No suspect was named: nobody was queried, nothing is written, and the key is "
        "not revealed."
    )


def dated_hashes(results: dict[str, Any]) -> str:
    """Return the hashes that a judge compares with those which a third party dated, in one sentence."""
    commitment = results["commitment"]
    return (
        f"Compare with the hashes that were dated before: commitment.json {commitment_digest(commitment)}, key "
        f"{commitment['key_sha256']}, the owner's checkpoint {commitment['owner']} (sha256)."
    )


def save_results(results: dict[str, Any], folder: Path) -> None:
    """Write report.md, report.html, results.csv, and last results.json.

    Args:
        results: contents of results.json.
        folder: of the verification.
    """
    facts = (results["verdict"] or {}).get("facts", {})
    rows = [["effect", *(results["verdict"] or {"effect": [None] * 3})["effect"]]]
    rows += [[name, value, None, None] for name, value in _flat(facts).items()]
    table = csv_text(["fact", "value", "low", "high"], rows)
    write_document(f"Is {results['suspect']} a copy?", list(blocks(results)), table, folder)
    write_whole(folder / "results.json", json.dumps(results) + "\n")


def blocks(results: dict[str, Any]) -> Iterator[Block]:
    """Yield the parts of the report.

    Args:
        results: contents of results.json.
    """
    yield Paragraph(summary(results))
    if n := len(results.get("revealed_by", ())):
        yield Paragraph(
            f"The key was used before, by {n} verification{'s' * (n > 1)} whose results reveal it: a suspect that read "
            f"them knew the probes, and the level of {n + 1} tests of one key is to be divided by {n + 1}."
        )
    if unchecked := results.get("data_unchecked"):
        yield Paragraph(f"{unchecked[0].upper()}{unchecked[1:]}.")
    if results["verdict"]:
        yield from _verdict_blocks(results["verdict"])
    yield Heading("Assumptions")
    yield Bullets(results["assumptions"])
    if "commitment" in results:
        yield from _recompute_blocks(results)


def _verdict_blocks(verdict: dict[str, Any]) -> Iterator[Block]:
    """Yield what a verdict means, and what it was computed to."""
    yield Paragraph(f"What would have changed it: {verdict['turning_point']}.")
    yield Paragraph(
        f"Null hypothesis: {verdict['null']}. The p-value is the probability of evidence this strong under it, not "
        "the probability that the suspect is no copy; and it does not say which of two models came first."
    )
    facts = verdict["facts"]
    if facts.keys() >= SHARES:
        yield Picture(
            "shares.png",
            png(_picture(facts["share"], list(facts["reference_shares"].values()), facts["share_needed"])),
            "share of distinctive items that the suspect lists, of the owner's model and of each reference",
            "Each mark is a model: how many of its distinctive items the suspect lists. Line: what a claim needs.",
        )
    rows = [[name, f"{value:.4g}" if isinstance(value, float) else str(value)] for name, value in _flat(facts).items()]
    caption = "What the verdict was computed to; shares are from 0 to 1, as in results.csv."
    yield Table(caption, ["fact", "value"], rows, text=True)


def _recompute_blocks(results: dict[str, Any]) -> Iterator[Block]:
    """Yield what the lists and hashes of a verification were, and how to check it."""
    commitment, answers = results["commitment"], results["answers"]
    yield Heading("Recompute")
    yield Paragraph(
        f"{answers['lists']:,} lists arrived, those of {answers['repeated']} histories twice, where "
        f"{answers['changed']} changed; {answers['failed']} histories got none; {100 * answers['unknown']:.1f} % "
        "of the items are not in the owner's catalogue. The suspect may have given out "
        f"{answers['lost']:,} more lists, whose answers were lost or unreadable."
    )
    if results["failures"]:
        yield Bullets([f"{n:,} queries failed: {reason}" for reason, n in results["failures"].items()])
    yield Paragraph(
        f"By its own clock, commitment.json was written at {commitment['time']}, with the sha256 of the key, the "
        "probes and the checkpoints. Who dated a hash says when it was there, not this time. "
        f"{dated_hashes(results)}"
    )
    yield Paragraph(
        "recbole-gro verify --recompute=results.json checks key, probes and verdict; with --owner=FILE it makes "
        "the probes anew."
    )


def _p_value(value: float) -> str:
    """Return a p-value with its sign; 0 is one that a double-precision number cannot hold.

    >>> _p_value(0.00123), _p_value(0.0)
    ('= 0.0012', '< 1e-300')
    """
    return f"= {value:.2g}" if value else "< 1e-300"


def _flat(facts: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        flat |= {f"{name} {part}": one for part, one in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _picture(share: float, others: list[float], needed: float) -> Figure:
    figure = Figure(figsize=(6, 1.8), layout="constrained")
    axes = figure.subplots()
    axes.plot(others, [0] * len(others), "o", color="#888888", label="references", alpha=0.7)
    axes.plot([share], [0], "D", color=SURROGATE_COLOUR, label="the owner's model")
    axes.axvline(needed, color="#bbbbbb", linewidth=0.8)
    axes.set(xlabel="share of its distinctive items that the suspect lists", yticks=[], xlim=(0, 1))
    axes.legend(frameon=False, ncols=2, loc="upper center")
    return figure
