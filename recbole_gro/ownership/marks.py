"""Verification of watermarks that a training defense planted: `aow` and `injected`."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from recbole_gro.config.settings import Key
from recbole_gro.defense.defense_key import defense_key, possible_keys
from recbole_gro.defense.marks.marks import WORDS, Marks, keyed_word
from recbole_gro.defense.settings import KeyedSettings
from recbole_gro.ownership.method import LEVEL, NoVerdict, Probes, Verdict, VerificationMethod, register_method
from recbole_gro.serving.saved_target import SavedTarget
from recbole_gro.utils.ranking import found_in

MOST_SUMS = 2**22  # sums of gains that are in memory at once, one per item of the catalogue and row: 32 MB
Z = 1.96  # of a 95 % interval


class MarkVerification(VerificationMethod):
    """Compare the rank of each item that the key chose with the ranks of those that it could have chosen.

    After a history that ends in the first items of a mark, the key chose the next item among candidates, all equally
    likely. A suspect that knows nothing of the key ranks the chosen one anywhere among them: the share of the
    candidates that it ranks higher, ties broken by a keyed draw, is uniform, and independent of the shares before. So
    minus the sum of their logarithms over T items has the distribution Gamma(T, 1) exactly, whatever the suspect
    (Fisher's method).
    """

    key_was_planted = True
    effect_unit = "percent"
    assumptions: ClassVar[tuple[str, ...]] = (
        "The suspect's training did not depend on the owner's key, other than through the owner's model.",
        "The owner's commitment to the key is older than the suspect, so that no key was chosen to fit it.",
        "So is the owner's checkpoint, whose sha256 somebody dated: it holds the candidates, which could be chosen to "
        "fit a suspect by any key.",
    )
    keys: ClassVar[tuple[Key, ...]] = (
        Key("level", LEVEL, "float 0<..<1", "maximum rate of false claims; a copy is claimed at or below this p-value"),
    )
    context_items = 0  # random ones before the items of a mark
    contexts = 1  # histories for each item

    def probes(self, owner: SavedTarget, references: Any, key: bytes, n: int) -> Probes:
        self.check_owner(owner)
        state: Any = owner.marks
        marks = Marks(state["method"], state["sequences"].long(), state["candidates"].long())
        by_seed = KeyedSettings.of(owner.config).defense_key == "seed"
        keys = [defense_key(owner.config)] if by_seed else possible_keys(key)
        key = next(filter(marks.fit_key, keys), b"")
        if not key:
            raise NoVerdict("the key is not the one with which the owner's model was trained")
        steps = [(row, place) for place in range(1, marks.sequences.shape[1]) for row in range(len(marks.sequences))]
        steps = sorted(steps)[: n // self.contexts]
        if not steps:
            raise NoVerdict(f"{n} lists are too few: one test takes {self.contexts}")
        ties = [keyed_word(key, f"{self.name} tie", row, place) / WORDS for row, place in steps]
        self._check_possible(steps, marks.candidates, ties)
        sequences, candidates = marks.sequences.tolist(), marks.candidates.tolist()
        model: Any = owner.model
        catalogue = model.n_items - 1

        def context(row: int, place: int, number: int) -> list[int]:
            draws = (keyed_word(key, self.name, row, place, number, at) for at in range(self.context_items))
            return [1 + draw % catalogue for draw in draws]

        return Probes(
            [
                context(row, place, number) + sequences[row][:place]
                for row, place in steps
                for number in range(self.contexts)
            ],
            {
                "contexts": self.contexts,
                "items": [sequences[row][place] for row, place in steps],
                "candidates": [[item for item in candidates[row][place - 1] if item] for row, place in steps],
                "ties": ties,
            },
        )

    def _check_possible(self, steps: list[tuple[int, int]], candidates: Tensor, ties: list[float]) -> None:
        """Check that a suspect which ranks every marked item first could be claimed.

        Raises:
            NoVerdict: it could not.
        """
        numbers = torch.stack([(candidates[row][place - 1] != 0).sum() for row, place in steps])
        most = -((1 - torch.tensor(ties, dtype=torch.float64)) / numbers).log().sum()
        if (lowest := gamma_tail(most, len(steps))) > self.settings["level"]:
            raise NoVerdict(
                f"no suspect could be claimed: {len(steps)} marked items give a p-value of {lowest:.2g} or more, and "
                f"the level is {self.settings['level']:g}; raise probes"
            )

    def check_owner(self, owner: SavedTarget) -> None:
        if owner.marks is None or owner.marks["method"] != self.name:
            raise NoVerdict(f"the owner's model was not trained with the defense {self.name}: it holds no such marks")

    def verdict(self, probes: Probes, lists: Tensor) -> Verdict:
        items = torch.tensor(probes.expected["items"])
        candidates = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(row) for row in probes.expected["candidates"]], batch_first=True
        )
        lists = lists.view(len(items), probes.expected["contexts"], -1)
        shares = higher_shares(items, candidates, lists, torch.tensor(probes.expected["ties"], dtype=torch.float64))
        found, by_chance = listed(items, candidates, lists)
        if not bool(by_chance.any()):
            raise NoVerdict(
                f"the suspect lists none of the items among which the key chose the {len(items)} marked ones, so its "
                "lists say nothing about the key. This is usual for a model that is no copy, in short lists; longer "
                "lists (k) may say something"
            )
        evidence, n = -shares.log().sum(), len(items)
        p_value = gamma_tail(evidence, n)
        share, chance = float(found.mean()), float(by_chance.mean())
        low, high = wilson(share, n)
        needed = _needed(n, self.settings["level"])
        return Verdict(
            p_value=p_value,
            level=self.settings["level"],
            effect=(100 * (share - chance), 100 * (low - chance), 100 * (high - chance)),
            effect_name=f"percent of marked items in the top {lists.shape[2]}, less what chance gives",
            null="the suspect knows nothing of the key; the key could have chosen any of the candidates for each "
            "marked item, which gives the distribution exactly",
            turning_point=f"the evidence is {evidence:.1f} over {n} marked items, a claim takes {needed:.1f}",
            facts={"marked_items": n, "listed": share, "listed_by_chance": chance},
        )


def higher_shares(items: Tensor, candidates: Tensor, lists: Tensor, ties: Tensor) -> Tensor:
    """Return the share [T] of the candidates that a suspect ranks above each item, in (0, 1], ties broken by draws.

    Args:
        items: [T] the chosen ones.
        candidates: [T, C] different items that include it; 0 pads.
        lists: [T, H, k] best first; 0 pads. The rank of an item is by the sum of 1 / log2(1 + rank) over H lists.
        ties: [T] uniform draws from 0 to 1: which place the item has among those with its sum.
    """
    n_items = int(max(lists.max(), candidates.max())) + 1
    gain = 1 / (torch.arange(lists.shape[2], dtype=torch.float64) + 2).log2()
    which, rows = torch.cat([candidates, items.unsqueeze(1)], 1), max(1, MOST_SUMS // n_items)
    sums = torch.cat([_sums(*block, gain, n_items) for block in zip(which.split(rows), lists.split(rows), strict=True)])
    others, own = sums[:, :-1], sums[:, -1:]
    real = candidates != 0
    higher, equal = ((others > own) & real).sum(1), ((others == own) & real).sum(1)
    return (higher + (1 - ties) * equal) / real.sum(1)


def _sums(which: Tensor, lists: Tensor, gain: Tensor, n_items: int) -> Tensor:
    """Return the sum [T, C] of the gains of some items over lists [T, H, k], with gains [k] per rank."""
    table = torch.zeros(len(which), n_items, dtype=torch.float64)
    table.scatter_add_(1, lists.flatten(1), gain.expand(lists.shape).flatten(1))
    return table.gather(1, which).float()  # in which sums of the same terms in another order are equal


def listed(items: Tensor, candidates: Tensor, lists: Tensor) -> tuple[Tensor, Tensor]:
    """Return the share [T] of the lists [T, H, k] that hold each item, and the mean share over its candidates."""
    repeated = candidates.unsqueeze(1).expand(-1, lists.shape[1], -1)
    by_chance = found_in(repeated, lists).sum((1, 2)) / ((candidates != 0).sum(1) * lists.shape[1])
    own = items.view(-1, 1, 1).expand(-1, lists.shape[1], 1)
    return found_in(own, lists).double().mean((1, 2)), by_chance.double()


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of Wilson (1927, doi 10.1080/01621459.1927.10502953) for a share of n.

    It has a width where none or all are found, and is wide enough too for unequal chances and for means of lists, which
    are no whole counts, as scipy's interval takes.
    """
    middle, half = share + Z**2 / (2 * n), Z * math.sqrt(share * (1 - share) / n + (Z / (2 * n)) ** 2)
    low, high = (middle - half) / (1 + Z**2 / n), (middle + half) / (1 + Z**2 / n)
    return max(0.0, min(share, low)), min(1.0, max(share, high))  # which holds the share, whatever rounding does


def gamma_tail(evidence: Tensor, n: int) -> float:
    """Return the probability that a Gamma(n, 1) variable is at least this."""
    return float(torch.special.gammaincc(torch.tensor(float(n), dtype=torch.float64), evidence.double()))


def _needed(n: int, level: float) -> float:
    """Return the least evidence that is a claim at a level, by bisection."""
    low, high = 0.0, 10.0 * n + 50 - 2 * math.log(level)
    for _ in range(60):
        middle = torch.tensor((low + high) / 2, dtype=torch.float64)
        low, high = (float(middle), high) if gamma_tail(middle, n) > level else (low, float(middle))
    return high


@register_method("aow")
class AOWVerification(MarkVerification):
    """Ask for the next items of the sequences that `defense=aow` had the target memorize."""

    summary = "the ranks of the next items of memorized sequences"
    source = "Zhang et al., CIKM'24, arXiv 2407.21034; the test is ours"


@register_method("injected")
class InjectedVerification(MarkVerification):
    """Ask for the next items of the runs that `defense=injected` put into the training data, after random items."""

    summary = "the ranks of the next items of runs in the training data"
    source = "DWRS, Zhang et al., KDD'25, arXiv 2411.12989; the test is ours"
    keys: ClassVar[tuple[Key, ...]] = (
        *MarkVerification.keys,
        Key("injected_contexts", 10, "int >= 1", "histories that each run continues, as probes"),
        Key("injected_context_items", 10, "int >= 0", "random items before a run in a history"),
    )

    def __init__(self, settings: Any):
        super().__init__(settings)
        self.contexts = self.settings["injected_contexts"]
        self.context_items = self.settings["injected_context_items"]
