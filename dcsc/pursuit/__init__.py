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
from dcsc.pursuit.least_squares import oracle_least_squares
from dcsc.pursuit.protocol import PursuitResult, get, names, register
from dcsc.pursuit.thresholding import layered_thresholding

__all__ = [
    "PursuitResult",
    "get",
    "layered_basis_pursuit",
    "layered_thresholding",
    "names",
    "oracle_least_squares",
    "register",
]
