"""Least squares on given supports: the debiasing of pursuits, and the oracle that they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import common_batch
from dcsc.convolution.layouts import AXES, filter_taps, padded_gram
from dcsc.errors import UserError
from dcsc.kernels import least_squares as kernels
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.parallel import over_blocks
from dcsc.pursuit.arguments import checked_signals, flat_batch, true_codes
from dcsc.pursuit.protocol import PursuitResult, register

if TYPE_CHECKING:
    import scipy.sparse

DENSE_LIMIT = 2000
"""Largest support that is fitted by a dense factorisation; larger ones are fitted iteratively."""

MOST_MULTIPLICATIONS = 2e8
"""Of a factorisation by the compiled kernel; fuller Gram matrices are worth the library's, which is faster by block."""

_WELL_CONDITIONED = 1e-4


def active_columns(dictionary: ConvolutionalDictionary, atoms: NDArray) -> scipy.sparse.csc_array:
    """
    Write some atoms as the columns of a sparse matrix.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    atoms : ndarray of int, shape (atom,)
        Indices in C order of (filter, *position).

    Returns
    -------
    scipy.sparse.csc_array of float64, shape (channel * space, atom)
        Rows in C order of (channel, *space).
    """
    import scipy.sparse

    filters, *places = np.unravel_index(atoms, dictionary.code_shape)
    rows = np.arange(dictionary.n_channels).reshape(1, -1, *[1] * dictionary.rank)
    geometry = zip(places, dictionary.stride, dictionary.taps, dictionary.grid, strict=True)
    for axis, (place, step, taps, points) in enumerate(geometry):
        shape = [len(atoms), 1, *[1] * dictionary.rank]
        shape[2 + axis] = taps
        rows = rows * points + ((place[:, None] * step + np.arange(taps)) % points).reshape(shape)
    size = dictionary.filters[0].size
    starts = np.arange(len(atoms) + 1) * size
    values = dictionary.filters[filters].astype(np.float64).ravel()
    shape = (int(np.prod(dictionary.signal_shape)), len(atoms))
    rows = np.array(np.broadcast_to(rows, (len(atoms), *rows.shape[1:]))).ravel()
    matrix = scipy.sparse.csc_array((values, rows, starts), shape)
    matrix.eliminate_zeros()
    return matrix


def fit(columns: scipy.sparse.csc_array, target: NDArray) -> NDArray:
    """
    Solve one least squares problem.

    Parameters
    ----------
    columns : scipy.sparse.csc_array, shape (row, column)
        The active atoms.
    target : ndarray, shape (row,)
        What they shall approximate.

    Returns
    -------
    ndarray, shape (column,)
        The coefficients, of minimum norm where the columns are dependent.
    """
    import scipy.sparse.linalg

    if not columns.shape[1]:
        return np.zeros(0)
    if columns.shape[1] > DENSE_LIMIT:
        return scipy.sparse.linalg.lsqr(columns, target, atol=1e-15, btol=1e-15, iter_lim=20 * columns.shape[1])[0]
    solve = _factorised((columns.T @ columns).tocsr())
    if solve is None:
        return fit_dense(columns.toarray(), target)
    solution = np.zeros(columns.shape[1])
    for _ in range(3):  # refinement wins back what squaring the condition number lost
        solution += solve(columns.T @ (target - columns @ solution))
    return solution


def _factorised(gram: scipy.sparse.csr_array) -> Callable[[NDArray], NDArray] | None:
    """Factorise a Gram matrix, as a band where few atoms meet each other; nothing where it is too close to singular."""
    import scipy.linalg
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    size = gram.shape[0]
    order = reverse_cuthill_mckee(gram, symmetric_mode=True)
    place = np.empty(size, dtype=np.int64)
    place[order] = np.arange(size)
    row, column = place[np.repeat(np.arange(size), np.diff(gram.indptr))], place[gram.indices]
    width = int((column - row).max())
    try:
        if 2 * width >= size:
            factor = scipy.linalg.cho_factor(gram.toarray(), check_finite=False)
            pivots = np.diagonal(factor[0])
        else:
            band = np.zeros((width + 1, size))
            above = column >= row
            band[width - (column - row)[above], column[above]] = gram.data[above]
            factor = (scipy.linalg.cholesky_banded(band, check_finite=False), False)
            pivots = factor[0][-1]
    except scipy.linalg.LinAlgError:
        return None
    if pivots.min() <= _WELL_CONDITIONED * pivots.max():
        return None
    if 2 * width >= size:
        return lambda right: scipy.linalg.cho_solve(factor, right, check_finite=False)
    return lambda right: scipy.linalg.cho_solve_banded(factor, right[order], check_finite=False)[place]


def fit_dense(columns: NDArray, target: NDArray) -> NDArray:
    """
    Solve one least squares problem of a dense matrix.

    Parameters
    ----------
    columns : ndarray, shape (row, column)
        The active atoms.
    target : ndarray, shape (row,)
        What they shall approximate.

    Returns
    -------
    ndarray, shape (column,)
        The coefficients, of minimum norm where the columns are dependent.
    """
    return np.linalg.lstsq(columns, target, rcond=None)[0] if columns.shape[1] else np.zeros(0)


def least_squares(model: Cascade, layer: int, signals: NDArray, support: NDArray) -> NDArray:
    """
    Fit the signals of one layer on given supports, the debiasing of the layered pursuits.

    Parameters
    ----------
    model : Cascade
        The cascade.
    layer : int
        1..L.
    signals : ndarray, shape (..., channel, *space)
        Signals, or codes of the layer above.
    support : ndarray of bool, shape (..., filter, *position)
        Where the codes may be non-zero.

    Returns
    -------
    ndarray of float64, shape (..., filter, *position)
        The least squares codes, of minimum norm where the sub-dictionary is not injective; an entry of the
        support that is fitted as 0 gets the smallest positive number, so that the code has that support.
    """
    dictionary = model.dictionaries[layer - 1]
    batch = support.shape[: -model.rank - 1]
    targets = flat_batch(signals, batch, dictionary.signal_shape)
    rows, atoms = np.divmod(np.flatnonzero(support), dictionary.n_atoms)
    starts = np.searchsorted(rows, np.arange(len(targets) + 1))
    fitted = np.zeros((len(targets), dictionary.n_atoms))
    fitted[rows, atoms] = debiased(dictionary, targets, atoms, starts)
    fitted = fitted.reshape(support.shape)
    return fitted if model.signs is None else model.signs[layer - 1] * fitted


def debiased(dictionary: ConvolutionalDictionary, targets: NDArray, atoms: NDArray, starts: NDArray) -> NDArray:
    """
    Solve a least squares problem for each trial, without losing an atom of its support.

    Parameters
    ----------
    dictionary, targets, atoms, starts
        As for `fit_supports`.

    Returns
    -------
    ndarray of float64, shape (atom,)
        The coefficients, the smallest positive number in place of 0.
    """
    values = fit_supports(dictionary, targets, atoms, starts)
    # Whether a false alarm is fitted as 0 or as 1e-17 is chance: rounding must not decide on supports.
    return np.where(values == 0, np.finfo(np.float64).tiny, values)


def fit_supports(dictionary: ConvolutionalDictionary, targets: NDArray, atoms: NDArray, starts: NDArray) -> NDArray:
    """
    Solve a least squares problem for each trial, on its own support.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer's dictionary.
    targets : ndarray, shape (trial, channel, *space)
        What the active atoms shall approximate.
    atoms : ndarray of int64, shape (atom,)
        Active atoms of one trial after another, ascending in each, in C order of (filter, *position).
    starts : ndarray of int64, shape (trial + 1,)
        Where the atoms of each trial begin, and where the last ones end.

    Returns
    -------
    ndarray of float64, shape (atom,)
        The coefficients, of minimum norm where the atoms of a trial are dependent.
    """
    values, solved = np.zeros(len(atoms)), np.zeros(len(targets), dtype=bool)
    if len(atoms) and dictionary.rank <= AXES:
        _fit_compiled(dictionary, targets, atoms, starts, values, solved)
    for trial in np.flatnonzero(~solved):
        own = slice(starts[trial], starts[trial + 1])
        values[own] = fit(active_columns(dictionary, atoms[own]), targets[trial].astype(np.float64).ravel())
    return values


def _fit_compiled(
    dictionary: ConvolutionalDictionary,
    targets: NDArray,
    atoms: NDArray,
    starts: NDArray,
    values: NDArray,
    solved: NDArray,
) -> None:
    """Solve what the compiled kernel can, block by block, and mark these trials."""
    taps = filter_taps(dictionary, "signed", np.float64)
    # Refinement converges to the fit only while the Gram matrix is much more accurate than it is well conditioned.
    gram = padded_gram(dictionary, np.float64)
    limits = np.array([DENSE_LIMIT**2, MOST_MULTIPLICATIONS, _WELL_CONDITIONED])

    def work(first: int, last: int) -> None:
        begin, end = starts[first], starts[last]
        residuals = np.array(targets[first:last], dtype=np.float64).reshape(last - first, -1)
        kernels.fit_supports(
            residuals, np.ascontiguousarray(atoms[begin:end]), starts[first : last + 1] - begin, taps, gram, limits,
            values[begin:end], solved[first:last],
        )  # fmt: skip

    over_blocks(len(targets), work)


@register("oracle-least-squares")
def oracle_least_squares(
    model: Cascade, signals: ArrayLike, *, reference: Sequence[ArrayLike] | None = None, noise: ArrayLike = 0.0
) -> PursuitResult:
    """
    Oracle least squares: fit each layer on its true support, the reference for pursuits that must find the supports.

    When to take it: to compare a pursuit with the best that can be expected when the supports are known.

    Parameters
    ----------
    model : Cascade
        The cascade; with signs T^(l) the fit is on A^(l) T^(l).
    signals : array_like, shape (..., channel, *space)
        X^(0), or X^(0) + E.
    reference : sequence of array_like
        The true codes [X^(1), ..., X^(L)], whose supports are used.
    noise : array_like, shape () or (...)
        Unused; every pursuit takes it.

    Returns
    -------
    PursuitResult
        Codes of every layer, with the true supports.

    Raises
    ------
    UserError
        When the reference is missing, or the signals are not finite real numbers.
    """
    if reference is None:
        raise UserError("oracle-least-squares fits on the true supports: pass the codes as reference.")
    current, supports = checked_signals(model, signals), [code != 0 for code in true_codes(model, reference)]
    batch = common_batch("signals and reference codes", *[of.shape[: -model.rank - 1] for of in (current, *supports)])
    codes: list[NDArray] = []
    for layer, support in enumerate(supports, start=1):
        everywhere = np.broadcast_to(support, (*batch, *model.dictionaries[layer - 1].code_shape))
        current = least_squares(model, layer, current, everywhere)
        codes.append(current)
    shape = (*codes[0].shape[: -model.rank - 1], model.depth)
    zeros = [np.zeros(shape[:-1]) for _ in codes]
    return PursuitResult(codes, zeros, np.ones(shape, dtype=np.int64), np.zeros(shape), "one fit a layer")
