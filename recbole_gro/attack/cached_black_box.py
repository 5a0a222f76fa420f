"""The responses of a black box, each cached in a file, so that no query is repeated."""

import hashlib
import logging
import os
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from recbole_gro.attack.black_box import BlackBox
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import read_plain, write_atomically
from recbole_gro.utils.random_state import random_state, set_random_state

console = logging.getLogger("recbole_gro")


class Stateful(Protocol):
    """A defense, as far as it matters here."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class CachedBlackBox(BlackBox):
    """A black box that keeps each answer and, after an interruption, gives those that it has without asking again.

    What an attacker asks follows from his seed and the answers so far. So he simply starts over: the same queries come
    in the same order, those that were answered are read, the first one that was not goes to the service. This way no
    strategy has to know of it. A query is what is asked at once: the autoregressive strategy asks one position of all
    sequences. Read answers count as asked, so the budget is the same.

    Args:
        service: a Service.
        folder: where the answers lie, a file a query.
        defense: what stands behind the service; it goes on drawing where it was.
        budget: as of a BlackBox.
        access_log: as of a BlackBox; it gets no second line for a query that an earlier start wrote down.
    """

    def __init__(
        self,
        service,
        folder: Path,
        defense: Stateful,
        budget: int | None = None,
        access_log: str | os.PathLike[str] | None = None,
    ):
        super().__init__(service, budget=budget, access_log=access_log)
        self.folder, self.defense = folder, defense
        self._read_since: list[Tensor] = []  # queries that the service has not seen in this process
        folder.mkdir(parents=True, exist_ok=True)
        kept = len(list(folder.glob("*.pth")))
        # the same calls come in the same order, so its lines are those of the first calls; where a cut fell between an
        # answer and its line, the line comes when the answer is read
        self._noted = self._access_log.lines if kept and self._access_log is not None else 0
        if kept:
            console.info(f"{folder.name}: {kept} cached queries of an earlier start are not repeated")

    def _answer(self, sequences: Any) -> Tensor:
        file = self.folder / f"{self.queries_answered:06d}.pth"
        padded, _ = self._service.histories(sequences)  # what is refused has no answer, so it is not looked for
        digest = _digest(padded)
        if file.exists():
            self._read_since.append(padded.clone())
            return self._read(file, digest)
        for earlier in self._read_since:
            self._service.follow(earlier)
        self._read_since.clear()
        answer = super()._answer(sequences)
        narrow = torch.int16 if self.n_items <= torch.iinfo(torch.int16).max else torch.int32
        kept = {
            "query": digest,
            "served": answer.to(narrow),
            "defense": self.defense.state_dict(),
            "process": random_state(),
        }
        write_atomically(kept, file)
        lists = self.lists_returned + len(answer)
        logging.getLogger().info(f"{self.folder.name}: query {self.queries_answered} is answered, {lists} lists so far")
        return answer

    def _note(self, sequences: Any, refused: str | None = None) -> None:
        if self._noted > 0:
            self._noted -= 1
        else:
            super()._note(sequences, refused)

    def _read(self, file: Path, digest: str) -> Tensor:
        kept = read_plain(file)
        if kept["query"] != digest:
            raise UserError(
                f"{file} holds the response to another query; the attack is not deterministic here, "
                f"so remove {self.folder} and start again"
            )
        self.defense.load_state_dict(kept["defense"])
        set_random_state(kept["process"])
        return kept["served"].long()


def _digest(padded: Tensor) -> str:
    """Of the histories [B, L] of a query."""
    told = hashlib.sha256(str(tuple(padded.shape)).encode())
    told.update(padded.cpu().numpy().astype("<i8").tobytes())
    return told.hexdigest()
