"""Settings of a run as a whole."""

from typing import Any

from recbole_gro.config.settings import Settings, key


class ComparisonSettings(Settings):
    """The defenses that a run compares."""

    section = "Defense"
    defense: Any = key(
        ["none", "gro"],
        "names of defense",
        "defenses to compare, each is trained or applied, attacked, and gets a row; gro+tail_decoy is both as one",
    )


class AttackedSettings(Settings):
    """Whether services are attacked."""

    section = "Attack"
    attack: bool = key(True, "bool", "False: train and evaluate the defended target only")


class ReferenceSettings(Settings):
    """What surrogates are compared with."""

    section = "Attack"
    references: Any = key(
        ["independent", "untrained", "own_history", "popularity"],
        "names of reference or []",
        "measured beside the surrogates: what agreement and accuracy are worth; []: nothing",
    )


class OutputSettings(Settings):
    """Where a run writes, and how many processes it has."""

    section = "Output"
    output_dir: str | None = key(None, "folder or None", "everything a run writes; None: runs/DATASET-MODEL-TIME")
    stages_dir: str | None = key(
        None,
        "folder or None",
        "folder of stages (targets, defended models, queries, surrogates) that runs and experiments share; "
        "None: a run's own, removed at its end",
    )
    workers: int = key(
        1,
        "int 1..1024",
        "processes that compute a run's stages side by side; torch's threads are divided among them, and results are "
        "equal where each has as many; parts that a script registers reach them by plugins alone",
    )
