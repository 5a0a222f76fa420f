"""The random generators of a data loader."""

import torch


def generators_of(loader) -> dict[str, torch.Generator]:
    """What a loader draws from besides the process's generators, by purpose; RecBole's loader, ours of queries too."""
    found = {
        "order": getattr(loader, "generator", None),
        "windows": getattr(getattr(loader, "_dataset", None), "window_generator", None),
        "masks": getattr(getattr(loader, "transform", None), "generator", None),
    }
    return {purpose: generator for purpose, generator in found.items() if generator is not None}
