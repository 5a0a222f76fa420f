"""The catalogue of a service: which item each id of its ledger is."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Catalogue:
    """Identify a numbering of items.

    Attributes:
        digest: sha256 of the item tokens in the order of their ids, in hexadecimal digits.
        n_items: number of items, without padding.
    """

    digest: str
    n_items: int

    @classmethod
    def of(cls, tokens: Iterable[str]) -> "Catalogue":
        """Return the catalogue of item tokens in the order of their ids, from 1.

        >>> Catalogue.of(["a", "b"]) == Catalogue.of(["b", "a"])
        False
        """
        items = list(tokens)
        return cls(hashlib.sha256(json.dumps(items).encode()).hexdigest(), len(items))

    def unlike(self, other: "Catalogue") -> str:
        """Return in a few words in what this catalogue differs from another one."""
        if self.n_items != other.n_items:
            return f"{self.n_items} items, not {other.n_items}"
        return "other items, or in another order"
