"""Sparse filters whose shifts coincide in at most one tap, so that the coherence is 1 over the number of non-zeros."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from dcsc.convolution.filter_bank import per_axis
from dcsc.errors import UserError
from dcsc.families.randomised import random_signs
from dcsc.families.registry import register
from dcsc.families.sizes import Grid, PerAxis, at_least, shape_of
from dcsc.model.dictionary import ConvolutionalDictionary

_RESTARTS = 20
_TRIES_A_FILTER = 20
_MOST_KEYS = 2**26
_MOST_STEPS = 2**18


@dataclass
class _Search:
    """A greedy search of supports; its steps are limited, so that one without hope ends, always at the same place."""

    rng: Generator
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    n_nonzeros: int
    steps_left: int = _MOST_STEPS

    @property
    def n_keys(self) -> int:
        """Count what `keys` can give, all of which the pairs of entries can have at best."""
        n_channels, *taps = self.shape
        lattice = math.prod(min(step, size) for step, size in zip(self.stride, taps, strict=True))
        return n_channels**2 * lattice * math.prod(2 * size - 1 for size in taps)

    def keys(self, first: NDArray, second: NDArray) -> NDArray:
        """
        Number the ordered pairs of entries so that equal numbers mean two coincidences of two atoms.

        Entries a, b of one filter and c, d of another atom's coincide both when the channels
        and the differences agree and a, c are a multiple of the stride apart.

        Parameters
        ----------
        first, second : ndarray of int, shape (..., 1 + rank)
            Channel and taps of the entries.

        Returns
        -------
        ndarray of int, shape (...)
            The numbers, 0 or more.
        """
        n_channels, *taps = self.shape
        fields = [first[..., 0], second[..., 0]]
        sizes = [n_channels, n_channels]
        for axis, (step, size) in enumerate(zip(self.stride, taps, strict=True), start=1):
            fields += [first[..., axis] % step, first[..., axis] - second[..., axis] + size - 1]
            sizes += [min(step, size), 2 * size - 1]
        return np.ravel_multi_index(fields, sizes)

    def supports(self, n_filters: int) -> NDArray | None:
        """Grow the supports one by one; None when one does not fit after many tries."""
        entries = np.stack(np.unravel_index(np.arange(math.prod(self.shape)), self.shape), axis=-1)
        taken = np.zeros(self.n_keys, dtype=bool)
        supports = []
        for _ in range(n_filters):
            tries = (self._grow(entries, taken) for _ in range(_TRIES_A_FILTER))
            grown = next((support for support in tries if support is not None), None)
            if grown is None:
                return None
            support, taken = grown
            supports.append(support)
        return np.array(supports)

    def _grow(self, entries: NDArray, taken: NDArray) -> tuple[NDArray, NDArray] | None:
        """Add random entries whose differences are free; give the support and what is then taken."""
        if self.n_nonzeros > len(entries) or not self._may_spend(1 + (len(taken) + len(entries)) // 2**14):
            return None
        taken = taken.copy()
        order = self.rng.permutation(len(entries))
        free = np.ones(len(entries), dtype=bool)
        support: list[int] = []
        for candidate in order:
            if not free[candidate]:
                continue
            if not self._may_spend(1 + len(support) * len(entries) // 2**10):
                return None
            entry, members = entries[candidate], entries[support]
            both = np.concatenate([self.keys(entry, members), self.keys(members, entry)])
            # The midpoint of two members has the same difference to both.
            if taken[both].any() or len(np.unique(both)) < len(both):
                continue
            taken[both] = True
            support.append(int(candidate))
            if len(support) == self.n_nonzeros:
                return np.array(support), taken
            free[candidate] = False
            for member in support:
                free &= ~taken[self.keys(entries, entries[member])]
        return None

    def _may_spend(self, steps: int) -> bool:
        self.steps_left -= steps
        return self.steps_left >= 0


@register("low-coherence-sparse")
def low_coherence_sparse(
    grid: Grid,
    rng: Generator,
    *,
    n_filters: int,
    taps: PerAxis,
    n_nonzeros: int,
    stride: PerAxis = 1,
    n_channels: int = 1,
) -> ConvolutionalDictionary:
    """
    Search sparse filters of random signs with at most one coincidence between any two atoms.

    When to take it: for a layer of a cascade that must keep the code above it sparse and have a low coherence.

    The supports are Golomb rulers that share no difference, so that two atoms have at
    most one entry in common. The mutual coherence is 1 / n_nonzeros, or 0 when no two
    atoms overlap.

    Parameters
    ----------
    grid, rng, n_filters, taps, n_channels
        As for `gaussian`; rng draws the supports of the greedy search, a stream spawned from it the signs.
    n_nonzeros : int
        Non-zeros of each filter, over all its channels and taps.
    stride : int or tuple of int, in grid points
        Distance between neighbouring positions; a larger one admits more filters.

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
    at_least(1, n_nonzeros=n_nonzeros)
    stride = per_axis(stride, len(grid), "stride")
    (signs,) = rng.spawn(1)
    search = _Search(rng, shape[1:], stride, n_nonzeros)
    if search.n_keys > _MOST_KEYS:
        raise UserError(
            f"filters of {n_channels} channels and {shape[2:]} taps at stride {stride} are too large for this search: "
            "lower taps, stride or n_channels."
        )
    supports = None
    if n_filters * n_nonzeros * (n_nonzeros - 1) <= search.n_keys:
        attempts = (search.supports(n_filters) for _ in range(_RESTARTS))
        supports = next((attempt for attempt in attempts if attempt is not None), None)
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
