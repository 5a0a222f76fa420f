"""Selection of the best of several candidate surrogates by their agreement with held-out queries."""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recbole_gro.attack.query_log import QueryLog
from recbole_gro.attack.surrogate_trainer import AGREEMENT_K, ExtractionTrainer
from recbole_gro.scoring.ensemble import joined_checkpoints
from recbole_gro.serving.service import Service
from recbole_gro.utils.files import load_state, save_state
from recbole_gro.utils.ranking import agreement_per_list

SELECTED_AT = AGREEMENT_K  # items of a list as served; losses of Eq. 4 on lists of other lengths are not comparable


@dataclass(frozen=True)
class Candidate:
    """A surrogate that an attack trains, and may select.

    Attributes:
        model: its architecture, one of `surrogate_models`.
        log: its training log.
        genuine_k: first items of the log's lists that were served, before random ones; None: all.
        hyperparameters: by name, those that tell it from other candidates; empty where there are none.
        stage: names its checkpoint and the progress bar.
        folder: of its checkpoint; None: `output_dir`.
        number: of a member of an ensemble, which is added to the seed; 0 for the selected candidate.
    """

    model: Any
    log: QueryLog
    genuine_k: int | None
    hyperparameters: dict[str, Any]
    stage: str
    folder: Path | None
    number: int = 0

    @property
    def name(self) -> str:
        """Values of its hyperparameters."""
        return " ".join(map(str, self.hyperparameters.values()))

    def member(self, number: int) -> "Candidate":
        """Return another member of an ensemble with this candidate."""
        return dataclasses.replace(self, stage=f"{self.stage}-{number}", number=number)


def held_out_agreement(candidates: dict[str, ExtractionTrainer], log: QueryLog) -> dict[str, float]:
    """Return the agreement@10 of each candidate with the held-out lists of a log, as they were served.

    Args:
        candidates: trainers by name; of one seed, which holds out the same sequences for all.
        log: the query log that the candidates were trained on.
    """
    agreement = {}
    for name, trainer in candidates.items():
        _, held_out = trainer.loaders(log.first(SELECTED_AT))
        agreement[name] = trainer.held_out_figures(held_out)[agreement_name(log)]
    return agreement


def agreement_name(log: QueryLog) -> str:
    """Return the name of the agreement that candidates are selected by: agreement@10, @k where lists have k < 10."""
    return f"agreement@{min(SELECTED_AT, log.lists.shape[2])}"


def suite_agreement(attacks: dict[str, tuple[nn.Module, QueryLog]]) -> dict[str, float]:
    """Return the agreement@10 of each attack's surrogate with held-out lists that are the same for all attacks.

    A surrogate agrees best with lists for queries like its own, so all are measured on the queries of one attack: of
    those with the longest sequences, the one that is most like users (`likeness_to_users`). The rule was chosen on
    validation data (results/tradeoff.md).

    Args:
        attacks: surrogate and held-out part of the query log by name of the attack; one service gave all lists.
    """
    closest = max(
        (log for _, log in attacks.values()), key=lambda log: (int(log.lengths.max()), likeness_to_users(log))
    )
    return {name: list_agreement(surrogate, closest) for name, (surrogate, _) in attacks.items()}


def likeness_to_users(log: QueryLog) -> float:
    """Return how much sequences continue as histories of users do: from the top of a list, or from outside of it.

    It is the mean reciprocal rank of each next item in the list before it, 0 where the list lacks the item, times the
    share of next items that lists lack, which is at least 0.01 here, so that lists rank attacks that never leave them.
    It is 0 for sequences of one item.

    Args:
        log: queries and the lists served.
    """
    queried = log.sequences[:, 1:] != 0
    if not queried.any():
        return 0.0
    followed = (log.lists[:, :-1] == log.sequences[:, 1:, None])[queried]
    listed = followed.any(1)
    reciprocal = torch.where(listed, 1 / (followed.int().argmax(1) + 1.0), 0.0)
    return float(reciprocal.mean()) * max(float((~listed).float().mean()), 0.01)


def list_agreement(surrogate: nn.Module, log: QueryLog) -> float:
    """Return the share of the first 10 items of each list of a log in the surrogate's first 10, mean over lists.

    Empty lists, of queries that a live service did not answer, do not count; it is 0 where there are no others.

    Args:
        surrogate: any RecBole sequential model.
        log: queries and the lists served; of lists that have fewer than 10 items all count.
    """
    service, shares = Service(surrogate, min(SELECTED_AT, log.lists.shape[2])), []
    for t in range(int(log.lengths.max())):
        rows = (log.lengths > t) & (log.lists[:, t] != 0).any(1)
        if bool(rows.any()):
            shares.append(_agreement(service, log.sequences[rows, : t + 1], log.lists[rows, t]))
    return float(torch.cat(shares).mean()) if shares else 0.0


def agreement_by_sequence(surrogate: nn.Module, log: QueryLog, latest: int) -> Tensor:
    """Return the agreement@10 [S] with the lists for the latest prefixes of each sequence.

    Empty lists, of queries that a live service did not answer, do not count; a sequence with no other has 0.

    Args:
        surrogate: any RecBole sequential model.
        log: queries and the lists served; each sequence has at least `latest` items.
        latest: number of prefixes per sequence.
    """
    service, shares, answered = Service(surrogate, min(SELECTED_AT, log.lists.shape[2])), [], []
    place, rows = torch.arange(log.sequences.shape[1]), torch.arange(len(log.sequences))
    for back in range(latest):
        lengths = log.lengths - back
        prefixes = log.sequences * (place < lengths.unsqueeze(1))
        lists = log.lists[rows, lengths - 1]
        shares.append(_agreement(service, prefixes, lists))
        answered.append((lists != 0).any(1))
    return torch.stack(shares).sum(0) / torch.stack(answered).sum(0).clamp(min=1)


def _agreement(service: Service, prefixes: Tensor, lists: Tensor) -> Tensor:
    """Return the agreement [B] of a service with lists, of as many items as its own have; 0 with an empty list."""
    return agreement_per_list(service.recommend(prefixes).cpu(), lists.long(), service.k).nan_to_num()


def write_selected(members: list[ExtractionTrainer], stage: str, unneeded: set[str]) -> str:
    """Write the checkpoint of the selected surrogate, or of the ensemble of several, and return its file.

    Args:
        members: trainers, the selected one first.
        stage: name of the checkpoint in `output_dir`.
        unneeded: files to remove then.
    """
    files, folder = [trainer.saved_model_file for trainer in members], members[0].config["output_dir"]
    kept = str(Path(folder) / f"{stage}.pth") if folder else files[0]
    if len(files) > 1:
        save_state(kept, joined_checkpoints([load_state(file) for file in files]))
    elif kept != files[0]:
        shutil.copyfile(files[0], kept)
    for file in unneeded - {kept}:
        Path(file).unlink(missing_ok=True)
    return kept
