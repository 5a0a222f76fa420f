"""The options of a service with their defaults, from which the command line takes its own. Imported without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recbole_gro.http_service.query import Limits


@dataclass(frozen=True)
class Options:
    """Hold what a process of the service is made of.

    Attributes:
        checkpoint: a target of a run.
        defense: of the list; names joined by +.
        settings: of the defense, and `served_k`; values may be texts.
        ledger: SQLite file; None: service.db beside the checkpoint.
        plugins: modules to import first, as of the setting `plugins`.
        model: class of a model outside RecBole, as module:Class, where no plugin has it.
        device: to serve on; None: as `load_target`.
        catalogue: whether clients can list the items.
        limits: of a request; its k becomes `served_k`.
        batch: most histories of a batch.
        wait: seconds that a query waits for others at most.
        threads: of torch per process.
        detector: that judges histories; None: none does.
        on_alarm: what flagged histories, and all of flagged API keys, get: their lists and a line in the log (`log`),
            lists of random items (`decoy`) or a refusal with status 429 (`refuse`).
        benign: atomic file of benign users' histories, which give the thresholds; None: the target's own data.
        false_positive_rate: share of benign users, and of benign keys, that may be flagged; None: the default of the
            setting.
    """

    checkpoint: str
    defense: str = "none"
    settings: Mapping[str, object] = field(default_factory=dict)
    ledger: str | None = None
    plugins: str | list[str] | None = None
    model: str | None = None
    device: str | None = None
    catalogue: bool = False
    limits: Limits = field(default_factory=Limits)
    batch: int = 64
    wait: float = 0.002
    threads: int = 1
    detector: str | None = None
    on_alarm: str = "log"
    benign: str | None = None
    false_positive_rate: float | None = None

    @property
    def ledger_file(self) -> str:
        """File of the ledger."""
        return self.ledger or str(Path(self.checkpoint).parent / "service.db")
