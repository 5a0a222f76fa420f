"""Eq. 4 of GRO (Zhang et al., WSDM'24), the loss of a model trained on served lists, and its sampled negatives."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu


def extraction_loss(
    listed: Tensor,
    negatives: Tensor,
    margin_rank: float = 0.5,
    margin_negative: float = 0.5,
    paper_code_ties: bool = False,
    *,
    lengths: Tensor | None = None,
) -> Tensor:
    """Compute Eq. 4: how far a model's scores are from the served lists; trains the student and the surrogate.

    With s the scores of a list's k items and n those of its negatives: the sum over i = 1 .. k - 1 of
    max(s_{i+1} - s_i + m1, 0) and the sum over i = 1 .. k of max(n_i - s_i + m2, 0), both divided by k.

    Args:
        listed: [N, k] scores of the served items by the student or surrogate, best position first.
        negatives: [N, k] its scores of one sampled item per position.
        margin_rank: m1, by which an item is to outscore the one listed below it.
        margin_negative: m2, by which a listed item is to outscore a sampled one.
        paper_code_ties: take the two means of the authors' code, over k - 1 and over k terms, where the default
            divides both sums of the paper by k. With sums the pulls of both neighbours and the negative can cancel
            to exactly 0; with means they leave a tiny positive gradient, which flips a swap target.
        lengths: [N] items in each list, where some have fewer than k; None where all have k. Entries after them count
            in neither sum, and the list's own length replaces k: a list of n items weighs as one of k = n.

    Returns:
        [] the mean over lists, in float32 whatever the type of the scores: the signs of its gradient decide the swap
        targets, which half precision would change.
    """
    listed, negatives = listed.float(), negatives.float()
    k = listed.shape[-1]
    ordered = relu(listed[..., 1:] - listed[..., :-1] + margin_rank)
    outside = relu(negatives - listed + margin_negative)
    if lengths is None:
        pairs = max(k - 1, 1) if paper_code_ties else k
        return (ordered.sum(-1) / pairs + outside.sum(-1) / k).mean()
    after = torch.arange(k, device=listed.device) >= lengths.unsqueeze(-1)
    ordered, outside = ordered.masked_fill(after[..., 1:], 0), outside.masked_fill(after, 0)
    own_pairs = (lengths - 1 if paper_code_ties else lengths).clamp(min=1)
    return (ordered.sum(-1) / own_pairs + outside.sum(-1) / lengths.clamp(min=1)).mean()


class BatchPart(NamedTuple):
    """Say which lists of a batch one process has: its draws are then those that one process with all lists makes.

    Attributes:
        first: number of lists before its own.
        total: number of lists in the batch.
    """

    first: int
    total: int


def sample_negatives(
    served: Tensor,
    n_items: int,
    generator: torch.Generator | None = None,
    paper_code_ties: bool = False,
    lengths: Tensor | None = None,
    *,
    batch_part: BatchPart | None = None,
) -> Tensor:
    """Sample one item per list position, uniformly from the items outside the list.

    With m items, k listed: ids 1 .. m - k are drawn, and each listed id among them is replaced by one of the unlisted
    ids above. No sort, no rejection, and one table [N, n_items] of two bytes per entry.

    Args:
        served: [N, k] item ids, all different within a list; 0 pads those that have fewer than k.
        n_items: size of the id space, padding included.
        generator: source of the draws, on the device of `served`.
        paper_code_ties: draw as the authors' code does, from softmax over weights 1 (outside) and 0 (listed): a
            listed item is then still drawn, 1/e times as often as another.
        lengths: [N] items in each list, where some have fewer than k; None where all have k.
        batch_part: place of the lists in a batch, for all of which is drawn; None where they are the batch.

    Returns:
        [N, k] item ids, at padded positions too.

    Raises:
        ValueError: the list holds every item of the catalogue.
    """
    k = served.shape[1]
    fewest = n_items - 1 - k
    if fewest < 1:
        raise ValueError(f"a list of {k} out of {n_items - 1} items leaves none to sample")
    listed_k = k if lengths is None else lengths.unsqueeze(1)
    outside = n_items - 1 - listed_k
    drawn = 1 + _uniform(outside, served, generator, batch_part)
    # listed ids are numbered from 1 among those that can be drawn; what is not listed has 0
    narrow = torch.int16 if k < 2**15 else torch.int64
    number = (served <= outside).cumsum(1).clamp_(min=1).to(narrow)
    numbers = torch.zeros(len(served), n_items, dtype=narrow, device=served.device).scatter_(1, served, number)
    above = torch.arange(fewest + 1, n_items, device=served.device)
    unlisted_above = (numbers[:, fewest + 1 :] == 0) & (above > outside)
    place = unlisted_above.cumsum(1) * unlisted_above  # 0 collects the others
    stands_for = torch.zeros(len(served), k + 1, dtype=torch.long, device=served.device).scatter_(
        1, place, above.expand_as(place)
    )
    listed = numbers.gather(1, drawn).long()
    sampled = torch.where(listed > 0, stands_for.gather(1, listed), drawn)
    if not paper_code_ties:
        return sampled
    chance_listed = listed_k / (listed_k + math.e * outside)
    shape, own = _draws(served, batch_part)
    uniform = torch.rand(shape, generator=generator, device=served.device)[own]
    position = _uniform(listed_k, served, generator, batch_part)
    return torch.where(uniform < chance_listed, served.gather(1, position), sampled)


def _uniform(
    bounds: int | Tensor, like: Tensor, generator: torch.Generator | None, batch_part: BatchPart | None
) -> Tensor:
    """Draw integers from 0 below one bound, or below one bound per row [N, 1], of the shape and device of `like`."""
    shape, own = _draws(like, batch_part)
    if isinstance(bounds, int):
        return torch.randint(bounds, shape, generator=generator, device=like.device)[own]
    return (torch.rand(shape, dtype=torch.double, generator=generator, device=like.device)[own] * bounds).long()


def _draws(like: Tensor, batch_part: BatchPart | None) -> tuple[tuple[int, int], slice]:
    """Return the shape of the draws for a batch, and the rows of it that belong to `like`."""
    first, total = batch_part or (0, len(like))
    return (total, like.shape[1]), slice(first, first + len(like))
