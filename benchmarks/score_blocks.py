"""A step of a target's training and of GRO's, with the scores of a batch in one table or in blocks of positions.

    python benchmarks/score_blocks.py [--models BERT4Rec GRU4Rec NARM SASRec] [--items 1682 3416 8000 20000]
        [--steps 10] [--rounds=3] [--length=50] [--stages target GRO] [--KEY=VALUE ...]

Nothing is loaded: sequences are drawn at random. The last column shows how much the losses of the first pass differ,
which both sides compute from equal weights and draws.
"""

import sys

from common import command
from picked_scores import compare, gro_stage, training_stage

from recbole_gro.scoring import score_blocks
from recbole_gro.trainer.base import TargetTrainer
from recbole_gro.utils.patching import replaced


def large_from(n_items):
    """Let catalogues be large from so many items on, inside the block."""
    return replaced(score_blocks, "LARGE", n_items)


def main(words):
    sides = {"one table": lambda _: large_from(sys.maxsize), "blocks": lambda _: large_from(0)}
    stages = {"target": training_stage(TargetTrainer, "fit"), "GRO": gro_stage}
    compare(words, "score_blocks", stages, [1682, 3416, 8000, 20000], **sides)


if __name__ == "__main__":
    command(__file__, main)
