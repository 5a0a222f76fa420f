"""The report of an audit: results.json, report.md, report.html and the points of the budget curve as csv."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from recbole_gro.report.document import Block, Bullets, Heading, Paragraph, Picture, Table, csv_text, write_document
from recbole_gro.report.run_report import SURROGATE_COLOUR, footnotes, label, notes, png
from recbole_gro.utils.files import undamaged, write_whole
from recbole_gro.utils.table import TextTable

IRREGULAR = {
    "failed": "queries failed permanently and have no list",
    "empty": "lists have no item of the catalogue",
    "shorter": "lists have fewer than k items of the catalogue",
    "longer": "lists have more than k items; the first k count, here too",
    "duplicates": "lists name an item twice; its first place counts",
    "unknown": "lists have items that are not in the catalogue; they are left out",
    "unknown_items": "different items are not in the catalogue",
    "repeated": "histories were queried more than once",
    "changed": "of these have lists that differ from one query to the next",
}


def read_results(file: Path) -> dict[str, Any] | None:
    """Return the results of a finished audit; None where there are none."""
    with undamaged(file, "delete it, and run the command again, which makes no further queries"):
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def save_results(results: dict[str, Any], folder: Path) -> None:
    """Write report.md, report.html, results.csv, and last results.json, which marks the audit as finished.

    Args:
        results: contents of results.json.
        folder: of the audit.
    """
    head = ["lists", "sequences", "agreement"]
    table = csv_text(head, [[point[name] for name in head] for point in results["curve"]])
    write_document(f"Audit of {results['service']['black_box']}", list(blocks(results)), table, folder)
    write_whole(folder / "results.json", json.dumps(results, indent=2) + "\n")


def blocks(results: dict[str, Any]) -> Iterator[Block]:
    """Yield the parts of the report.

    Args:
        results: contents of results.json.
    """
    attacks, curve = results["attacks"], results["curve"]
    [strongest] = [attack for attack in attacks if attack["strongest"]]
    chance, untrained = strongest["agreement_at"] / results["service"]["catalogue"], strongest["untrained_agreement"]
    at, start = f"agreement@{strongest['agreement_at']}", max(untrained, chance)
    yield Paragraph(
        f"A surrogate that was trained on {curve[-1]['lists']:,} lists of the service has {at} of "
        f"{_percent(curve[-1]['agreement'])} with it on held-out queries. The same surrogate before its first epoch "
        f"has {_percent(untrained)}, lists of random items would agree on {_percent(chance)}: what is beyond the "
        "higher of the two was gained from the lists."
    )
    yield _gain(results, start)
    yield _lists_given_out(results)
    yield Heading("Attacks")
    trained = [row | {"strongest": False} for row in attacks]  # its mark speaks of a defense
    yield _attacks_table(attacks, trained)
    yield from map(Paragraph, filter(None, notes(trained)))
    yield Heading("Budget curve")
    yield _budget_picture(curve, at, start)
    yield _curve_table(curve, at)
    if own := results.get("histories"):
        yield from _accuracy(own)
    yield Heading("Irregular answers")
    yield Bullets(irregular_lines(results))


def _gain(results: dict[str, Any], start: float) -> Paragraph:
    least, best = results["curve"][0]["lists"], results["curve"][-1]["agreement"]
    needed = [
        f"{share} of it with {'at most ' * (n == least)}{n:,}" for share, n in results["lists_needed"].items() if n
    ]
    return Paragraph(
        f"The gain is {100 * (best - start):.1f} points; {', '.join(needed)} lists."
        if needed
        else "The attack gained nothing, in agreement or in its loss on held-out queries: no number of lists is given."
    )


def _lists_given_out(results: dict[str, Any]) -> Paragraph:
    service, lists = results["service"], results["lists"]
    return Paragraph(
        f"The service gave out at most {lists['given_out']:,} lists of k={service['k']} items, {lists['limit']:,} were "
        f"allowed. Its catalogue of {service['catalogue']:,} items was "
        + ("given." if service["catalogue_given"] else f"collected with {lists['for_catalogue']:,} of these lists.")
    )


def _attacks_table(attacks: list[dict[str, Any]], trained: list[dict[str, Any]]) -> Table:
    head, shares, before = _agreement(attacks)
    marked = [
        " ".join([row["attacker"], *["*"] * row["strongest"], *footnotes(one)])
        for row, one in zip(attacks, trained, strict=True)
    ]
    return Table(
        f"{head} of each attack's surrogate with its own held-out queries, in percent; untrained: before its first "
        "epoch. *: the strongest attack, on held-out queries that are the same for all.",
        ["attack", "lists", "surrogate", head, "untrained"],
        [
            [name, f"{row['lists']:,}", row["surrogate_model"], *cells]
            for name, row, *cells in zip(marked, attacks, shares, before, strict=True)
        ],
    )


def _budget_picture(curve: list[dict[str, Any]], at: str, start: float) -> Picture:
    return Picture(
        "budget.png",
        png(_picture(curve, at, start)),
        f"{at} of the surrogate against the number of lists",
        f"x axis: lists that the surrogate was trained on, growing parts of one query log; y axis: {at} with the lists "
        "of held-out queries, the same for all points. Dashed: what an untrained surrogate or random items have, "
        "whichever is higher.",
    )


def _curve_table(curve: list[dict[str, Any]], at: str) -> Table:
    return Table(
        f"{at} with held-out queries against the number of lists, of the strongest attack.",
        ["lists", at],
        [[f"{point['lists']:,}", _percent(point["agreement"])] for point in curve],
    )


def result_table(results: dict[str, Any]) -> TextTable:
    """Return what each attack extracted, for the terminal, from the contents of results.json."""
    attacks, n_items = results["attacks"], results["service"]["catalogue"]
    head, shares, before = _agreement(attacks)
    trained = [row | {"strongest": False} for row in attacks]  # its mark has a note of its own here
    found = [
        f"agreement@{at} on held-out queries; untrained: before the first epoch, without any list of the service; "
        f"lists of random items would agree on {_percent(at / n_items)}."
        for at in dict.fromkeys(row["agreement_at"] for row in attacks)
    ]
    if len(attacks) > 1:
        found.append("* the strongest attack, on held-out queries that are the same for all.")
    if "service" in (own := results.get("histories") or {}):
        metric = list(own["service"])[-1]
        of_both = f"{_percent(own['service'][metric])} of the service, {_percent(own['surrogate'][metric])} of the "
        found.append(f"{label(metric)} on {own['users']:,} histories of the owner: {of_both}surrogate.")
    return TextTable(
        ("attack", "lists", "surrogate", head, "untrained"),
        [
            [row["attacker"], f"{row['lists']:,}", row["surrogate_model"], *cells]
            for row, *cells in zip(attacks, shares, before, strict=True)
        ],
        marks=[
            " ".join([*["*"] * (row["strongest"] and len(attacks) > 1), *footnotes(one)])
            for row, one in zip(attacks, trained, strict=True)
        ],
        notes=found + list(filter(None, notes(trained))),
    )


def irregular_lines(results: dict[str, Any]) -> list[str]:
    """Return what was irregular about the answers, one sentence each, from the contents of results.json."""
    again = "changed" if results["irregularities"].get("repeated") else ""  # then none is a finding
    counts = [f"{n:,} {IRREGULAR[name]}" for name, n in results["irregularities"].items() if n or name == again]
    reasons = [f"{n:,} queries failed: {reason}" for reason, n in results["failures"].items()]
    return counts + reasons or ["no list was irregular; no history was queried twice, so no change could be seen"]


def _agreement(attacks: list[dict[str, Any]]) -> tuple[str, list[str], list[str]]:
    """Return the heading of agreement, its cells, with @k where attacks differ in it, and those before training."""
    cut_offs = {row["agreement_at"] for row in attacks}
    before = [_percent(row["untrained_agreement"]) for row in attacks]
    if len(cut_offs) == 1:
        return f"agreement@{cut_offs.pop()}", [_percent(row["agreement"]) for row in attacks], before
    return "agreement", [f"{_percent(row['agreement'])} (@{row['agreement_at']})" for row in attacks], before


def _accuracy(own: dict[str, Any]) -> Iterator[Block]:
    yield Heading("Accuracy on the owner's histories")
    if "service" in own:
        metrics = list(own["service"])
        unseen = ", items of the history excluded" if "exclude_seen" in own else ""
        yield Table(
            f"The last item of each of {own['users']:,} histories, full ranking{unseen}, in percent.",
            ["", *map(label, metrics)],
            [[side, *(_percent(own[side][name]) for name in metrics)] for side in ("service", "surrogate")],
        )
        shared = next(name for name in own if name.startswith("agreement"))
        yield Paragraph(f"{shared} of the surrogate with the service on these histories: {_percent(own[shared])}.")
    yield Paragraph(
        f"{own['left_out']:,} users are left out: their test item is not in the catalogue, or their history is "
        "empty or has no item of it, or the service gave no list."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _picture(curve: list[dict[str, Any]], at: str, start: float) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(*([point[key] for point in curve] for key in ("lists", "agreement")), "o-", color=SURROGATE_COLOUR)
    axes.axhline(start, color="grey", linestyle="--")
    axes.set(xscale="log", xlabel="lists", ylabel=at, ylim=(0, 1))
    axes.grid(alpha=0.3)
    return figure
