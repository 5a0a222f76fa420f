"""Units of metrics: shares are shown in percent, everything else as it is."""

PERCENT = "%"
# of the metrics that are no shares; RecBole divides the entropy by the number of items that are listed
UNITS = {
    "averagepopularity": "interactions",
    "shannonentropy": "nats per item",
    "logloss": "nats",
    "mae": "",
    "rmse": "",
}


def unit(metric: str) -> str:
    """Return the unit that a metric is shown in: `%` for shares.

    Args:
        metric: name in any case, with or without a cut-off.

    >>> unit("NDCG@10"), unit("averagepopularity@5")
    ('%', 'interactions')
    """
    return UNITS.get(metric.partition("@")[0].lower(), PERCENT)


def scaled(metric: str, value: float) -> float:
    """Return the number that a metric's value has in its unit."""
    return 100 * value if unit(metric) == PERCENT else value


def figure(metric: str, value: float) -> str:
    """Return a metric's value in its unit as text, without the unit.

    >>> figure("hit@10", 0.28451), figure("averagepopularity@10", 28.45), figure("shannonentropy@10", 0.0713)
    ('28.45', '28.45', '0.0713')
    """
    decimals = 2 if unit(metric) == PERCENT or abs(value) >= 10 else 4
    return f"{scaled(metric, value):.{decimals}f}"


def shown(metric: str, value: float) -> str:
    """Return a metric's value with its unit.

    >>> shown("NDCG@10", 0.0671), shown("averagepopularity@10", 28.45), shown("mae", 0.5)
    ('6.71 %', '28.45 interactions', '0.5000')
    """
    return f"{figure(metric, value)} {unit(metric)}".rstrip()
