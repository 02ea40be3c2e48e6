"""What the active atoms add to the correlation of another atom: its worst case and its variance over random signs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.dictionary import ConvolutionalDictionary
from dcsc.errors import UserError
from dcsc.model import Cascade
from dcsc.ragged import RaggedCodes

# Time of one entry of a scattered stripe over that of one multiplication in a matrix product, as measured.
_SCATTER_COST = 100


def dense_codes(codes: ArrayLike | RaggedCodes, dictionary: ConvolutionalDictionary) -> NDArray:
    """
    Expand codes of a dictionary to floating-point arrays and check their shape.

    Parameters
    ----------
    codes : array_like of shape (..., filter, *position), or RaggedCodes
        The codes.
    dictionary : ConvolutionalDictionary
        Whose atoms they weigh.

    Returns
    -------
    ndarray of float64, shape (..., filter, *position)
        The codes.

    Raises
    ------
    UserError
        When the shape does not fit or a value is not finite.
    """
    dense = codes.to_dense() if isinstance(codes, RaggedCodes) else np.asarray(codes)
    shape = dictionary.code_shape
    if dense.ndim < len(shape) or dense.shape[-len(shape) :] != shape:
        raise UserError(f"codes of shape {dense.shape} do not fit: the last axes must be {shape}.")
    dense = dense.astype(np.float64, copy=False)
    if not np.isfinite(dense).all():
        raise UserError("the codes hold values that are not finite: remove NaN and infinity.")
    return dense


def interference_bound(dictionary: ConvolutionalDictionary, codes: ArrayLike) -> NDArray:
    """
    Largest interference that each atom can receive over all signs of a code.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    codes : array_like, shape (..., filter, *position)
        Codes; only their magnitudes count.

    Returns
    -------
    ndarray, shape (..., filter, *position)
        sum over j != i of |x_j| |g_ij| for atom i, exactly 0 where no active atom reaches
        (docs/theory.md, "Interference").
    """
    return _gram_action(dictionary, np.abs(dense_codes(codes, dictionary)), 1)


def interference_variance(dictionary: ConvolutionalDictionary, codes: ArrayLike) -> NDArray:
    """
    Variance of the interference that each atom receives when the signs of a code are Rademacher.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    codes : array_like, shape (..., filter, *position)
        Codes; only their magnitudes count.

    Returns
    -------
    ndarray, shape (..., filter, *position)
        v_i = sum over j != i of x_j^2 g_ij^2 (docs/theory.md, "Interference").
    """
    return _gram_action(dictionary, dense_codes(codes, dictionary) ** 2, 2)


def _gram_action(dictionary: ConvolutionalDictionary, values: NDArray, power: int) -> NDArray:
    """Sum over j != i of values_j |g_ij|^power, for non-negative values, of shape (..., filter, *position)."""
    kernel = np.abs(dictionary.gram().astype(np.float64)) ** power
    kernel[(np.arange(dictionary.n_filters),) * 2 + tuple(n - 1 for n in dictionary.overlap)] = 0.0
    batch = values.shape[: values.ndim - len(dictionary.code_shape)]
    flat = values.reshape(-1, *dictionary.code_shape)
    dense_cost = flat.size * dictionary.stripe_size
    sparse_cost = np.count_nonzero(flat) * dictionary.stripe_size * _SCATTER_COST
    act = _scatter if sparse_cost < dense_cost else _shift
    return act(dictionary, kernel, flat).reshape(*batch, *dictionary.code_shape)


def _shift(dictionary: ConvolutionalDictionary, kernel: NDArray, values: NDArray) -> NDArray:
    """One matrix product a lag, for codes with many non-zeros."""
    summed = np.zeros((len(values), dictionary.n_filters, math.prod(dictionary.positions)))
    axes = tuple(range(2, values.ndim))
    for index in product(*[range(2 * n - 1) for n in dictionary.overlap]):
        lag = [i - n + 1 for i, n in zip(index, dictionary.overlap, strict=True)]
        there = np.roll(values, [-d for d in lag], axis=axes).reshape(summed.shape)
        summed += kernel[(slice(None), slice(None), *index)] @ there
    return summed.reshape(values.shape)


def _scatter(dictionary: ConvolutionalDictionary, kernel: NDArray, values: NDArray) -> NDArray:
    """One stripe an active atom, for codes with few non-zeros."""
    filters = np.arange(dictionary.n_filters).reshape(1, -1, *[1] * dictionary.rank)
    lags = [np.arange(1 - n, n) for n in dictionary.overlap]
    summed = np.empty_like(values)
    for row, code in enumerate(values):
        active, *position = np.nonzero(code)
        index = filters
        for axis, (place, lag, count) in enumerate(zip(position, lags, dictionary.positions, strict=True)):
            shape = [1] * (2 + dictionary.rank)
            shape[0], shape[2 + axis] = len(place), len(lag)
            index = index * count + ((place[:, None] - lag) % count).reshape(shape)
        stripes = (
            code[(active, *position)].reshape(-1, *[1] * (1 + dictionary.rank)) * np.moveaxis(kernel, 1, 0)[active]
        )
        summed[row] = np.bincount(
            np.broadcast_to(index, stripes.shape).ravel(), stripes.ravel(), minlength=code.size
        ).reshape(code.shape)
    return summed


@dataclass(frozen=True, eq=False)
class Interference:
    """
    The interference of one layer as a Rademacher sum at every atom, for a batch of codes.

    Parameters
    ----------
    active : ndarray of bool, shape (code, atom)
        The supports.
    magnitude : ndarray, shape (code, atom)
        |x_i|.
    locked : ndarray, shape (code, atom)
        d_i, the part of the interference whose sign is that of x_i; 0 where the signs are independent.
    variance : ndarray, shape (code, atom)
        v_i, sum of squares of the rest.
    bound : ndarray, shape (code, atom)
        Sum of magnitudes of the rest, its largest value.
    """

    active: NDArray
    magnitude: NDArray
    locked: NDArray
    variance: NDArray
    bound: NDArray


def rademacher_interference(dictionary: ConvolutionalDictionary, codes: NDArray) -> Interference:
    """
    Describe the interference when the signs of the layer's own code are Rademacher (D-CSC-R).

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer's dictionary.
    codes : ndarray, shape (code, filter, *position)
        The codes; only their magnitudes count.

    Returns
    -------
    Interference
        With v_i = sum over j != i of x_j^2 g_ij^2 (docs/theory.md, "Interference").
    """
    flat = (len(codes), dictionary.n_atoms)
    magnitude = np.abs(codes).reshape(flat)
    return Interference(
        magnitude > 0,
        magnitude,
        np.zeros(flat),
        interference_variance(dictionary, codes).reshape(flat),
        interference_bound(dictionary, codes).reshape(flat),
    )


def propagated_columns(model: Cascade, deepest: NDArray, layer: int) -> NDArray:
    """
    Propagate each active atom of one deepest code alone to a layer of the plain model.

    Parameters
    ----------
    model : Cascade
        Layers without signs.
    deepest : ndarray, shape (filter, *position)
        One code X^(L).
    layer : int
        1..L.

    Returns
    -------
    ndarray, shape (active deepest atom, atom of the layer)
        |x_j| B^(l) e_j, whose sum with the signs of the deepest code is X^(l).
    """
    active = np.flatnonzero(deepest)
    columns = np.zeros((len(active), deepest.size))
    columns[np.arange(len(active)), active] = np.abs(deepest).ravel()[active]
    columns = columns.reshape(-1, *deepest.shape)
    for inner in range(model.depth, layer, -1):
        columns = model.dictionaries[inner - 1].synthesize(columns)
    return columns.reshape(len(active), model.dictionaries[layer - 1].n_atoms)


def plain_interference(model: Cascade, deepest: NDArray, layer: int) -> Interference:
    """
    Describe the interference when only the signs of the deepest code are Rademacher (plain D-CSC).

    Valid where the propagated columns have disjoint supports.

    Parameters
    ----------
    model : Cascade
        Layers without signs.
    deepest : ndarray, shape (code, filter, *position)
        X^(L).
    layer : int
        1..L.

    Returns
    -------
    Interference
        From a_ij = |x_j| sum over p != i of g_ip B_pj, with the deepest atom of an active
        entry taken out of its sum (docs/theory.md, "Plain model").
    """
    dictionary = model.dictionaries[layer - 1]
    norms = np.repeat(squared_norms(dictionary), dictionary.n_atoms // dictionary.n_filters)
    parts = []
    for code in deepest:
        columns = propagated_columns(model, code, layer)
        shaped = columns.reshape(-1, *dictionary.code_shape)
        sums = dictionary.correlate(dictionary.synthesize(shaped)).reshape(columns.shape) - columns * norms
        active = (columns != 0).any(axis=0)
        own = np.where(columns != 0, sums, 0.0)
        locked = (np.sign(columns) * own).sum(axis=0)
        rest = sums - own
        magnitude = np.abs(columns).sum(axis=0)
        parts.append((active, magnitude, locked, (rest**2).sum(axis=0), np.abs(rest).sum(axis=0)))
    return Interference(*map(np.stack, zip(*parts, strict=True)))


def write_counts(dictionary: ConvolutionalDictionary, code: NDArray) -> NDArray:
    """
    Count the active atoms that write to each entry of what one code synthesizes.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary; entries of its filters that are exactly 0 do not write.
    code : ndarray, shape (filter, *position)
        One code.

    Returns
    -------
    ndarray of int, shape (channel, *space)
        Atoms an entry.
    """
    counts = np.zeros(dictionary.signal_shape, dtype=np.int64)
    for index in range(dictionary.n_filters):
        positions = np.nonzero(code[index])
        channel, *taps = np.nonzero(dictionary.filters[index])
        places = [
            (where[:, None] * step + tap) % points
            for where, step, tap, points in zip(positions, dictionary.stride, taps, dictionary.grid, strict=True)
        ]
        np.add.at(counts, (channel[None, :], *places), 1)
    return counts


def squared_norms(dictionary: ConvolutionalDictionary) -> NDArray:
    """
    Squared norms of the atoms, 1 up to rounding.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.

    Returns
    -------
    ndarray of float64, shape (filter,)
        g_ii.
    """
    centre = tuple(n - 1 for n in dictionary.overlap)
    return dictionary.gram()[(np.arange(dictionary.n_filters),) * 2 + centre].astype(np.float64)


def support_gram(dictionary: ConvolutionalDictionary, code: NDArray) -> NDArray:
    """
    Inner products of the active atoms of one code.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    code : ndarray, shape (filter, *position)
        One code.

    Returns
    -------
    ndarray, shape (non-zero, non-zero)
        G_SS, atoms in C order of (filter, *position).
    """
    active, *position = np.nonzero(code)
    near = np.ones((len(active), len(active)), dtype=bool)
    index = []
    for place, overlap, count in zip(position, dictionary.overlap, dictionary.positions, strict=True):
        lag = (place[None, :] - place[:, None]) % count
        lag = np.where(lag >= overlap, lag - count, lag)
        near &= lag > -overlap
        index.append(np.clip(lag + overlap - 1, 0, 2 * overlap - 2))
    return np.where(near, dictionary.gram().astype(np.float64)[(active[:, None], active[None, :], *index)], 0.0)
