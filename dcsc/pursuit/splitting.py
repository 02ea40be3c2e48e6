"""
Douglas and Rachford's splitting of xi |x|_1 + |y - A x|^2 / 2, which is ADMM of its dual problem.

Its iterations cost the same however many atoms are active, so that it finds dense solutions, on which the working
set is slow. A step solves (1 + sigma A A^T) r = ... for a signal, by frequencies, not for a code; the codes are passed
over once, in single precision. Trials step together, since the calls of one step of one trial take longer than their
work, but what becomes of a trial does not depend on the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dcsc.convolution.layouts import from_kernel_atoms, window_layout
from dcsc.convolution.spectrum import dictionary_spectrum
from dcsc.model.dictionary import ConvolutionalDictionary

PIECE = 128
"""Positions that are passed over at once, at most."""
RELAXATION = 1.8
MOST_ITERATIONS = 600
BALANCED = (10, 20, 30, 50)
"""Iterations after which sigma is corrected."""
UNBALANCED = 1.15
"""Factor by which it may be off."""
FIRST_LOOK, LEAST_BETWEEN, MOST_BETWEEN = 40, 5, 40
"""Iterations before the gap is looked at, and between two looks."""
STALLED, STALLED_LOOKS = 0.8, 4
"""Part of the gap that is left at a look when progress is slow, and such looks in a row that end the search."""
LARGEST_EIGENVECTORS = 2**24
"""Numbers in the eigenvectors of A A^T, for signals of many channels or dictionaries of long strides."""


class Frequencies(NamedTuple):
    """
    Eigenvectors of A A^T, frequency by frequency of the positions, and the filters in single precision.

    Parameters
    ----------
    eigenvalues : ndarray of float32, shape (frequency, block)
        A block is the channels and the phases of the stride.
    eigenvectors : ndarray of complex64, shape (frequency, block, block)
        One per column.
    by_filter : ndarray of float32, shape (filter, channel * tap)
        The filters.
    by_tap : ndarray of float32, shape (channel * tap, filter)
        The same, transposed.
    """

    eigenvalues: NDArray
    eigenvectors: NDArray
    by_filter: NDArray
    by_tap: NDArray


def is_affordable(dictionary: ConvolutionalDictionary) -> bool:
    """
    Tell whether the eigenvectors of A A^T are few enough to be kept.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.

    Returns
    -------
    bool
        False for long strides and many channels on large grids.
    """
    block = dictionary.n_channels * math.prod(dictionary.stride)
    return block**2 * math.prod(dictionary.positions) <= LARGEST_EIGENVECTORS


def analyse(dictionary: ConvolutionalDictionary) -> Frequencies:
    """
    Find the eigenvectors of A A^T, once.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        One that `is_affordable`.

    Returns
    -------
    Frequencies
        What `approach` needs.
    """

    def make() -> Frequencies:
        spectrum = dictionary_spectrum(dictionary)
        forward = np.moveaxis(spectrum.reshape(*spectrum.shape[:2], -1), -1, 0)
        eigenvalues, eigenvectors = np.linalg.eigh(forward @ forward.conj().swapaxes(1, 2))
        by_filter = np.array(dictionary.filters.reshape(dictionary.n_filters, -1), dtype=np.float32)
        return Frequencies(
            np.maximum(eigenvalues, 0).astype(np.float32),
            eigenvectors.astype(np.complex64),
            by_filter,
            np.array(by_filter.T, order="C"),
        )

    return dictionary.prepared("frequencies", make)


class Start(NamedTuple):
    """
    A trial, and where its splitting begins.

    Parameters
    ----------
    signal : ndarray of float64, shape (channel, g0, g1, g2)
        y.
    orientation : ndarray of +-1, shape (position * filter,) or (0,)
        Signs that the codes must have.
    penalty : float
        xi > 0.
    atoms : ndarray of int64, shape (active,)
        Active atoms, positions before filters, ascending.
    values : ndarray of float64, shape (active,)
        Their coefficients.
    """

    signal: NDArray
    orientation: NDArray
    penalty: float
    atoms: NDArray
    values: NDArray


class Approximation(NamedTuple):
    """
    The best code of a trial that was looked at.

    Parameters
    ----------
    atoms, values : ndarray, shape (active,)
        The code.
    iterations : int
        Iterations taken.
    gap : float
        Its objective less the best dual bound that was seen, over the objective; in double precision.
    """

    atoms: NDArray
    values: NDArray
    iterations: int
    gap: float


def approach(
    dictionary: ConvolutionalDictionary,
    starts: Sequence[Start],
    tolerance: float,
    max_iterations: int = MOST_ITERATIONS,
) -> list[Approximation]:
    """
    Come as near to the minimisers as a tolerance, or until progress is slow, in single precision at the latest.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        One that `is_affordable`.
    starts : sequence of Start
        The trials, all with an orientation or none.
    tolerance : float
        Relative duality gap that is near enough.
    max_iterations : int
        Iterations at most, if fewer than MOST_ITERATIONS.

    Returns
    -------
    list of Approximation
        One per trial.
    """
    from dcsc.kernels import splitting

    layout, sizes = _Layout(dictionary), window_layout(dictionary).sizes
    frequencies = analyse(dictionary)
    walks = [_Walk(layout, start, tolerance) for start in starts]
    states = np.stack([walk.state for walk in walks])
    mirrored = np.stack([walk.mirrored for walk in walks])
    signals = np.stack([start.signal for start in starts]).astype(np.float32)
    oriented = [walk.sides for walk in walks if walk.sides is not None]  # all or none of them
    sides = np.stack(oriented) if oriented else np.empty((0, 0, 0, 0), np.float32)
    for walk, state, mirror in zip(walks, states, mirrored, strict=True):
        walk.state, walk.mirrored = state, mirror  # views, that a step changes
    penalties = np.array([start.penalty for start in starts], np.float32)
    going, last = np.arange(len(walks)), min(max_iterations, MOST_ITERATIONS)
    for done in range(1, last + 1):
        sigma = np.array([walks[trial].sigma for trial in going], np.float32)
        residuals = _solve(dictionary, frequencies, signals[going], mirrored[going], sigma)
        splitting.iterate(
            states, mirrored, residuals, going, frequencies.by_filter, frequencies.by_tap, sizes, sides, penalties,
            np.float32(RELAXATION),
        )  # fmt: skip
        for trial, residual in zip(going, residuals, strict=True):
            walks[trial].look(done, residual, done == last)
        going = np.array([trial for trial in going if not walks[trial].is_done], np.int64)
        if not len(going):
            break
    return [walk.best for walk in walks]


def _solve(
    dictionary: ConvolutionalDictionary, frequencies: Frequencies, signals: NDArray, mirrored: NDArray, sigma: NDArray
) -> NDArray:
    """Apply the inverses of 1 + sigma A A^T to y + sigma A (twice the clipped state less itself)."""
    # numpy.fft takes trials one by one, while scipy.fft mixes them in vectors whose bits depend on their number.
    column = sigma.reshape(-1, 1, 1, 1, 1)
    right = signals + column * mirrored
    rank, block = dictionary.rank, frequencies.eigenvalues.shape[1]
    axes = tuple(range(1, 1 + rank))
    shape = [n for pair in zip(dictionary.positions, dictionary.stride, strict=True) for n in pair]
    positions, phases = [2 + 2 * axis for axis in range(rank)], [3 + 2 * axis for axis in range(rank)]
    blocks = right.reshape(len(right), dictionary.n_channels, *shape).transpose(0, *positions, 1, *phases)
    transformed = np.fft.rfftn(blocks.reshape(len(right), *dictionary.positions, block), axes=axes)
    coefficients = transformed.reshape(len(right), -1, block)
    scale = 1 + sigma[:, None, None] * frequencies.eigenvalues
    if block == 1:
        coefficients = coefficients / scale
    else:
        vectors = frequencies.eigenvectors
        coefficients = np.einsum("fij,tfi->tfj", vectors.conj(), coefficients) / scale
        coefficients = np.einsum("fij,tfj->tfi", vectors, coefficients)
    solved = np.fft.irfftn(coefficients.reshape(transformed.shape), s=dictionary.positions, axes=axes)
    back = solved.reshape(len(right), *dictionary.positions, dictionary.n_channels, *dictionary.stride)
    pairs = zip(range(1, 1 + rank), range(2 + rank, 2 + 2 * rank), strict=True)
    ordered = back.transpose(0, 1 + rank, *(axis for pair in pairs for axis in pair))
    return np.array(ordered.reshape(signals.shape), dtype=np.float32, order="C")


class _Layout:
    """How the kernel takes numbers of atoms: in pieces of positions, filters before positions."""

    def __init__(self, dictionary: ConvolutionalDictionary) -> None:
        self.dictionary = dictionary
        self._last = dictionary.positions[-1]
        self._in_row = -(-self._last // PIECE)
        self._width = -(-self._last // self._in_row)

    def pieces(self, flat: NDArray) -> NDArray:
        """Lay numbers of atoms, positions before filters, out; shape (piece, filter, width)."""
        rows = flat.reshape(-1, self._last, self.dictionary.n_filters)
        padded = np.pad(rows, ((0, 0), (0, self._in_row * self._width - self._last), (0, 0)))
        pieces = padded.reshape(-1, self._width, self.dictionary.n_filters).swapaxes(1, 2)
        return np.array(pieces, dtype=np.float32, order="C")

    def flat(self, pieces: NDArray) -> NDArray:
        """Undo `pieces`; shape (position, filter)."""
        rows = pieces.swapaxes(1, 2).reshape(-1, self._in_row * self._width, self.dictionary.n_filters)
        return rows[:, : self._last].reshape(-1, self.dictionary.n_filters)

    def code(self, atoms: NDArray, values: NDArray) -> NDArray:
        """Code of shape (filter, *position)."""
        flat = np.zeros(self.dictionary.n_atoms)
        flat[from_kernel_atoms(atoms, self.dictionary)] = values
        return flat.reshape(self.dictionary.code_shape)


class _Walk:
    """The splitting of one trial, but for its steps."""

    def __init__(self, layout: _Layout, start: Start, tolerance: float) -> None:
        self._layout, self._dictionary, self._tolerance = layout, layout.dictionary, tolerance
        self._signal = start.signal.reshape(self._dictionary.signal_shape)
        self._penalty, self._orientation = start.penalty, start.orientation
        self.sides = layout.pieces(start.orientation) if len(start.orientation) else None
        self.best = Approximation(start.atoms, start.values, 0, math.inf)
        self._least, self._bound, self._stalled = math.inf, -math.inf, 0
        self._next, self._between = FIRST_LOOK, FIRST_LOOK
        self.is_done = False
        code = layout.code(start.atoms, start.values)
        scores = layout.pieces(self._scores(self._signal - self._dictionary.synthesize(code)))
        active = layout.pieces(code.reshape(self._dictionary.n_filters, -1).T)
        clipped = np.where(active != 0, np.sign(active) * np.float32(self._penalty), self._clipped(scores))
        self.sigma = np.float32(1)
        self.state = np.empty_like(clipped)
        self.mirrored = np.empty(start.signal.shape, np.float32)
        self._begin(active, clipped)

    def _begin(self, code: NDArray, clipped: NDArray) -> None:
        """Set sigma so that code and clipped correlations have one length, for which the splitting is fast."""
        lengths = np.linalg.norm(code), np.linalg.norm(clipped)
        self.sigma = np.float32(lengths[0] / lengths[1] if min(lengths) > 0 else 1.0)
        scaled = code / self.sigma
        self.state[:] = clipped + scaled
        mirrored = self._layout.flat(clipped - scaled).T.reshape(self._dictionary.code_shape)
        self.mirrored[:] = self._dictionary.synthesize(mirrored).reshape(self.mirrored.shape)

    def _clipped(self, pieces: NDArray) -> NDArray:
        penalty = np.float32(self._penalty)
        if self.sides is not None:
            return self.sides * np.minimum(pieces * self.sides, penalty)
        return np.clip(pieces, -penalty, penalty)

    def _scores(self, residual: NDArray) -> NDArray:
        """Correlate, positions before filters."""
        return np.moveaxis(self._dictionary.correlate(residual), 0, -1).ravel()

    def look(self, done: int, residual: NDArray, is_last: bool) -> None:
        """Correct sigma and evaluate the code where it is time to, after steps of which a residual was the last."""
        if done in BALANCED:
            self._balance()
        if done < self._next and not is_last:
            return
        flat = self._layout.flat(self.state - self._clipped(self.state)).ravel()
        atoms = np.flatnonzero(flat)
        values = flat[atoms].astype(np.float64) * float(self.sigma)
        left = self._signal - self._dictionary.synthesize(self._layout.code(atoms, values))
        objective = self._penalty * float(np.abs(values).sum()) + 0.5 * float((left**2).sum())
        last = self.best.gap
        self._bound = max(self._bound, self._dual_objective(residual.astype(np.float64).reshape(self._signal.shape)))
        if objective >= self._least:
            atoms, values = self.best.atoms, self.best.values
        self._least = min(self._least, objective)
        gap = (self._least - self._bound) / self._least
        self.best = Approximation(atoms, values, done, gap)
        self._stalled = 0 if gap < STALLED * last else self._stalled + 1
        self.is_done = gap <= self._tolerance or self._stalled == STALLED_LOOKS
        if not self.is_done:
            self._between = _until_next_look(gap, last, self._between, self._tolerance)
            self._next = done + self._between

    def _dual_objective(self, residual: NDArray) -> float:
        """Evaluate a residual, scaled until it is feasible: no code has a smaller objective."""
        scores = self._scores(residual)
        largest = float((scores * self._orientation if len(self._orientation) else np.abs(scores)).max())
        scaled = residual / max(1.0, largest / self._penalty)
        return float((self._signal * scaled).sum()) - 0.5 * float((scaled**2).sum())

    def _balance(self) -> None:
        """Follow the lengths of code and correlations with sigma."""
        clipped = self._clipped(self.state)
        code = self.sigma * (self.state - clipped)
        factor = np.linalg.norm(code) / max(self.sigma * np.linalg.norm(clipped), np.finfo(np.float32).tiny)
        if not 1 / UNBALANCED <= factor <= UNBALANCED:
            self._begin(code, clipped)


def _until_next_look(gap: float, last: float, between: int, tolerance: float) -> int:
    """Iterations after which the gap, falling as it does, will be small enough."""
    if last == math.inf:
        return 2 * LEAST_BETWEEN
    if gap >= STALLED * last:
        return min(2 * between, MOST_BETWEEN)
    expected = between * math.log(gap / tolerance) / math.log(last / gap)
    return math.ceil(min(max(expected, LEAST_BETWEEN), MOST_BETWEEN))
