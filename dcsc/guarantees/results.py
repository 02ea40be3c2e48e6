"""Results that all guarantees share, for a layer and for a path, and the reason why a code has no guarantee."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, kw_only=True)
class RecoveredLayer:
    """
    What a guarantee says about one layer of each code of a batch.

    Parameters
    ----------
    holds : ndarray of bool, shape (...)
        Whether the guarantee holds for the layer.
    eps_in : ndarray, shape (...)
        Bound on the patch norm of the error of the layer's input; infinity after a layer without a bound.
    error_bound : ndarray, shape (...)
        Bound on the patch norm of the error of the layer's code; infinity where there is none.
    """

    holds: NDArray
    eps_in: NDArray
    error_bound: NDArray


@dataclass(frozen=True, eq=False, kw_only=True)
class ThresholdedLayer(RecoveredLayer):
    """
    What a guarantee of thresholding says about one layer of each code of a batch.

    Parameters
    ----------
    holds, eps_in, error_bound
        As for `RecoveredLayer`.
    threshold : ndarray, shape (...) or (..., filter)
        beta, defined even when the interval is empty.
    threshold_lower, threshold_upper : ndarray, shape (...) or (..., filter)
        Ends of the interval of thresholds that the guarantee admits; empty when lower >= upper.
    """

    threshold: NDArray
    threshold_lower: NDArray
    threshold_upper: NDArray


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerForAllSigns(RecoveredLayer):
    """
    What a guarantee for all signs says about one layer of each code of a batch.

    Parameters
    ----------
    holds, eps_in, error_bound
        As for `RecoveredLayer`.
    stripe_sparsity : ndarray of int, shape (...)
        k = ||X||^S_{0,inf}.
    coherence : float
        mu.
    x_min : ndarray, shape (...)
        Smallest non-zero magnitude; infinity without non-zeros.
    reason : str
        Why the guarantee does not hold for some code; empty when it holds for all.
    """

    stripe_sparsity: NDArray
    coherence: float
    x_min: NDArray
    reason: str


Layer = TypeVar("Layer", bound=LayerForAllSigns)


@dataclass(frozen=True, eq=False)
class PathForAllSigns(Generic[Layer]):
    """
    What a guarantee for all signs says about every layer of the paths of a batch.

    Parameters
    ----------
    layers : tuple of LayerForAllSigns
        From layer 1 to layer L.
    form : str
        The form of the condition.
    """

    layers: tuple[Layer, ...]
    form: str

    @property
    def holds(self) -> NDArray:
        """Whether all supports of the path are certain to be recovered, shape (...)."""
        return np.logical_and.reduce([layer.holds for layer in self.layers])

    @property
    def reason(self) -> str:
        """Why the first layer concerned has no guarantee for some code; empty when all hold."""
        return next(
            (f"Layer {number}: {layer.reason}" for number, layer in enumerate(self.layers, 1) if layer.reason), ""
        )


def first_without(holds: NDArray) -> tuple[tuple[np.intp, ...], str]:
    """
    Find the first code that has no guarantee.

    Parameters
    ----------
    holds : ndarray of bool, shape (...)
        Whether each code has one; not all of them do.

    Returns
    -------
    index : tuple of int
        Of that code.
    words : str
        How many codes have none, a sentence that goes on with the cause.
    """
    count = holds.size - int(holds.sum())
    words = f"{count} of {holds.size} codes have no guarantee, the first because"
    return np.unravel_index(int(np.argmin(holds)), holds.shape), words
