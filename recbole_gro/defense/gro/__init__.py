"""GRO (Zhang et al., WSDM'24): the paper's trainer and swap rule, and our variants, which register themselves."""

from recbole_gro.defense.gro import decoys as decoys
from recbole_gro.defense.gro import hold as hold
from recbole_gro.defense.gro import learning_rate_decay as learning_rate_decay
from recbole_gro.defense.gro import minimum_steps as minimum_steps
from recbole_gro.defense.gro import mixed_contexts as mixed_contexts
from recbole_gro.defense.gro import quality_constraint as quality_constraint
from recbole_gro.defense.gro import restricted_swap as restricted_swap
from recbole_gro.defense.gro import swap_variants as swap_variants
