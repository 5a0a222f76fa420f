"""Settings of watermarks."""

from recbole_gro.config.settings import Settings, key


class AOWSettings(Settings):
    """Settings of `aow`."""

    section = "Defense"
    aow_sequences: int = key(10, "int >= 1", "aow: sequences that the target memorizes")
    aow_length: int = key(20, "int >= 2", "aow: items in each of them")
    aow_lowest: int = key(
        200, "int >= 2", "aow: the next item is drawn from at most this many that the undefended target ranks lowest"
    )
    aow_epochs: int = key(15, "int >= 1", "aow: epochs of fine-tuning; the last one is kept")
    aow_learning_rate: float = key(0.0003, "float > 0", "aow: learning rate of fine-tuning")
    aow_weight: float = key(1.0, "float > 0", "aow: weight of the cross-entropy of a sequence in each step")


class InjectedSettings(Settings):
    """Settings of `injected`."""

    section = "Defense"
    injected_runs: int = key(10, "int >= 1", "injected: different runs of items")
    injected_length: int = key(3, "int >= 2", "injected: items in a run")
    injected_share: float = key(
        0.01,
        "float 0..1",
        "injected: share of the users with 6 training interactions or more whose histories get each run",
    )
    injected_pool: int = key(500, "int >= 3", "injected: runs are drawn from at most this many least popular items")
