"""Texts as categories. pandas hashes texts as C strings, which end at a NUL character; here that is a character too."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

NUL = "\0"


def categories_of(texts: Sequence[Any] | np.ndarray) -> pd.Categorical:
    """Return texts as categories, in the order of their first occurrence; what is no text is missing.

    >>> [str(name) for name in categories_of(["a", "a\\0b", "a"]).categories] == ["a", "a\\0b"]
    True
    """
    place_of = _places(filter(_is_text, texts))
    codes = np.fromiter((place_of[text] if _is_text(text) else -1 for text in texts), np.int64, len(texts))
    return pd.Categorical.from_codes(codes, _as_objects(place_of))


def joined_categories(parts: Sequence[pd.Categorical]) -> pd.Categorical:
    """Return the parts of a column as one; as pandas does unless a text has a NUL."""
    if not any(map(names_have_nul, parts)):
        return union_categoricals(parts)
    place_of = _places(name for part in parts for name in part.categories)
    codes = [np.array([*map(place_of.__getitem__, part.categories), -1])[part.codes] for part in parts]
    return pd.Categorical.from_codes(np.concatenate(codes), _as_objects(place_of))


def names_have_nul(values: pd.Categorical) -> bool:
    """Return whether a category, all of which are texts, has a NUL."""
    return NUL in "".join(values.categories)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _places(names: Iterable[str]) -> dict[str, int]:
    """Return the place of each distinct name."""
    return {name: place for place, name in enumerate(dict.fromkeys(names))}


def _as_objects(names: Iterable[str]) -> np.ndarray:
    """Return texts as objects: numpy's own arrays of texts drop a NUL at the end."""
    return np.array(list(names), dtype=object)
