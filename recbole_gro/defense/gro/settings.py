"""Settings of GRO: the paper's, and those of our variants."""

from recbole_gro.config.loss_settings import ExtractionLossSettings
from recbole_gro.config.settings import Settings, key
from recbole_gro.serving.settings import ServiceSettings


class StudentSettings(Settings):
    """Settings of the student inside GRO."""

    section = "Defense"
    student_model: str | None = key(None, "model or None", "architecture of the student inside GRO; None: the target's")
    student_config: str | None = key(None, "file or None", "yaml file with the student's architecture settings")


class GROSettings(ServiceSettings, ExtractionLossSettings, StudentSettings):
    """Settings of the paper's trainer."""

    section = "Defense"
    gro_lambda: float = key(1.0, "float >= 0", "weight of the swap loss in Eq. 6")
    gro_epochs: int = key(15, "int >= 1", "epochs of GRO; the last one is kept; decoys need 2")
    gro_start: str = key(
        "converged",
        "converged|untrained",
        "gro: what it starts from, the converged target or untrained weights, as the authors train ML-1M",
    )
    gro_learning_rate: float = key(0.001, "float > 0", "learning rate of target and student during GRO")
    gro_swap: str = key(
        "paper", "name of swap rule", "what gro pushes lists to: paper; ours: assigned, assigned_tail, decoys"
    )
    margin_swap: float = key(0.0, "float >= 0", "m_swap of Eq. 5")


class VariantSettings(Settings):
    """Settings of our variants."""

    section = "Defense"
    gro_steps: int | None = key(
        None,
        "int >= 1 or None",
        "ours: minimum steps of GRO, in whole epochs; None: 1520 for gro_decoys, no minimum for gro",
    )
    gro_decay: bool = key(False, "bool", "the learning rate falls to 0 over the epochs of GRO, step by step; ours")
    gro_head_k: int = key(
        20,
        "int >= 1",
        "assigned_tail, decoys, gro_decoys, gro_rows and swap_candidates: first positions of a list, which are to stay "
        "as they are; below served_k",
    )
    gro_rows: str = key(
        "all",
        "all|tail",
        "gro_swap=paper: positions with a swap loss, all or those below gro_head_k; ours",
    )
    swap_candidates: str = key(
        "all",
        "all|outside_head",
        "gro_swap=paper: items to swap in, all or those outside the list's first gro_head_k; ours",
    )
    gro_target_loss: str = key(
        "own",
        "own|hold",
        "first term of Eq. 6: the target's own loss; ours: its distance from the converged target (hold)",
    )
    gro_contexts: str = key(
        "training",
        "training|mixed",
        "sequences after which GRO changes lists: training rows; ours: as many prefixes of mixed queries besides, "
        "without the target's own loss there, as no next item is known",
        omit_default_from_fingerprint=True,
    )
    gro_min_quality: float | None = key(
        None,
        "float 0..1 or None",
        "ours: share of the converged target's validation score to keep, by adapting lambda; None: lambda stays",
    )


class GROTrainerSettings(GROSettings, VariantSettings):
    """All settings of a GRO trainer."""
