"""Ownership verification: whether a suspect recommender is a copy of the owner's model."""
