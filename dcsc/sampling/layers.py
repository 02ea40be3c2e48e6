"""Sparse codes through the layers of a cascade, with exact supports."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc import adversary
from dcsc.dictionary import ConvolutionalDictionary
from dcsc.errors import UserError
from dcsc.kernels import deep
from dcsc.parallel import over_blocks
from dcsc.ragged import RaggedCodes
from dcsc.sparse_path import filter_taps

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
    taps = filter_taps(dictionary, "integer" if exact else "signed", dtype)
    if exact and int(np.abs(taps.value).sum()) * int(np.abs(values).max(initial=0)) >= 2**62:
        raise UserError("integer synthesis would exceed 64 bits: use smaller integers or fewer layers.")
    row_size, lost = np.zeros(n_trials, np.int64), np.zeros(n_trials, np.int64)
    fullest = int(np.diff(taps.start).max())
    share = dtype.type(0 if exact else CANCELLED)

    def work(first: int, last: int) -> tuple[NDArray, NDArray]:
        target, weight = np.zeros((2, math.prod(dictionary.signal_shape)), dtype)
        room = min(int(starts[last] - starts[first]) * fullest, (last - first) * len(target))
        atom, value = np.empty(room, np.int32), np.empty(room, dtype)
        needed = deep.synthesize_supports(
            target, weight, taps.start, taps.index, taps.value, atoms, values, starts[first : last + 1],
            taps.geometry, share, atom, value, row_size[first:last], lost[first:last],
        )  # fmt: skip
        return atom[:needed].copy(), value[:needed].copy()

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


def worst_layer_signs(
    dictionaries: Sequence[ConvolutionalDictionary],
    deepest: RaggedCodes,
    thresholds: Sequence[ArrayLike] | None = None,
) -> tuple[NDArray, ...]:
    """
    Choose T^(L), ..., T^(1), in this order, each the worst for the code that the deeper ones made.

    Parameters
    ----------
    dictionaries : sequence of ConvolutionalDictionary
        A^(1), ..., A^(L).
    deepest : RaggedCodes
        X^(L), batch shape (trial,).
    thresholds : sequence of float or array_like, each of shape () or (trial,), optional
        The threshold of each layer that must fail; by default top-k must.

    Returns
    -------
    tuple of ndarray of int8, each of shape (trial, filter, *position)
        T^(1), ..., T^(L), with +1 off the supports.
    """
    trials, current, chosen = len(deepest.row_size), deepest, []
    for layer in range(len(dictionaries), 0, -1):
        dictionary = dictionaries[layer - 1]
        if thresholds is None:
            attack = adversary.worst_signs_for_top_k(dictionary, current, threads=1).signs
        else:
            attack = adversary.worst_signs_for_threshold(dictionary, current, thresholds[layer - 1], threads=1).signs
        signs = np.ones((trials, dictionary.n_atoms), np.int8)
        signs[np.repeat(np.arange(trials), current.row_size), current.atom] = attack * np.sign(current.value)
        chosen.append(signs.reshape(trials, *dictionary.code_shape))
        if layer > 1:
            # The codes are made anew from the deepest one, so that integers stay exact through all layers.
            above, _ = layers_of(dictionaries[layer - 2 :], deepest, [None, *chosen[::-1]])
            current = above[0]
    return tuple(chosen[::-1])
