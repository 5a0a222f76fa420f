"""Settings of training data."""

from recbole_gro.config.settings import Settings, key


class DataSettings(Settings):
    """Filters of interactions, and training rows."""

    section = "Data"
    core_filter: str = key(
        "repeated",
        "repeated|once",
        "user_ and item_inter_num_interval filter until all that is left fits (RecBole), or items once, then users "
        "once (the authors)",
    )
    train_rows: str = key(
        "auto",
        "windows|sequences|prefixes|auto",
        "a user's training items cut in windows, for masked models; in sequences, for causal ones; or one row per "
        "prefix; auto: windows (leave-one-out) or sequences where the model takes them",
    )
    mask_last: float = key(
        0.5,
        "float 0..1",
        "windows: probability that a row's last item is masked, besides the random ones of mask_ratio",
    )
    window_shift: float = key(
        0.5,
        "float 0..1",
        "windows: probability that a window is moved back by a random part of its length each time",
    )
