"""The swap step of GRO: closed form against autograd through the dense swap matrix A [N, k, items].

    python benchmarks/gro_step.py [--sizes 200,3416,100 400,18345,100] [--rounds=3]

A size is lists, items with padding, list length.

Both sides start from the same target and student scores and negatives and end with A', the student's loss, the swap
loss and the gradients of both with respect to the scores. The dense side is the paper's text written down.
"""

import json

import torch
from common import command, in_child, machine, paired, peak_mib, positive, ratio_line

from recbole_gro import extraction_loss, sample_negatives, swap_loss, swap_targets
from recbole_gro.utils.command_line import Parser
from recbole_gro.utils.ranking import top_k


def scores(n_lists, n_items):
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(n_lists, n_items, generator=draw).requires_grad_() for _ in range(2)]


def closed(target, student, served, negatives):
    listed, outside = student.gather(1, torch.cat([served, negatives], 1)).chunk(2, 1)
    student_loss = extraction_loss(listed, outside)
    (gradient,) = torch.autograd.grad(student_loss, listed, retain_graph=True)
    swapped = swap_targets(student.detach(), served, gradient)
    swap = swap_loss(target, served, swapped)
    (student_loss + swap).backward()
    return swapped, swap, gradient


def dense(target, student, served, negatives):
    n_lists, n_items = target.shape
    a = torch.zeros(n_lists, served.shape[1], n_items).scatter_(2, served.unsqueeze(2), 1).requires_grad_()
    student_loss = extraction_loss((a @ student.unsqueeze(2)).squeeze(2), student.gather(1, negatives))
    student_loss.backward()
    gradient = a.grad
    gradient[:, :, 0] = -torch.inf  # padding is no item
    swapped = gradient.argmax(2)
    a_swapped = torch.zeros_like(gradient).scatter_(2, swapped.unsqueeze(2), 1)
    swap = torch.relu(((a.detach() - a_swapped) @ target.unsqueeze(2)).squeeze(2)).mean()
    swap.backward()
    return swapped, swap


def one_side(side, n_lists, n_items, k):
    """Run one side once; what it adds to this process's peak memory."""
    target, student = scores(n_lists, n_items)
    served = top_k(target.detach(), k)
    negatives = sample_negatives(served, n_items)
    before = peak_mib()
    {"closed": closed, "dense": dense}[side](target, student, served, negatives)
    print(json.dumps({"added_mib": peak_mib() - before}))


def compare(n_lists, n_items, k, rounds):
    sides = {name: scores(n_lists, n_items) for name in ("closed", "dense")}
    served = top_k(sides["closed"][0].detach(), k)
    negatives = sample_negatives(served, n_items, torch.Generator().manual_seed(2))
    swapped, _, gradient = closed(*sides["closed"], served, negatives)
    dense_swapped, dense_swap = dense(*sides["dense"], served, negatives)
    moves = gradient != 0
    same = torch.where(moves, dense_swapped, served)
    gradients = [float((a.grad - b.grad).abs().max()) for a, b in zip(sides["closed"], sides["dense"], strict=True)]
    print(f"N={n_lists} items={n_items - 1} k={k}")
    print(f"  same A' where g != 0 ({moves.float().mean():.0%} of rows): {torch.equal(same, swapped)}")
    # rows with g = 0: the dense argmax takes the first item; put ours there to compare the loss of the same A'
    again = swap_loss(sides["dense"][0], served, torch.where(moves, swapped, dense_swapped))
    print(f"  swap loss of the same A': closed {again.item():.7f}, dense {dense_swap.item():.7f}")
    print(f"  largest difference of the student's gradients: {gradients[1]:.1e}")
    both = paired(
        lambda: dense(*sides["dense"], served, negatives), lambda: closed(*sides["closed"], served, negatives), rounds
    )
    print("  " + ratio_line("time, dense / closed", *both))
    added = {
        side: in_child(__file__, f"--side={side}", "--sizes", f"{n_lists},{n_items},{k}")["added_mib"]
        for side in ("dense", "closed")
    }
    print(f"  memory added, dense {added['dense']:.0f} MiB, closed {added['closed']:.0f} MiB")


def size(text):
    """Return lists, items with padding and list length of a command-line word."""
    n_lists, n_items, k = (int(number) for number in text.split(","))
    if not 0 < k < n_items - 1 or n_lists < 1:
        raise ValueError
    return n_lists, n_items, k


def main(words):
    parser = Parser(prog="gro_step")
    parser.add_argument("--sizes", type=size, nargs="+", default=[(200, 3416, 100), (400, 18345, 100)])
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--side", choices=("closed", "dense"), help="measure the memory of one side alone")
    given = parser.parse_args(words)
    if given.side:
        return one_side(given.side, *given.sizes[0])
    print(machine())
    for each in given.sizes:
        compare(*each, given.rounds)


if __name__ == "__main__":
    command(__file__, main)
