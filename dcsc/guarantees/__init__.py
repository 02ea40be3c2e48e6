"""
Guarantees that thresholding and basis pursuit recover an activation path: the ladder of guarantees.

Every function names its statement in docs/theory.md. The names are loaded when first used, so that a stage depends only
on the modules that it uses.

========================================  =====================================================
function                                  what it returns
========================================  =====================================================
`uniform`                                 recovery for every sign: coherence, Babel, instance
`statistical`                             recovery with probability 1 - delta over random signs
`ladder`                                  all guarantees for the same codes
`certified_stripe_sparsity`               the largest stripe-sparsity that each one certifies
`largest_certified_size`                  the largest size of draws that a confidence limit certifies
`failure_limit`                           that confidence limit of a failure rate
`draw_failures`                           which draws of one layer a rung does not cover, at given thresholds
`path_interference`, `as_run`             the instance forms at the thresholds that a pursuit used
`covered_as_run`                          those for all signs alone
`failure_rate_bound`                      the bound on the failure rate over draws that follows
`uniqueness`, `basis_pursuit`             [PRE17] Theorems 4, 11 and 12
`basis_pursuit_on_supports`               basis pursuit on given supports, for all signs and for random ones
`recovers_all_signs`                      the same for all signs only, which is faster
`support_certificates`                    the same for one layer
`basis_pursuit_with_noise`                basis pursuit with a penalty in one layer under bounded noise
`top_k_failure`                           top-k of one layer over random signs, pair by pair
`tail_probability`                        tails of Rademacher sums, up to exact ones
`interference_bound`, `..._variance`      what active atoms add to the correlation of another
`least_squares_gain`                      how much debiasing amplifies an input error
`gaussian_noise_bound`                    patch norm that Gaussian noise rarely exceeds
========================================  =====================================================
"""

from __future__ import annotations

import importlib
from typing import Any

_NAMES = {
    "basis_pursuit_instance": (
        "CertifiedSupports",
        "SupportLayer",
        "SupportPath",
        "basis_pursuit_on_supports",
        "recovers_all_signs",
        "support_certificates",
    ),
    "basis_pursuit_noise": ("NoisyBasisPursuit", "basis_pursuit_with_noise"),
    "bounds": ("gaussian_noise_bound", "least_squares_gain"),
    "certified_size": ("CertifiedSize", "Failures", "candidate_sizes", "failure_limit", "largest_certified_size"),
    "interference": ("interference_bound", "interference_variance"),
    "rungs": (
        "BASIS_PURSUIT_RUNGS",
        "RUNGS",
        "SUPPORT_RUNGS",
        "THRESHOLDING_RUNGS",
        "TOP_K_RUNG",
        "CertifiedSparsity",
        "Ladder",
        "certified_stripe_sparsity",
        "draw_failures",
        "ladder",
    ),
    "sharp_tails": ("tail_probability",),
    "tails": ("TAILS",),
    "top_k": ("top_k_failure",),
    "sparse_recovery": ("BasisPursuitLayer", "BasisPursuitPath", "basis_pursuit", "uniqueness"),
    "statistical_thresholding": ("StatisticalLayer", "StatisticalPath", "statistical"),
    "thresholds_as_run": (
        "AsRun",
        "PathInterference",
        "as_run",
        "covered_as_run",
        "failure_rate_bound",
        "path_interference",
    ),
    "uniform_thresholding": ("LayerGuarantee", "PathGuarantee", "uniform"),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
