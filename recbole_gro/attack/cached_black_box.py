"""A black box whose responses are cached in files, so that an interrupted attack repeats no query."""

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_gro.attack.black_box import BlackBox
from recbole_gro.serving.access_log import AccessLog
from recbole_gro.serving.service import Service
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.files import ANEW, load_state, make_folder, save_state
from recbole_gro.utils.log import console
from recbole_gro.utils.random_state import random_state, set_random_state


class CachedBlackBox(BlackBox):
    """Cache each response; after an interruption return cached ones in place of repeating their queries.

    The queries of an attack follow from its seed and the responses so far, so an attack that starts again sends the
    same queries in the same order: the first one without a cached response goes to the service. No query strategy has
    to support this. Cached responses count towards the budget.

    Args:
        service: answers the queries without a cached response.
        folder: of the cache, one file per query.
        defense: behind the service; its `state_dict` is stored and loaded with each response.
        budget: as of a BlackBox.
        access_log: as of a BlackBox; a query that an earlier start logged is not logged again.
    """

    _service: Service

    def __init__(
        self,
        service: Service,
        folder: Path,
        defense: Any,
        budget: int | None = None,
        access_log: str | os.PathLike[str] | AccessLog | None = None,
    ):
        super().__init__(service, budget=budget, access_log=access_log)
        self.folder, self.defense = folder, defense
        self._unfollowed: list[Tensor] = []  # cached queries that the service has not seen in this process
        make_folder(folder, "queries")
        n_cached = len(list(folder.glob("*.pth")))
        # queries repeat in order, so the log holds the first ones; a query that was cached but not yet logged at the
        # interruption is logged when its response is read
        self._logged = self._access_log.lines if n_cached and self._access_log is not None else 0
        if n_cached:
            console.info(f"{folder.name}: {n_cached} cached queries of an earlier start are not repeated")

    def _respond(self, sequences: Any) -> Tensor:
        file = self.folder / f"{self.queries_answered:06d}.pth"
        padded, _ = self._service.histories(sequences)  # refuses an invalid query, which has no cached response
        digest = _digest(padded)
        if file.exists():
            self._unfollowed.append(padded.clone())
            return self._read(file, digest)
        for earlier in self._unfollowed:
            self._service.follow(earlier)
        self._unfollowed.clear()
        lists = super()._respond(sequences)
        response = {
            "query": digest,
            "served": lists.to(torch.int16 if self.n_items <= torch.iinfo(torch.int16).max else torch.int32),
            "defense": self.defense.state_dict(),
            "process": random_state(),
        }
        save_state(file, response)
        n_lists = self.lists_returned + len(lists)
        logging.getLogger().info(f"{self.folder.name}: query {self.queries_answered} answered, {n_lists} lists so far")
        return lists

    def _log(self, sequences: Any, refused: str | None = None) -> None:
        if self._logged > 0:
            self._logged -= 1
        else:
            super()._log(sequences, refused)

    def _read(self, file: Path, digest: str) -> Tensor:
        response = load_state(file, remedy=ANEW)
        if response["query"] != digest:
            raise UserError(
                f"{file} holds the response to another query; the attack is not deterministic here, "
                f"so remove {self.folder} and start again"
            )
        self.defense.load_state_dict(response["defense"])
        set_random_state(response["process"])
        return response["served"].long()


def _digest(padded: Tensor) -> str:
    """Return the SHA-256 of the sequences [B, L] of a query."""
    digest = hashlib.sha256(str(tuple(padded.shape)).encode())
    digest.update(padded.cpu().numpy().astype("<i8").tobytes())
    return digest.hexdigest()
