"""Ownership verification: whether a suspect recommender is a copy of the owner's model."""

from recbole_gro.ownership import contrast, fingerprint, marks  # noqa: F401  (register their methods)
