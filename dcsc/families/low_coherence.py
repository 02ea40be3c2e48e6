"""Sparse filters whose shifts meet in one place at most, so that the coherence is one over their non-zeros."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dcsc.convolution.filter_bank import per_axis
from dcsc.errors import UserError
from dcsc.families.randomised import random_signs
from dcsc.families.registry import register
from dcsc.families.sizes import at_least, shape_of
from dcsc.model.dictionary import ConvolutionalDictionary

_RESTARTS = 20
_TRIES_A_FILTER = 20
_MOST_KEYS = 2**26
_MOST_STEPS = 2**18


@dataclass
class _Effort:
    """What is left of the steps that a search may take, so that one without hope ends; no clock changes a result."""

    left: int = _MOST_STEPS

    def spend(self, steps: int) -> bool:
        """Whether there was as much left."""
        self.left -= steps
        return self.left >= 0


@register("low-coherence-sparse")
def low_coherence_sparse(
    grid: tuple[int, ...],
    rng: np.random.Generator,
    *,
    n_filters: int,
    taps: int | tuple[int, ...],
    n_nonzeros: int,
    stride: int | tuple[int, ...] = 1,
    n_channels: int = 1,
) -> ConvolutionalDictionary:
    """
    Search sparse filters of random signs with at most one coincidence between any two atoms.

    The supports are Golomb rulers that share no difference: two entries of a filter
    are met by two entries of another atom only if the differences agree. The mutual
    coherence is 1 / n_nonzeros, or 0 when no two atoms meet at all.

    Parameters
    ----------
    grid : tuple of int, in grid points
        The periodic grid, of any rank.
    rng : numpy.random.Generator
        Draws the supports of the greedy search; a stream spawned from it draws the signs.
    n_filters, n_channels : int
        Numbers of filters and channels.
    taps : int or tuple of int
        Taps along every or each axis.
    n_nonzeros : int
        Non-zeros of each filter, over all its channels and taps.
    stride : int or tuple of int, in grid points
        Distance between neighbouring positions; a larger one leaves more room.

    Returns
    -------
    ConvolutionalDictionary
        With `integer_filters` of 0 and +-1, so that a cascade synthesizes integer codes exactly.

    Raises
    ------
    UserError
        When a size is not allowed or does not fit the grid, or no such filters were found.
    """
    shape = shape_of(grid, taps, n_filters, n_channels)
    at_least(n_nonzeros, 1, "n_nonzeros")
    stride = per_axis(stride, len(grid), "stride")
    (signs,) = rng.spawn(1)
    supports, available, effort = None, _differences_available(shape[1:], stride), _Effort()
    if available > _MOST_KEYS:
        raise UserError(
            f"filters of {n_channels} channels and {shape[2:]} taps at stride {stride} are too large for this search: "
            "lower taps, stride or n_channels."
        )
    if _differences_needed(n_filters, n_nonzeros) <= available:
        for _ in range(_RESTARTS):
            supports = _search(rng, shape, n_nonzeros, stride, effort)
            if supports is not None:
                break
    if supports is None:
        raise UserError(
            f"no {n_filters} filters of {n_nonzeros} non-zeros that meet once at most were found in {n_channels} "
            f"channels of {shape[2:]} taps at stride {stride}: lower n_nonzeros or n_filters, or raise taps."
        )
    filters = np.zeros((n_filters, math.prod(shape[1:])), dtype=np.int64)
    # One for every place, so that the sign of a place is the same however long the search was.
    everywhere = random_signs(signs, filters.shape)
    np.put_along_axis(filters, supports, np.take_along_axis(everywhere, supports, axis=1), axis=1)
    return ConvolutionalDictionary.from_integers(filters.reshape(shape), stride, grid)


def _differences_needed(n_filters: int, n_nonzeros: int) -> int:
    return n_filters * n_nonzeros * (n_nonzeros - 1)


def _differences_available(shape: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """Count the keys of `_keys`, all of which two entries can have at best."""
    n_channels, *taps = shape
    lattice = math.prod(min(step, size) for step, size in zip(stride, taps, strict=True))
    return n_channels**2 * lattice * math.prod(2 * size - 1 for size in taps)


def _keys(first: NDArray, second: NDArray, shape: tuple[int, ...], stride: tuple[int, ...]) -> NDArray:
    """
    Number the ordered pairs of entries so that equal numbers mean two coincidences of two atoms.

    Entries a, b of one filter and c, d of another atom's coincide both when the channels
    and the differences agree and a, c are a multiple of the stride apart.

    Parameters
    ----------
    first, second : ndarray of int, shape (..., 1 + rank)
        Channel and taps of the entries.
    shape : tuple of int
        Channels and taps of a filter.
    stride : tuple of int, in grid points
        Distance between neighbouring positions, one an axis.

    Returns
    -------
    ndarray of int, shape (...)
        The numbers, 0 or more.
    """
    n_channels, *taps = shape
    fields = [first[..., 0], second[..., 0]]
    sizes = [n_channels, n_channels]
    for axis, (step, size) in enumerate(zip(stride, taps, strict=True), start=1):
        fields += [first[..., axis] % step, first[..., axis] - second[..., axis] + size - 1]
        sizes += [min(step, size), 2 * size - 1]
    return np.ravel_multi_index(fields, sizes)


def _search(
    rng: np.random.Generator, shape: tuple[int, ...], n_nonzeros: int, stride: tuple[int, ...], effort: _Effort
) -> NDArray | None:
    """Grow the supports one by one; None when one does not fit after many tries."""
    n_filters, *one = shape
    entries = np.stack(np.unravel_index(np.arange(math.prod(one)), one), axis=-1)
    taken = np.zeros(_differences_available(tuple(one), stride), dtype=bool)
    supports = []
    for _ in range(n_filters):
        for _ in range(_TRIES_A_FILTER):
            grown = _grow(rng, entries, taken, tuple(one), n_nonzeros, stride, effort)
            if grown is not None:
                break
        else:
            return None
        support, taken = grown
        supports.append(support)
    return np.array(supports)


def _grow(
    rng: np.random.Generator,
    entries: NDArray,
    taken: NDArray,
    shape: tuple[int, ...],
    n_nonzeros: int,
    stride: tuple[int, ...],
    effort: _Effort,
) -> tuple[NDArray, NDArray] | None:
    """Add random entries whose differences are free; give the support and what is then taken."""
    if n_nonzeros > len(entries) or not effort.spend(1 + (len(taken) + len(entries)) // 2**14):
        return None
    taken = taken.copy()
    order = rng.permutation(len(entries))
    free = np.ones(len(entries), dtype=bool)
    support: list[int] = []
    for candidate in order:
        if not free[candidate]:
            continue
        if not effort.spend(1 + len(support) * len(entries) // 2**10):
            return None
        members = entries[support]
        both = np.concatenate(
            [
                _keys(entries[candidate], members, shape, stride),
                _keys(members, entries[candidate], shape, stride),
            ]
        )
        # The midpoint of two members has the same difference to both.
        if taken[both].any() or len(np.unique(both)) < len(both):
            continue
        taken[both] = True
        support.append(int(candidate))
        if len(support) == n_nonzeros:
            return np.array(support), taken
        free[candidate] = False
        for member in support:
            free &= ~taken[_keys(entries, entries[member], shape, stride)]
    return None
