"""From any RecBole sequential model to scores: at its training positions, for the next item, for all prefixes.

A scorer is what the trainers, the service and the attack know of a model. The default fits next-item models, whose
full_sort_predict scores all items after a sequence; models that can do better, or need other ways, have their own.
Column 0 of every score is padding.
"""

from recbole_gro.scoring.anonymous_user import AnonymousUserScorer
from recbole_gro.scoring.base import PACKAGED, NextItemScorer, _scorers, create_scorer, register_scorer, scorer_class
from recbole_gro.scoring.causal import CausalScorer
from recbole_gro.scoring.ensemble import Ensemble
from recbole_gro.scoring.fearec import FEARecScorer
from recbole_gro.scoring.masked import MaskedScorer
from recbole_gro.scoring.probability import ProbabilityScorer
from recbole_gro.scoring.recurrent import RecurrentScorer
from recbole_gro.scoring.sequences import keep_recent, length_groups, pad_sequences
from recbole_gro.scoring.trimmed import TrimmedScorer

__all__ = [
    "AnonymousUserScorer",
    "CausalScorer",
    "Ensemble",
    "FEARecScorer",
    "MaskedScorer",
    "NextItemScorer",
    "ProbabilityScorer",
    "RecurrentScorer",
    "TrimmedScorer",
    "create_scorer",
    "keep_recent",
    "length_groups",
    "pad_sequences",
    "register_scorer",
    "scorer_class",
]

PACKAGED.update(_scorers)
