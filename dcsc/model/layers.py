"""Sparse codes through the layers of a cascade, with exact supports."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dcsc.convolution.layouts import filter_patterns
from dcsc.errors import UserError
from dcsc.kernels import deep
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.parallel import over_blocks
from dcsc.ragged import RaggedCodes

CANCELLED = 2.0**-44
"""An entry below that share of its summands' magnitudes is rounding error, hence in no support."""


def contrasts(codes: RaggedCodes) -> NDArray:
    """
    Contrast X_min / X_max of sparse codes.

    Parameters
    ----------
    codes : RaggedCodes
        Without explicit zeros.

    Returns
    -------
    ndarray, shape (...)
        In (0, 1]; 1 for a code without non-zeros.
    """
    sizes, found = codes.row_size.ravel(), np.ones(codes.row_size.size)
    occupied = np.flatnonzero(sizes)  # reduceat takes no empty segments
    if len(occupied):
        magnitudes, first = np.abs(codes.value.astype(np.float64)), codes.starts[occupied]
        found[occupied] = np.minimum.reduceat(magnitudes, first) / np.maximum.reduceat(magnitudes, first)
    return found.reshape(codes.batch_shape)


def synthesize_sparse(
    dictionary: ConvolutionalDictionary, codes: RaggedCodes, *, threads: int | None = None
) -> tuple[RaggedCodes, NDArray]:
    """
    Apply a dictionary to sparse codes with exact supports, for the codes of the layer above.

    Integers with integer filters are added exactly. Otherwise an entry belongs to the support if its
    sum exceeds what rounding can leave of a cancellation.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer.
    codes : RaggedCodes
        Its codes, batch axes (...); integers only with integer filters, to be multiplied by
        `integer_scale` afterwards.
    threads : int, optional
        At most that many at once.

    Returns
    -------
    signals : RaggedCodes
        A x, of code shape (channel, *space).
    cancelled : ndarray of int64, shape (...)
        Entries that atoms wrote to and that cancelled.

    Raises
    ------
    UserError
        When integers would exceed 64 bits, or the dictionary has no integer filters for them.
    """
    exact = codes.value.dtype.kind in "iu"
    dtype = np.dtype(np.int64 if exact else np.float64)
    atoms, values = codes.atom.astype(np.int32), codes.value.astype(dtype)
    starts, n_trials = codes.starts, codes.row_size.size
    patterns = filter_patterns(dictionary, "integer" if exact else "signed", dtype)
    if exact and int(np.abs(patterns.pattern).sum()) * int(np.abs(values).max(initial=0)) >= 2**62:
        raise UserError("integer synthesis would exceed 64 bits: use smaller integers or fewer layers.")
    weights = np.abs(patterns.pattern)
    row_size, lost = np.zeros(n_trials, np.int64), np.zeros(n_trials, np.int64)
    share = dtype.type(0 if exact else CANCELLED)

    def work(first: int, last: int) -> tuple[NDArray, NDArray]:
        target, weight = np.empty((2, *patterns.target_shape), dtype)
        room = int(starts[last] - starts[first]) * max(1, weights[0].size // 4) + 64
        while True:
            atom, value = np.empty(room, np.int32), np.empty(room, dtype)
            needed = deep.synthesize_supports(
                target,
                weight,
                patterns.pattern,
                weights,
                atoms,
                values,
                starts[first : last + 1],
                patterns.layout,
                share,
                atom,
                value,
                row_size[first:last],
                lost[first:last],
            )
            if needed <= room:
                return atom[:needed].copy(), value[:needed].copy()
            room = int(needed)

    parts = over_blocks(n_trials, work, threads)
    atom = np.concatenate([np.empty(0, np.int32), *[part[0] for part in parts]])
    value = np.concatenate([np.empty(0, dtype), *[part[1] for part in parts]])
    signals = RaggedCodes(row_size.reshape(codes.batch_shape), atom, value, dictionary.signal_shape)
    return signals, lost.reshape(codes.batch_shape)


def times_signs(codes: RaggedCodes, signs: NDArray | None) -> RaggedCodes:
    """
    Apply the signs of a layer, T x.

    Parameters
    ----------
    codes : RaggedCodes
        Batch shape (trial,).
    signs : ndarray, shape (trial, filter, *position), or None
        -1 or +1; None changes nothing.

    Returns
    -------
    RaggedCodes
        On the same supports.
    """
    if signs is None:
        return codes
    trials = np.repeat(np.arange(codes.row_size.size), codes.row_size)
    return codes.with_values(codes.value * signs.reshape(len(signs), -1)[trials, codes.atom])


def layers_of(
    dictionaries: Sequence[ConvolutionalDictionary], deepest: RaggedCodes, signs: Sequence[NDArray | None] | None = None
) -> tuple[tuple[RaggedCodes, ...], NDArray]:
    """
    Sparse codes of every layer, X^(l-1) = A^(l) T^(l) X^(l), with exact supports.

    Whole numbers stay integers, hence exact, through the layers that have integer filters.

    Parameters
    ----------
    dictionaries : sequence of ConvolutionalDictionary
        A^(1), ..., A^(L); the first is not applied, no signal is formed.
    deepest : RaggedCodes
        X^(L), batch shape (trial,).
    signs : sequence of ndarray, each of shape (trial, filter, *position), optional
        T^(1), ..., T^(L).

    Returns
    -------
    codes : tuple of RaggedCodes
        X^(1), ..., X^(L), float64.
    cancelled : ndarray of int64, shape (trial, layer)
        Entries that cancelled in each of them.
    """
    current, scale = deepest, 1.0
    whole = np.round(deepest.value)
    if np.array_equal(whole, deepest.value) and np.abs(whole).max(initial=0) < 2**31:
        current = deepest.with_values(whole.astype(np.int64))
    codes = [deepest.with_values(deepest.value.astype(np.float64))]
    cancelled = [np.zeros(deepest.row_size.shape, np.int64)]
    for layer in range(len(dictionaries), 1, -1):
        dictionary = dictionaries[layer - 1]
        if current.value.dtype.kind == "i" and dictionary.integer_filters is None:
            current, scale = codes[-1], 1.0
        exact = current.value.dtype.kind == "i"
        current, lost = synthesize_sparse(
            dictionary, times_signs(current, None if signs is None else signs[layer - 1]), threads=1
        )
        scale *= dictionary.integer_scale if exact else 1.0
        codes.append(current.with_values(current.value * scale) if exact else current)
        cancelled.append(lost)
    return tuple(codes[::-1]), np.stack(cancelled[::-1], axis=-1)
