"""A function that chooses the next item of a query sequence, in place of a random draw.

    cd examples
    recbole-gro -m GRU4Rec --query_strategy=coverage --query_choice=next_item:choose

It has what an attack has: the lists returned and the sequences so far, in item ids. A language model is plugged in at
`complete`: it gets a prompt for each sequence and returns an item id. The stand-in here needs no model and no network:
it draws one of the items that it is offered, those that none of the sequences has queried yet.
"""

import torch

SHOWN = 20  # items of a list in a prompt


def choose(served, sequences, generator):
    """Return the next item [S] of lists [S, k] and sequences [S, t]; 0 pads lists that have fewer than k items."""
    queried = set(sequences.flatten().tolist())
    chosen = []
    for listed, history in zip(served[:, :SHOWN].tolist(), sequences.tolist(), strict=True):
        items = [item for item in listed if item]
        offered = [item for item in items if item not in queried] or items
        answer = complete(
            f"A user liked {history[-10:]} and was shown {offered}. Which one is next?", offered, generator
        )
        chosen.append(answer if answer in items else items[0])
    return torch.tensor(chosen)


def complete(prompt, items, generator):
    """Return the answer to a prompt; replace the body by a call of a language model."""
    return items[int(torch.randint(len(items), (1,), generator=generator))]
