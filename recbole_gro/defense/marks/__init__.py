"""Watermarks, planted in training with a secret key: sequences to memorize (aow), runs in the data (injected)."""

from recbole_gro.defense.marks import aow as aow
from recbole_gro.defense.marks import injected as injected
