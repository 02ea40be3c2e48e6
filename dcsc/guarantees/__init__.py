"""
When thresholding and basis pursuit must recover an activation path: the ladder of guarantees.

Every function names its statement in docs/theory.md.

========================================  =====================================================
function                                  what it tells
========================================  =====================================================
`uniform`                                 recovery for every sign: coherence, Babel, instance
`statistical`                             recovery with probability 1 - delta over random signs
`ladder`                                  all of them side by side
`certified_stripe_sparsity`               the largest stripe-sparsity that each one certifies
`largest_certified_size`                  the largest size of draws that a confidence limit certifies
`failure_limit`                           that confidence limit of a failure rate
`draw_failures`                           which draws of one layer a rung leaves to fail, at given thresholds
`path_interference`, `as_run`             the instance forms at the thresholds that a pursuit used
`covered_as_run`                          those for all signs alone
`failure_rate_bound`                      what they say of the failure rate over draws
`uniqueness`, `basis_pursuit`             [PRE17] Theorems 4, 11 and 12
`interference_bound`, `..._variance`      what active atoms add to the correlation of another
`least_squares_gain`                      how much debiasing amplifies an input error
`gaussian_noise_bound`                    patch norm that Gaussian noise rarely exceeds
========================================  =====================================================
"""

from dcsc.guarantees.as_run import (
    AsRun,
    PathInterference,
    as_run,
    covered_as_run,
    failure_rate_bound,
    path_interference,
)
from dcsc.guarantees.bounds import gaussian_noise_bound, least_squares_gain
from dcsc.guarantees.certified_size import CertifiedSize, candidate_sizes, failure_limit, largest_certified_size
from dcsc.guarantees.interference import interference_bound, interference_variance
from dcsc.guarantees.rungs import (
    RUNGS,
    CertifiedSparsity,
    Ladder,
    certified_stripe_sparsity,
    draw_failures,
    ladder,
)
from dcsc.guarantees.sparse_recovery import BasisPursuitLayer, BasisPursuitPath, basis_pursuit, uniqueness
from dcsc.guarantees.statistical_thresholding import StatisticalLayer, StatisticalPath, statistical
from dcsc.guarantees.uniform_thresholding import LayerGuarantee, PathGuarantee, uniform

__all__ = [
    "RUNGS",
    "AsRun",
    "BasisPursuitLayer",
    "BasisPursuitPath",
    "CertifiedSize",
    "CertifiedSparsity",
    "Ladder",
    "LayerGuarantee",
    "PathGuarantee",
    "PathInterference",
    "StatisticalLayer",
    "StatisticalPath",
    "as_run",
    "basis_pursuit",
    "candidate_sizes",
    "certified_stripe_sparsity",
    "covered_as_run",
    "draw_failures",
    "failure_limit",
    "failure_rate_bound",
    "gaussian_noise_bound",
    "interference_bound",
    "interference_variance",
    "ladder",
    "largest_certified_size",
    "least_squares_gain",
    "path_interference",
    "statistical",
    "uniform",
    "uniqueness",
]
