"""Size of a dataset beside Table 1 of the paper."""

from dataclasses import astuple, dataclass

from recbole_gro.data.dataset import SequenceDataset
from recbole_gro.utils.errors import UserError
from recbole_gro.utils.table import TextTable

ANY_MODEL = "BERT4Rec"  # a config needs one; the size of a dataset does not depend on it
HEAD = ("dataset", "users", "items", "mean length", "density")


@dataclass(frozen=True)
class Statistics:
    """A row of Table 1.

    Attributes:
        users: number of users with interactions after filtering, or with features.
        items: number of items, likewise.
        mean_length: interactions per user.
        density: interactions per pair of user and item; a repeated interaction counts each time.
    """

    users: int
    items: int
    mean_length: float
    density: float

    def cells(self, sign: str = "") -> list[str]:
        """Return the row as the paper prints it, density in percent; with sign `+` as a difference."""
        counts = [f"{self.users:{sign}}", f"{self.items:{sign}}"]
        return [*counts, f"{self.mean_length:{sign}.1f}", f"{100 * self.density:{sign}.2f} %"]

    def __sub__(self, other: "Statistics") -> "Statistics":
        return Statistics(*(here - there for here, there in zip(astuple(self), astuple(other), strict=True)))


STEAM = Statistics(334542, 13046, 12.6, 0.0010)
PAPER = {
    "ml-1m": Statistics(6040, 3416, 165.5, 0.0484),
    "ml-20m": Statistics(138493, 18345, 144.3, 0.0079),
    "steam": STEAM,
    "steam-not-merged": STEAM,
    "steam-merged": STEAM,
}


def dataset_statistics(dataset: SequenceDataset) -> Statistics:
    """Return the size of a dataset after its filters, before or after it is split.

    Raises:
        UserError: its files are pre-split: an interaction may be in several rows, so the rows do not tell their number.
    """
    if dataset.benchmark_filename_list is not None:
        raise UserError(
            f"benchmark_filename: the rows of pre-split files repeat interactions, so {dataset.dataset_name} has no "
            f"statistics; measure the file that they were split from"
        )
    interactions = len(getattr(dataset, "history", dataset.inter_feat))
    users, items = dataset.user_num - 1, dataset.item_num - 1  # RecBole counts the padding
    return Statistics(users, items, interactions / users, interactions / users / items)


def rows(name: str, found: Statistics) -> dict[str, list[str]]:
    """Return {row: cells} of a dataset: `here`, and for one of Table 1 also `paper` and `difference`."""
    if name not in PAPER:
        return {"here": found.cells()}
    paper = PAPER[name]
    return {"here": found.cells(), "paper": paper.cells(), "difference": (found - paper).cells("+")}


def table(name: str, found: Statistics) -> TextTable:
    """Return the table of the dataset and, if Table 1 has it, the paper's row and the difference."""
    return TextTable(HEAD, [[name if row == "here" else row, *cells] for row, cells in rows(name, found).items()])
