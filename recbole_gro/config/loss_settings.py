"""Settings of Eq. 4 that attack and defense share."""

from recbole_gro.config.settings import Settings, key


class ExtractionLossSettings(Settings):
    """Margins and variant of Eq. 4."""

    section = "Defense"
    margin_rank: float = key(0.5, "float >= 0", "m1 of Eq. 4, between neighbours in the list")
    margin_negative: float = key(0.5, "float >= 0", "m2 of Eq. 4, between a listed and a sampled item")
    paper_code_ties: bool = key(
        False,
        "bool",
        "as the authors' code: two means in Eq. 4, first item where the gradient is 0, negatives that may be listed",
    )
