"""
Filters whose mutual coherence is minimised towards the Welch bound.

The coherence is a maximum of many inner products and has no gradient where two of
them tie, so the p-norm of all of them is minimised in its place, for p doubled step
by step. The norm and its gradient come from zero-padded FFTs of the filters' phases on
the stride lattice, so that one evaluation costs about n_filters squared FFTs.

Every sum here is NumPy's own. A threaded BLAS, also the one under scipy's L-BFGS-B,
splits long sums by the number of cores, and its rounding would change the filters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import real_array
from dcsc.convolution.filter_bank import per_axis
from dcsc.errors import UserError
from dcsc.families.registry import register
from dcsc.families.sizes import Grid, PerAxis, at_least, shape_of
from dcsc.model.dictionary import ConvolutionalDictionary

EXPONENTS = tuple(2**power for power in range(2, 13))
"""The p of the norms, in order: 4, 8, ..., 4096."""

_MEMORY = 20
_WINDOW = 25
_NEGLIGIBLE = 1e-12
_LINE_SEARCH_STEPS = 30


@register("optimised")
def optimised(
    grid: Grid,
    rng: Generator,
    *,
    n_filters: int,
    taps: PerAxis,
    stride: PerAxis = 1,
    n_channels: int = 1,
    iterations: int = 3000,
    tolerance: float = 1e-4,
    progress: bool = False,
) -> ConvolutionalDictionary:
    """
    Build filters of low mutual coherence by optimisation from a Gaussian start, typically 1.2 times the Welch bound.

    When to take it: for the lowest coherence at a given size and redundancy, near the Welch bound; it takes
    seconds to minutes.

    Parameters
    ----------
    grid, rng, n_filters, taps, stride, n_channels
        As for `gaussian`; rng draws the start, and the filters do not depend on the size of the grid.
    iterations, tolerance, progress
        As for `minimise_coherence`.

    Returns
    -------
    ConvolutionalDictionary
        The filters of lowest coherence among all iterates.

    Raises
    ------
    UserError
        When a parameter is not allowed or the sizes do not fit the grid.
    """
    start = rng.standard_normal(shape_of(grid, taps, n_filters, n_channels))
    # Made before the search, so that sizes that do not fit are refused at once.
    dictionary = ConvolutionalDictionary(start, stride, grid, normalize=True)
    filters = minimise_coherence(
        dictionary.filters, dictionary.stride, iterations=iterations, tolerance=tolerance, progress=progress
    )
    return ConvolutionalDictionary(filters, stride, grid, normalize=True)


def minimise_coherence(
    filters: ArrayLike,
    stride: int | Sequence[int] = 1,
    *,
    iterations: int = 3000,
    tolerance: float = 1e-4,
    progress: bool = False,
    callback: Callable[[int, int, float], None] | None = None,
) -> NDArray:
    """
    Lower the mutual coherence of given filters, by L-BFGS on p-norms of growing p.

    Parameters
    ----------
    filters : array_like, shape (filter, channel, *tap)
        The start; it is scaled to unit norms.
    stride : int or sequence of int, in grid points
        Distance between neighbouring positions, one for all axes or one per axis.
    iterations : int
        Largest number of steps in all; each p gets an equal share of those that are left.
    tolerance : float
        The next p is taken when the p-norm fell by less than this share of itself in 25 steps.
    progress : bool
        Show a progress bar with the coherence.
    callback : callable, optional
        Called after every step with its number, p and the mutual coherence.

    Returns
    -------
    ndarray, shape of filters
        Unit-norm filters, those of lowest coherence among all iterates. Equal starts give bitwise
        equal filters on one type of processor, whatever the number of cores.

    Raises
    ------
    UserError
        When iterations or tolerance is negative or the stride is not allowed.

    Notes
    -----
    Measured with one filter channel, stride 1 and the default budget, the coherence
    comes to 1.18 times the Welch bound for 2 filters of 256, 1024 or 4096 taps.
    """
    at_least(0, iterations=iterations, tolerance=tolerance)
    point = _normalised(np.array(real_array(filters, "filters"), dtype=np.float64))
    stride = per_axis(stride, point.ndim - 2, "stride")
    least, best = coherence_norm(point, stride, EXPONENTS[-1])[2], point
    step = 0
    with _progress_bar(iterations, progress) as bar:
        for stage, exponent in enumerate(EXPONENTS):
            share = (iterations - step) // (len(EXPONENTS) - stage)
            for moved, coherence in _stage(point, stride, exponent, share, tolerance):
                step, point = step + 1, moved
                if coherence < least:
                    least, best = coherence, point
                if callback is not None:
                    callback(step, exponent, coherence)
                bar.update()
                bar.set_postfix(p=exponent, coherence=f"{coherence:.5f}", refresh=False)
            point = _normalised(point)
    return _normalised(best)


def _progress_bar(total: int, shown: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, desc="minimising coherence", unit="step", disable=not shown)


def _stage(
    start: NDArray, stride: tuple[int, ...], exponent: int, iterations: int, tolerance: float
) -> Iterator[tuple[NDArray, float]]:
    """Give the filters and the coherence after every step at one exponent."""
    logarithms: list[float] = []

    def objective(point: NDArray) -> tuple[float, NDArray, float]:
        return coherence_norm(point, stride, exponent)

    for _, (point, logarithm, coherence) in zip(range(iterations), _descend(objective, start), strict=False):
        yield point, coherence
        logarithms.append(logarithm)
        stalled = len(logarithms) > _WINDOW and logarithms[-1 - _WINDOW] - logarithm < tolerance
        if stalled or coherence < _NEGLIGIBLE:
            return


def coherence_norm(filters: NDArray, stride: tuple[int, ...], exponent: int) -> tuple[float, NDArray, float]:
    """
    Logarithm of the p-norm of a dictionary's inner products, with its gradient.

    The filters are scaled to unit norm inside, so that the gradient is tangential.

    Parameters
    ----------
    filters : ndarray, shape (filter, channel, *tap)
        Filters of any norm but 0.
    stride : tuple of int, in grid points
        Distance between neighbouring positions, one per axis.
    exponent : int
        p, an even number; the sum runs over the off-diagonal entries of the Gram kernel.

    Returns
    -------
    logarithm : float
        log ||g||_p; minus infinity when no two atoms meet.
    gradient : ndarray, shape of filters
        Its derivative with respect to the filters.
    coherence : float
        max |g|, the mutual coherence.
    """
    norms = _norms(filters)
    unit = filters / norms
    blocks = _phases(unit, stride)
    spectra, inner = _inner_products(blocks)
    coherence = float(max(inner.max(), -inner.min()))
    if coherence < _NEGLIGIBLE:
        return -np.inf, np.zeros_like(filters), coherence
    inner /= coherence
    # A pair of filters is two blocks of the Gram kernel, a filter with itself is one.
    first, second = _pairs(len(filters))
    squares = inner**2
    powers = squares + np.finfo(float).tiny  # from here in place: thousands of evaluations are made
    np.log(powers, out=powers)
    powers *= exponent / 2 - 1
    np.exp(powers, out=powers)
    powers *= np.where(first == second, 1.0, 2.0).reshape(-1, *[1] * (inner.ndim - 1))
    squares *= powers
    total = float(squares.sum())
    inner *= powers
    inner /= total * coherence
    gradient = _pulled_back(inner, spectra, blocks.shape)
    gradient = _from_phases(gradient, filters.shape, stride)
    radial = (gradient * unit).sum(axis=tuple(range(1, filters.ndim)), keepdims=True)
    return float(np.log(coherence) + np.log(total) / exponent), (gradient - radial * unit) / norms, coherence


def _inner_products(blocks: NDArray) -> tuple[NDArray, NDArray]:
    """
    Correlate all pairs of filters by FFT.

    Parameters
    ----------
    blocks : ndarray, shape (filter, channel * phases, *overlap)
        Filters as `_phases` sorts them.

    Returns
    -------
    spectra : ndarray of complex, shape (filter, channel * phases, frequency)
        Of the zero-padded filters.
    inner : ndarray, shape (pair, *lag)
        Inner products of the filters i <= j at all lags, those of an atom with itself set to 0.
    """
    import scipy.fft

    axes = tuple(range(2, blocks.ndim))
    padded = _padded(blocks.shape)
    spectra = scipy.fft.rfftn(blocks, padded, axes=axes, workers=1)
    bins = spectra.shape[2:]
    spectra = spectra.reshape(*blocks.shape[:2], -1)
    # Filters i <= j only, because the lag d of (j, i) is the lag -d of (i, j).
    first, second = _pairs(len(blocks))
    products = np.einsum("pcf,pcf->pf", spectra[first], spectra.conj()[second])
    inner = scipy.fft.irfftn(products.reshape(-1, *bins), padded, axes=tuple(range(1, len(bins) + 1)), workers=1)
    inner[(first == second, *[0] * len(bins))] = 0
    return spectra, inner


def _pulled_back(slopes: NDArray, spectra: NDArray, shape: tuple[int, ...]) -> NDArray:
    """
    Turn derivatives by the inner products into derivatives by the filters.

    Parameters
    ----------
    slopes : ndarray, shape (pair, *lag)
        Derivatives by the entries of `_inner_products`.
    spectra : ndarray of complex, shape (filter, channel * phases, frequency)
        Spectra of the filters.
    shape : tuple of int
        Shape (filter, channel * phases, *overlap) of the result.

    Returns
    -------
    ndarray of that shape
        The gradient.
    """
    import scipy.fft

    n_filters, n_phases, *overlap = shape
    slopes = scipy.fft.rfftn(slopes, axes=tuple(range(1, len(overlap) + 1)), workers=1)
    bins = slopes.shape[1:]
    slopes = slopes.reshape(len(slopes), -1)
    first, second = _pairs(n_filters)
    both = np.zeros((n_filters, n_filters, slopes.shape[1]), dtype=slopes.dtype)
    both[first, second] = slopes
    # Each pair acts on both of its filters, also when they are one.
    both[second, first] += slopes.conj()
    gradient = np.einsum("ijf,jcf->icf", both, spectra).reshape(n_filters, n_phases, *bins)
    gradient = scipy.fft.irfftn(gradient, _padded(shape), axes=tuple(range(2, len(shape))), workers=1)
    return gradient[(slice(None), slice(None), *[slice(size) for size in overlap])]


@cache
def _pairs(n_filters: int) -> tuple[NDArray, NDArray]:
    """The pairs of filters i <= j."""
    first, second = np.triu_indices(n_filters)
    return first, second


def _padded(shape: tuple[int, ...]) -> list[int]:
    """Sizes of the FFTs that keep the lags of blocks of a shape from wrapping."""
    import scipy.fft

    return [scipy.fft.next_fast_len(2 * size - 1, real=True) for size in shape[2:]]


def _norms(filters: NDArray) -> NDArray:
    return np.sqrt((filters**2).sum(axis=tuple(range(1, filters.ndim)), keepdims=True))


def _normalised(filters: NDArray) -> NDArray:
    norms = _norms(filters)
    if not norms.all():
        raise UserError(f"filter {int(np.argmin(norms))} is zero and has no unit norm: remove it.")
    return filters / norms


def _phases(filters: NDArray, stride: tuple[int, ...]) -> NDArray:
    """Sort the taps by their phase on the stride lattice: (filter, channel * phases, *overlap)."""
    rank = len(stride)
    overlap = [-(-taps // step) for taps, step in zip(filters.shape[2:], stride, strict=True)]
    padding = [(0, n * step - taps) for n, step, taps in zip(overlap, stride, filters.shape[2:], strict=True)]
    if any(after for _, after in padding):
        filters = np.pad(filters, [(0, 0), (0, 0), *padding])
    split = filters.reshape(*filters.shape[:2], *[n for pair in zip(overlap, stride, strict=True) for n in pair])
    phase_axes, overlap_axes = range(3, 3 + 2 * rank, 2), range(2, 2 + 2 * rank, 2)
    return split.transpose(0, 1, *phase_axes, *overlap_axes).reshape(len(filters), -1, *overlap)


def _from_phases(blocks: NDArray, shape: tuple[int, ...], stride: tuple[int, ...]) -> NDArray:
    """Undo `_phases`."""
    rank = len(stride)
    overlap = blocks.shape[2:]
    split = blocks.reshape(*shape[:2], *stride, *overlap)
    interleaved = [
        axis for pair in zip(range(2 + rank, 2 + 2 * rank), range(2, 2 + rank), strict=True) for axis in pair
    ]
    joined = split.transpose(0, 1, *interleaved).reshape(
        *shape[:2], *[n * step for n, step in zip(overlap, stride, strict=True)]
    )
    return np.ascontiguousarray(joined[(slice(None), slice(None), *[slice(taps) for taps in shape[2:]])])


class _Step(NamedTuple):
    """A step of the descent, the change of the gradient that it made, and inner products of the two."""

    step: NDArray
    change: NDArray
    curvature: float
    square: float

    @classmethod
    def between(cls, step: NDArray, change: NDArray) -> _Step:
        """Measure a step: the products <step, change> and <change, change> are needed at each of the next steps."""
        return cls(step, change, _dot(step, change), _dot(change, change))


def _descend(
    objective: Callable[[NDArray], tuple[float, NDArray, float]], point: NDArray
) -> Iterator[tuple[NDArray, float, float]]:
    """Give point, value and coherence after each step of L-BFGS, until no step descends."""
    value, gradient, _ = objective(point)
    steps: deque[_Step] = deque(maxlen=_MEMORY)
    while True:
        direction = _direction(gradient, steps)
        length = 1.0
        if not steps:
            # Nothing is known of the curvature yet: move a tenth of a filter's norm.
            size = np.sqrt(_dot(gradient, gradient))
            length = 0.1 / size if size > 0 else 0.0
        reached = _line_search(objective, point, value, gradient, direction, length)
        if reached is None:
            return
        new_point, value, new_gradient, coherence = reached
        steps.append(_Step.between(new_point - point, new_gradient - gradient))
        point, gradient = new_point, new_gradient
        yield point, value, coherence


def _dot(first: NDArray, second: NDArray) -> float:
    return float(np.einsum("i,i->", first.ravel(), second.ravel()))


def _direction(gradient: NDArray, steps: Sequence[_Step]) -> NDArray:
    """Apply the inverse Hessian that the last steps suggest to minus the gradient (two-loop recursion)."""
    direction, scaled = -gradient, np.empty_like(gradient)
    shares = []
    for last in reversed(steps):
        shares.append(_dot(last.step, direction) / last.curvature)
        direction -= np.multiply(shares[-1], last.change, out=scaled)
    if steps:
        direction *= steps[-1].curvature / steps[-1].square
    for last, share in zip(steps, reversed(shares), strict=True):
        direction += np.multiply(share - _dot(last.change, direction) / last.curvature, last.step, out=scaled)
    return direction


def _line_search(
    objective: Callable[[NDArray], tuple[float, NDArray, float]],
    point: NDArray,
    value: float,
    gradient: NDArray,
    direction: NDArray,
    length: float,
) -> tuple[NDArray, float, NDArray, float] | None:
    """Bisect to a step that fulfils the weak Wolfe conditions; None when there is none."""
    slope = _dot(gradient, direction)
    if not slope < 0 or not np.isfinite(value):
        return None
    shortest, longest = 0.0, np.inf
    for _ in range(_LINE_SEARCH_STEPS):
        new_point = point + length * direction
        new_value, new_gradient, coherence = objective(new_point)
        if new_value > value + 1e-4 * length * slope:
            longest = length
        elif np.isfinite(new_value) and _dot(new_gradient, direction) < 0.9 * slope:
            shortest = length
        else:
            return new_point, new_value, new_gradient, coherence
        length = 2 * shortest if longest == np.inf else (shortest + longest) / 2
    return None
