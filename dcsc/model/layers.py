"""Synthesis of sparse codes through the layers of a cascade, with exact supports."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dcsc.convolution.arguments import checked_type
from dcsc.convolution.layouts import filter_taps
from dcsc.kernels import deep
from dcsc.kernels.arguments import Entries
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.parallel import over_blocks
from dcsc.ragged import RaggedCodes, from_lists, kernel_codes, write_lists

CANCELLED = 2.0**-44
"""An entry below that share of its summands' magnitudes is rounding error, hence in no support."""


def synthesize_sparse(
    dictionary: ConvolutionalDictionary, codes: RaggedCodes, *, threads: int | None = None
) -> tuple[RaggedCodes, NDArray]:
    """
    Synthesize from sparse codes, A x, with the exact support of the result.

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
        Largest number of threads used; by default the number of cores that this process may use.

    Returns
    -------
    signals : RaggedCodes
        A x, of code shape (channel, *space).
    cancelled : ndarray of int64, shape (...)
        Number of entries of each signal at which atoms overlap and their contributions cancel to 0.

    Raises
    ------
    UserError
        When the codes are not of the dictionary's shape, not finite, or integers that would exceed 64 bits or
        for which the dictionary has no integer filters.
    """
    checked_type(dictionary, codes)
    exact = codes.value.dtype.kind in "iu"
    dtype = np.dtype(np.int64 if exact else np.float64)
    listed, n_trials = kernel_codes(codes, dtype), codes.row_size.size
    taps, lost = filter_taps(dictionary, "integer" if exact else "signed", dtype), np.zeros(n_trials, np.int64)
    fullest = int(np.diff(taps.start).max())
    if exact:
        dictionary.check_integers(listed.value)
    share = np.array(0 if exact else CANCELLED, dtype)[()]

    def work(first: int, last: int) -> Entries:
        (target, weight), part = np.zeros((2, math.prod(dictionary.signal_shape)), dtype), listed.part(first, last)
        return write_lists(
            min(int(part.starts[-1] - part.starts[0]) * fullest, (last - first) * len(target)),
            np.zeros(last - first, np.int64),
            dtype,
            lambda out: deep.synthesize_supports(target, weight, taps, part, share, out, lost[first:last]),
        )

    parts = over_blocks(n_trials, work, threads)
    return from_lists(parts, codes.batch_shape, dictionary.signal_shape, dtype), lost.reshape(codes.batch_shape)


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
    Compute the sparse codes of every layer from the deepest one, X^(l-1) = A^(l) T^(l) X^(l), with exact supports.

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
        Number of entries that cancelled to 0, for each code.
    """
    current, scale = deepest, 1.0
    if len(dictionaries) > 1:
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
