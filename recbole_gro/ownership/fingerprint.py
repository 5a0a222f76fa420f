"""The method `fingerprint`: the owner's model in a line-up with models that differ from it by their seed alone."""

import math
from collections.abc import Mapping, Sequence

import torch
from scipy import stats
from torch import Tensor

from recbole_gro.config.settings import Key
from recbole_gro.ownership.method import (
    LEVEL,
    NoVerdict,
    Probes,
    Verdict,
    VerificationMethod,
    keyed_draws,
    register_method,
)
from recbole_gro.serving.saved_target import SavedTarget
from recbole_gro.utils.ranking import found_in

OWNER = "owner"
TOP = 10  # items of a list that are compared
DRAWN_FROM = 100  # first items of a list, at most a quarter of the catalogue, of which one comes next in a history
LENGTHS = range(3, 11)  # items of a history
CONFIDENCE = 0.95
FEWEST_ITEMS = 20  # distinctive items of each candidate without which there is no verdict
FEWEST = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)  # numbers of probes that a verdict is repeated with


@register_method("fingerprint")
class DistinctiveItems(VerificationMethod):
    """Compare how many distinctive items of the owner's model, and of each reference, a suspect lists.

    The candidates are the owner's model and R references: trained in the same way on the same data at other seeds.
    An item of a candidate's top 10 is distinctive where no other candidate lists it. The share s_j of candidate j's
    distinctive items that the suspect lists is what the suspect shares with this very training, as all else is common
    to the candidates. Histories are generated through the lists of all candidates, so that they single out none. A
    suspect that was made without the owner's model cannot tell it from the references: s_0, .., s_R are exchangeable,
    whatever architecture, data, quality or defense the suspect has. They are taken as normal, so that

        t = (s_0 - margin - mean(s_1..s_R)) / (sd(s_1..s_R) * sqrt(1 + 1/R))

    has, approximately, Student's distribution with R - 1 degrees of freedom where the margin is 0. In simulated
    line-ups without a margin, suspects that are no copies may reach `level` more often than it says, and more
    references do not change this. It is the default margin that keeps false claims below the level. The unit is the
    model, not the probe: more probes do not replace references.
    """

    summary = "distinctive items of the owner's model among the suspect's, against those of models of other seeds"
    source = "ours; fidelity of surrogates: Yue et al., RecSys'21 (arXiv 2109.01165)"
    assumptions = (
        "The references were trained as the owner's model, on the same data, and differ by their seed alone.",
        "A suspect that was made without the owner's model had no access to its seed either.",
        "Shares of distinctive items are normally distributed over seeds of the training.",
    )
    keys = (
        Key("level", LEVEL, "float 0<..<1", "maximum rate of false claims; a copy is claimed at or below this p-value"),
        Key("margin", 0.05, "float 0..1", "excess share of distinctive items that is no evidence of a copy"),
        Key("min_references", 5, "int >= 3", "reference models without which there is no verdict"),
    )
    needs_references = True
    reads_order = False
    effect_unit = "share"

    def check_owner(self, owner: SavedTarget) -> None:
        check_catalogue(owner)

    def probes(self, owner: SavedTarget, references: Mapping[str, SavedTarget], key: bytes, n: int) -> Probes:
        """Return generated histories, and the lists of all candidates for them."""
        self._check_enough(len(references))
        candidates = {OWNER: owner, **references}
        draw = torch.Generator().manual_seed(int(keyed_draws(key, "fingerprint").integers(2**62)))
        lengths = torch.randint(LENGTHS.start, LENGTHS.stop, (n,), generator=draw)
        histories = generate_histories(list(candidates.values()), lengths, draw)
        rows = [row[:length] for row, length in zip(histories.tolist(), lengths.tolist(), strict=True)]
        lists = {name: model.recommend(histories, TOP).tolist() for name, model in candidates.items()}
        return Probes(rows, {"lists": lists})

    def verdict(self, probes: Probes, lists: Tensor) -> Verdict:
        """Return the verdict from the lists of the candidates and the suspect."""
        found = self.measured(probes, lists)
        others, n = found.facts["reference_shares"], found.facts["distinctive_items"]
        if not any([found.facts["share"], *others.values()]):
            raise NoVerdict(
                f"the suspect lists no distinctive item of any model, of the owner's none of {n:,}, so its lists say "
                "nothing about where it comes from; a defense of the served list may have hidden these items"
            )
        longest = int((lists != 0).sum(1).max())
        _, totals = distinctive_hits(torch.tensor(list(probes.expected["lists"].values())), lists)
        fitting = float(totals[0].clamp(max=longest).sum() / n)
        lowest, *_ = self.tested([fitting, *[0.0] * len(others)], int(totals[1:].sum(1).min()))
        if lowest > self.settings["level"]:
            raise NoVerdict(
                f"no suspect could be claimed: lists of {longest} hold at most {100 * fitting:.0f} % of the owner's "
                f"{n:,} distinctive items, which gives a p-value of {lowest:.2g} or more; raise probes or references"
            )
        return found

    def measured(self, probes: Probes, lists: Tensor) -> Verdict:
        """Return the verdict also where the suspect's lists cannot bear one: it is none then, and no claim."""
        candidates = torch.tensor(list(probes.expected["lists"].values()))
        self._check_enough(len(candidates) - 1)
        hits, totals = distinctive_hits(candidates, lists)
        names, fewest = list(probes.expected["lists"]), int(totals.sum(1).min())
        if not fewest:
            raise NoVerdict("no item is distinctive of a candidate: a reference model is the owner's, or all are equal")
        if fewest < FEWEST_ITEMS:
            of = "the owner's model" if not (place := int(totals.sum(1).argmin())) else names[place]
            raise NoVerdict(
                f"too few distinctive items: {fewest} of {of}, where each model needs {FEWEST_ITEMS}; use more probes "
                f"than {len(probes.histories):,}"
            )
        shares = (hits.sum(1) / totals.sum(1)).tolist()
        p_value, excess, error = self.tested(shares, int(totals[1:].sum(1).min()))
        settings, freedom = self.settings, len(shares) - 2
        ends = stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * error
        mean = sum(shares[1:]) / len(shares[1:])
        needed = mean + settings["margin"] + stats.t.isf(settings["level"], freedom) * error
        return Verdict(
            p_value=p_value,
            level=settings["level"],
            # the share of one more reference, which the interval covers, is none below 0 or above 1
            effect=(excess, max(shares[0] - 1, excess - ends), min(shares[0], excess + ends)),
            effect_name="share of the owner's distinctive items that the suspect lists, beyond the mean over the "
            "references",
            null="the suspect was made without the owner's model, and lists no more of its distinctive items than of "
            f"one more reference's beyond the {freedom + 1} measured, plus the margin {settings['margin']:g} "
            "(Student's t)",
            turning_point=_turning_point(p_value <= settings["level"], shares[0], needed),
            facts={
                "distinctive_items": int(totals[0].sum()),
                "share": shares[0],
                "reference_shares": dict(zip(names[1:], shares[1:], strict=True)),
                "reference_mean": mean,
                "share_needed": needed,
                "rank": 1 + sum(share >= shares[0] for share in shares[1:]),
                "rank_p_value": (1 + sum(share >= shares[0] for share in shares[1:])) / len(shares),
                "probes_needed": self._probes_needed(hits, totals),
                "agreement@10": _agreement(candidates[0], lists),
            },
        )

    def tested(self, shares: Sequence[float], items: int = 0) -> tuple[float, float, float]:
        """Return the p-value, the excess of the first share over the mean of the others, and its standard error.

        Args:
            shares: of the distinctive items of the owner's model, then of each reference.
            items: number of distinctive items of the reference with the fewest, where it is known. The deviation of
                the references is at least what one of these items in the suspect's lists gives: all of their shares are
                0 for the owner's model itself, and where there are few probes.
        """
        others = torch.tensor(shares[1:], dtype=torch.float64)
        excess = shares[0] - float(others.mean())
        deviation = max(float(others.std()), 1 / (items * math.sqrt(len(others))) if items else 0.0)
        error = deviation * math.sqrt(1 + 1 / len(others))
        beyond = excess - self.settings["margin"]
        certain = math.copysign(math.inf, beyond) if beyond else 0.0  # where the references do not vary
        t = beyond / error if error else certain
        return float(stats.t.sf(t, len(others) - 1)), excess, error

    def _check_enough(self, n: int) -> None:
        if n < self.settings["min_references"]:
            raise NoVerdict(
                f"too few reference models: {n}, where the p-value needs at least {self.settings['min_references']}"
            )

    def _probes_needed(self, hits: Tensor, totals: Tensor) -> int | None:
        """Return the number of probes from which on the verdict is a claim; None where it is none with all of them."""
        needed = None
        for n in [*(few for few in FEWEST if few < hits.shape[1]), hits.shape[1]]:
            found, possible = hits[:, :n].sum(1), totals[:, :n].sum(1)
            claims = False
            if int(possible.min()) >= FEWEST_ITEMS:
                p_value, *_ = self.tested((found / possible).tolist(), int(possible[1:].min()))
                claims = p_value <= self.settings["level"]
            needed = (needed or n) if claims else None
        return needed


def check_catalogue(owner: SavedTarget) -> None:
    """Check that lists leave an item out.

    Raises:
        NoVerdict: each list of `TOP` items is the whole catalogue.
    """
    if owner.item_tokens and len(owner.item_tokens) - 1 <= TOP:  # [PAD] is one of them
        raise NoVerdict(
            f"lists of {TOP} items are compared, and the owner's catalogue has {len(owner.item_tokens) - 1}"
        )


def generate_histories(candidates: Sequence[SavedTarget], lengths: Tensor, draw: torch.Generator) -> Tensor:
    """Return histories [N, L], padded right with 0: each next item is one of a random candidate's list."""
    n, n_items = len(lengths), len(candidates[0].item_tokens or ())
    k = min(DRAWN_FROM, max(1, n_items // 4))
    histories = torch.randint(1, n_items, (n, 1), generator=draw)
    for _ in range(1, LENGTHS.stop - 1):
        who = torch.randint(len(candidates), (n,), generator=draw)
        place = torch.randint(k, (n, 1), generator=draw)
        following = torch.zeros(n, 1, dtype=torch.long)
        for number, model in enumerate(candidates):
            if len(rows := (who == number).nonzero().squeeze(1)):
                following[rows] = model.recommend(histories[rows], k).gather(1, place[rows])
        histories = torch.cat([histories, following], 1)
    return histories.where(torch.arange(histories.shape[1]) < lengths.unsqueeze(1), 0)


def distinctive_hits(candidates: Tensor, lists: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many distinctive items of each candidate the suspect lists, and how many there are, both [C, N].

    Args:
        candidates: [C, N, k] their lists.
        lists: [N, any] those of the suspect, of which the first k items count; 0 is no item.
    """
    hits, totals = [], []
    for number, own in enumerate(candidates):
        others = torch.cat([*candidates[:number], *candidates[number + 1 :]], dim=1)
        distinctive = ~found_in(own, others) & (own != 0)
        totals.append(distinctive.sum(1))
        hits.append((distinctive & found_in(own, lists[:, : own.shape[1]])).sum(1))
    return torch.stack(hits), torch.stack(totals)


def _agreement(own: Tensor, lists: Tensor) -> float:
    """Return agreement pooled over the probes; a mean over them would count a short list as much as a long one."""
    return float(found_in(own, lists[:, : own.shape[1]]).sum() / (own != 0).sum())


def _turning_point(is_claim: bool, share: float, needed: float) -> str:
    if is_claim:
        return (
            f"a suspect that lists less than {100 * needed:.1f} % of the owner's distinctive items, in place of "
            f"{100 * share:.1f} %, would not have been claimed"
        )
    return (
        f"a suspect that lists {100 * needed:.1f} % of the owner's distinctive items or more, in place of "
        f"{100 * share:.1f} %, would have been claimed"
    )
