"""
ISTA and FISTA for xi |x|_1 + |y - A x|^2 / 2, a batch of trials, in the frequency domain.

A sign of +-1 per atom makes the problem one-sided, as in `dcsc.pursuit.lasso`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dcsc.convolution.spectrum import SpectralGram, lipschitz_constant
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.parallel import over_trials
from dcsc.pursuit.lasso import LassoSolution, StoppingRule


def proximal_gradient(
    dictionary: ConvolutionalDictionary,
    signals: NDArray,
    penalties: NDArray,
    rule: StoppingRule,
    orientation: NDArray | None = None,
    progress: str = "",
    *,
    accelerate: bool = True,
    step: float | None = None,
) -> LassoSolution:
    """
    Minimise by ISTA, or by FISTA restarted when its momentum points uphill.

    A^T A acts in the frequency domain, once an iteration: the correlations at the extrapolated point are
    extrapolated themselves, so that the optimality is known at every iterate. Trials are solved one by one,
    on threads, for the arrays of one fit into a cache.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    signals : ndarray, shape (trial, channel, *space)
        y, of the type to compute in.
    penalties : ndarray, shape (trial,)
        xi > 0; infinity gives 0.
    rule : StoppingRule
        When a trial is solved.
    orientation : ndarray of +-1, shape (trial, filter, *position), optional
        Signs that the codes must have.
    progress : str
        Title of a progress bar; empty shows none.
    accelerate : bool
        FISTA with O'Donoghue and Candes' gradient restart, or ISTA.
    step : float, optional
        Step of the gradient; by default 1 over the exact Lipschitz constant.

    Returns
    -------
    LassoSolution
        One code per trial.
    """
    gram = SpectralGram(dictionary, signals.dtype)
    step = 1 / lipschitz_constant(dictionary) if step is None else step
    descent = _Descent(gram, signals.dtype.type(step), accelerate, rule)

    def work(row: int) -> tuple[NDArray, int, float]:
        target = dictionary.correlate(signals[row])
        energy = float((signals[row].astype(np.float64) ** 2).sum())
        oriented = None if orientation is None else orientation[row]
        code, iterations, optimality = descent(target, energy, float(penalties[row]), oriented)
        return code.astype(np.float64), iterations, optimality

    return LassoSolution.of_trials(over_trials(len(signals), work, progress), dictionary.code_shape)


@dataclass(frozen=True, eq=False)
class _Descent:
    """ISTA or FISTA of one trial after another."""

    gram: SpectralGram
    step: np.floating
    accelerate: bool
    rule: StoppingRule

    def __call__(
        self, target: NDArray, energy: float, penalty: float, orientation: NDArray | None
    ) -> tuple[NDArray, int, float]:
        """Code, iterations and optimality, from A^T y and |y|^2."""
        scale = float((np.abs(target) if orientation is None else target * orientation).max())
        current = np.zeros_like(target)
        if scale <= penalty:
            return current, 0, 0.0
        product = previous = previous_product = current
        xi, momentum = target.dtype.type(penalty), 1.0
        for done in range(self.rule.max_iterations + 1):
            optimality = _measure(self.rule.measure, current, product, target, energy, scale, penalty, orientation)
            if optimality <= self.rule.tolerance or done == self.rule.max_iterations:
                break
            grown = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            weight = target.dtype.type((momentum - 1) / grown if self.accelerate else 0.0)
            point = current + weight * (current - previous)
            moved = point + self.step * (target - product - weight * (product - previous_product))
            if orientation is None:
                new = moved - np.clip(moved, -self.step * xi, self.step * xi)  # soft thresholding in two passes
            else:
                new = orientation * np.maximum(orientation * moved - self.step * xi, 0)
            uphill = np.vdot(point - new, new - current) > 0
            momentum = 1.0 if uphill else grown
            previous, previous_product = current, product
            current = new.astype(target.dtype, copy=False)
            product = self.gram(current[None])[0]
        return current, done, optimality


def _measure(
    measure: str,
    code: NDArray,
    product: NDArray,
    target: NDArray,
    energy: float,
    scale: float,
    penalty: float,
    orientation: NDArray | None,
) -> float:
    """Stopping measure of one trial, from A^T A x and A^T y."""
    correlations = target - product
    largest = float((np.abs(correlations) if orientation is None else correlations * orientation).max())
    if measure == "kkt":
        active = code != 0
        on = np.abs(correlations[active] - penalty * np.sign(code[active])).max(initial=0.0)
        return max(float(on), largest - penalty, 0.0) / scale
    explained = float(np.einsum("i,i->", code.ravel(), target.ravel(), dtype=np.float64))
    square = energy - 2 * explained + float(np.einsum("i,i->", code.ravel(), product.ravel(), dtype=np.float64))
    shrunk = max(1.0, largest / penalty)
    objective = square / 2 + penalty * float(np.abs(code).sum(dtype=np.float64))
    dual = (energy - explained) / shrunk - square / (2 * shrunk**2)
    return (objective - dual) / objective if objective > 0 else 0.0
