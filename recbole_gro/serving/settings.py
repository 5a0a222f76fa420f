"""Settings of the service."""

from recbole_gro.config.settings import Settings, key


class ServiceSettings(Settings):
    """The lists that the service returns."""

    section = "Defense"
    served_k: int = key(100, "int >= 2", "length of the list the service returns")


class AccessLogSettings(Settings):
    """The access log of the provider."""

    section = "Attack"
    access_log: bool = key(
        False,
        "bool",
        "the provider logs every query that its service receives, one line of JSON per query, in "
        "output_dir/access-DEFENSE.jsonl",
    )
