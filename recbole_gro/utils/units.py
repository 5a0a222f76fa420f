"""Units of metrics: shares are shown in percent, other metrics unscaled; and counts with what is counted."""

# metrics that are no shares; RecBole divides the entropy by the number of listed items
UNITS = {"averagepopularity": "interactions", "shannonentropy": "nats per item"}


def unit(metric: str) -> str:
    """Return the unit of a metric, `%` for shares; its name may have any case and a cut-off."""
    return UNITS.get(metric.partition("@")[0].lower(), "%")


def scaled(metric: str, value: float) -> float:
    """Return a metric's value in its unit."""
    return 100 * value if unit(metric) == "%" else value


def figure(metric: str, value: float) -> str:
    """Return a metric's value in its unit as text, without the unit."""
    return f"{scaled(metric, value):.{2 if unit(metric) == '%' or abs(value) >= 10 else 4}f}"


def with_unit(metric: str, value: float) -> str:
    """Return a metric's value with its unit.

    >>> with_unit("NDCG@10", 0.0671), with_unit("averagepopularity@10", 28.45)
    ('6.71 %', '28.45 interactions')
    """
    return f"{figure(metric, value)} {unit(metric)}".rstrip()


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """Return a number with what it counts.

    Args:
        n: number.
        noun: of one.
        plural: None: the noun with an s.

    >>> counted(1, "cell"), counted(1200, "cell"), counted(0, "query", "queries")
    ('1 cell', '1,200 cells', '0 queries')
    """
    return f"{n:,} {noun if n == 1 else plural or f'{noun}s'}"
