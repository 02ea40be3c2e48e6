"""
Pursuits: algorithms that estimate the codes of every layer from a signal.

============================  =========================================================================
name                          what it does
============================  =========================================================================
``layered-thresholding``      one step per layer: the forward pass of a network
``layered-basis-pursuit``     l1 minimisation layer by layer, Lagrangian or exact
``layered-matching-pursuit``  orthogonal matching pursuit layer by layer
``multilayer-ista``           l1 norms of all layers at once ([SABE20]), a recurrent network
``multilayer-fista``          the same with momentum
``projection-pursuit``        l1 norm of the deepest code, then projection onto the model
``holistic-pursuit``          the same, alternating with a search for zeros of the upper layers ([ASE19])
``oracle-least-squares``      least squares on the true supports, the reference
============================  =========================================================================

A pursuit is a function of a cascade and signals. To add one::

    from dcsc.pursuit import PursuitResult, register


    @register("my-pursuit")
    def my_pursuit(model, signals, *, reference=None, noise=0.0, **parameters):
        codes, thresholds = ...
        return PursuitResult(codes, thresholds, iterations, optimality, "converged")

and name the file under ``plugins:`` in the configuration.
"""

from dcsc.pursuit.basis_pursuit import layered_basis_pursuit
from dcsc.pursuit.greedy import layered_matching_pursuit
from dcsc.pursuit.holistic import holistic_pursuit
from dcsc.pursuit.least_squares import oracle_least_squares
from dcsc.pursuit.multilayer import multilayer_fista, multilayer_ista, projection_pursuit
from dcsc.pursuit.protocol import PursuitResult, check_parameters, get, names, register
from dcsc.pursuit.sparse_thresholding import threshold_codes
from dcsc.pursuit.thresholding import layered_thresholding

__all__ = [
    "PursuitResult",
    "check_parameters",
    "get",
    "holistic_pursuit",
    "layered_basis_pursuit",
    "layered_matching_pursuit",
    "layered_thresholding",
    "multilayer_fista",
    "multilayer_ista",
    "names",
    "oracle_least_squares",
    "projection_pursuit",
    "register",
    "threshold_codes",
]
