"""The probes in a verification's folder, and their comparison with probes that another machine makes."""

import json
from pathlib import Path
from typing import Any

from recbole_gro.ownership.commitment import probes_digest
from recbole_gro.ownership.method import Probes
from recbole_gro.utils.files import write_whole

PROBES = "probes.json"
MOST_ROUNDED = 0.05  # share of probes that may come out differently, as scores are rounded otherwise


def store_probes(folder: Path, n: int, probes: Probes) -> None:
    """Write probes to a verification's folder, so that it can be resumed where they would come out differently.

    Args:
        folder: of the verification.
        n: maximum number of lists, from which the probes were made.
        probes: from the method.
    """
    content = {"n": n, "histories": probes.histories, "expected": probes.expected}
    write_whole(folder / PROBES, json.dumps(content) + "\n")


def stored_probes(folder: Path, n: int, digest: str) -> Probes | None:
    """Return the probes that a verification's folder holds; None where it holds none of this number and digest."""
    try:
        content = json.loads((folder / PROBES).read_text(encoding="utf-8"))
        probes = Probes(content["histories"], content["expected"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return probes if content["n"] == n and probes_digest(probes) == digest else None


def differing(one: Probes, other: Probes) -> list[int] | None:
    """Return the places of the probes whose history or expected values differ.

    Among expected values a list of one entry per probe belongs to the probes, at any depth of mappings.

    Returns:
        Places in ascending order; None where the two differ in something that is no probe's.
    """
    n = len(one.histories)
    places: set[int] = set()

    def compare(first: Any, second: Any) -> bool:
        if isinstance(first, dict) and isinstance(second, dict) and [*first] == [*second]:
            return all(compare(first[name], second[name]) for name in first)
        if isinstance(first, list) and isinstance(second, list) and len(first) == len(second) == n:
            places.update(place for place in range(n) if first[place] != second[place])
            return True
        return first == second

    same = compare(one.histories, other.histories) and compare(one.expected, other.expected)
    return sorted(places) if same else None


def without(probes: Probes, places: list[int]) -> tuple[Probes, list[int]]:
    """Return probes without those at some places, and the places of those that are left."""
    n, left_out = len(probes.histories), {*places}
    kept = [place for place in range(n) if place not in left_out]

    def reduced(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: reduced(part) for name, part in value.items()}
        return [value[place] for place in kept] if isinstance(value, list) and len(value) == n else value

    return Probes(reduced(probes.histories), reduced(probes.expected)), kept
