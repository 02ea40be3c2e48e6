"""
Pursuits, which estimate the codes of every layer from a signal.

A pursuit is a function of a cascade and signals. To add one::

    from dcsc.pursuit import PursuitResult, register


    @register("my-pursuit")
    def my_pursuit(model, signals, *, reference=None, **parameters):
        codes, thresholds = ...
        return PursuitResult(codes, thresholds, iterations, optimality, "converged")

and name the file under ``plugins:`` in the configuration.
"""

from dcsc.pursuit.basis_pursuit import layered_basis_pursuit
from dcsc.pursuit.greedy import layered_omp
from dcsc.pursuit.holistic import holistic_pursuit
from dcsc.pursuit.least_squares import oracle_least_squares
from dcsc.pursuit.multilayer import multilayer_fista, multilayer_ista, projection_pursuit
from dcsc.pursuit.protocol import PursuitResult, get, names, register
from dcsc.pursuit.thresholding import layered_thresholding

__all__ = [
    "PursuitResult",
    "get",
    "holistic_pursuit",
    "layered_basis_pursuit",
    "layered_omp",
    "layered_thresholding",
    "multilayer_fista",
    "multilayer_ista",
    "names",
    "oracle_least_squares",
    "projection_pursuit",
    "register",
]
