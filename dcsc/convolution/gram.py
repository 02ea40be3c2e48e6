"""
Rows of the Gram kernel, a few at a time, of banks whose inner products are too many to be held at once.

A bank is given as its filters cut into stride-sized blocks, by groups whose atoms never meet: a plain bank is one
group, a depthwise one has as many as it has channels. Inner products are sums over the blocks that two atoms share;
for long filters, whose lags are many, Fourier transforms over the lags take fewer operations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 2**21
"""Inner products that a thread holds at once."""

KEPT = 2**22
"""Inner products of a bank up to which its whole kernel is made and kept."""

LOOPED = 2**30
"""Multiplications up to which the whole kernel is made lag by lag."""

_TRANSFORMED = 6.0
"""What a complex multiplication of the products of spectra costs, in multiplications of the direct sums."""
_BUTTERFLY = 8.0
"""What an entry of a transform costs for each doubling of its length, in the same unit."""

Span = tuple[slice, slice]
"""Some groups, and some rows of each."""


def gram_size(overlap: Sequence[int], n_filters: int, n_groups: int = 1) -> int:
    """
    Count the inner products of a bank.

    Parameters
    ----------
    overlap : sequence of int
        Neighbouring positions that one atom spans, one number per axis.
    n_filters : int
        Filters of each group.
    n_groups : int
        Groups.

    Returns
    -------
    int
        Entries of its Gram kernel, by groups.
    """
    return n_groups * n_filters**2 * math.prod(2 * n - 1 for n in overlap)


def is_streamed(blocks: NDArray) -> bool:
    """
    Decide whether the inner products of a bank are made a few rows at a time, and not kept.

    Parameters
    ----------
    blocks : ndarray, shape (group, filter, *overlap, point)
        The filters in blocks.

    Returns
    -------
    bool
        Where they are many, or take many operations: then they are made in float64, by the cheaper way.
    """
    n_groups, n_filters, *overlap = blocks.shape[:-1]
    return n_groups > 1 or gram_size(overlap, n_filters) > KEPT or _direct_cost(blocks.shape) > LOOPED


def is_long(blocks: NDArray) -> bool:
    """
    Decide whether the whole kernel of a bank is made by transforms, for its filters span many positions.

    Parameters
    ----------
    blocks : ndarray, shape (group, filter, *overlap, point)
        The filters in blocks.

    Returns
    -------
    bool
        Where the sums would take long, and transforms do not.
    """
    return _direct_cost(blocks.shape) > max(LOOPED, _transformed_cost(blocks.shape))


def _direct_cost(shape: Sequence[int]) -> float:
    """Multiplications of the sums over shared blocks."""
    n_groups, n_filters, *overlap, points = shape
    return float(n_groups) * n_filters**2 * points * math.prod(overlap) ** 2


def _lengths(overlap: Sequence[int]) -> list[int]:
    """Lengths of transforms in which no lag meets another."""
    from scipy.fft import next_fast_len

    return [next_fast_len(2 * n - 1, real=True) for n in overlap]


def _frequencies(overlap: Sequence[int]) -> int:
    """Entries of a transform, of which half is known from the other half."""
    *others, last = _lengths(overlap)
    return math.prod(others) * (last // 2 + 1)


def _transformed_cost(shape: Sequence[int]) -> float:
    n_groups, n_filters, *overlap, points = shape
    entries = math.prod(_lengths(overlap))
    transform = _BUTTERFLY * entries * math.log2(max(entries, 2))
    return float(n_groups) * n_filters**2 * (_TRANSFORMED * points * _frequencies(overlap) + transform)


def multiplications(shape: Sequence[int]) -> float:
    """
    Count what making the inner products of a bank takes, by the cheaper way.

    Parameters
    ----------
    shape : sequence of int
        That of the blocks, (group, filter, *overlap, point).

    Returns
    -------
    float
        Multiplications, or what takes as long.
    """
    return min(_direct_cost(shape), _transformed_cost(shape))


@dataclass(frozen=True, eq=False)
class GramRows:
    """
    The Gram kernel of a bank, made row by row.

    Parameters
    ----------
    blocks : ndarray of float64, shape (group, filter, *overlap, point)
        The filters in blocks.
    spectrum : ndarray of complex128, shape (group, *frequency, filter, point), or None
        Their transforms over the lags, where these are the cheaper way.
    """

    blocks: NDArray
    spectrum: NDArray | None

    @classmethod
    def of(cls, blocks: NDArray) -> GramRows:
        """
        Choose the cheaper way for a bank, and prepare for it.

        Parameters
        ----------
        blocks : ndarray, shape (group, filter, *overlap, point)
            The filters in blocks.

        Returns
        -------
        GramRows
            In float64.
        """
        import scipy.fft

        blocks = blocks.astype(np.float64, copy=False)
        if _direct_cost(blocks.shape) <= _transformed_cost(blocks.shape):
            return cls(blocks, None)
        overlap = blocks.shape[2:-1]
        axes = tuple(range(1, 1 + len(overlap)))
        in_front = np.moveaxis(blocks, 1, -2)
        return cls(blocks, np.ascontiguousarray(scipy.fft.rfftn(in_front, s=_lengths(overlap), axes=axes)))

    @property
    def overlap(self) -> tuple[int, ...]:
        """Neighbouring positions that one atom spans, one number per axis."""
        return self.blocks.shape[2:-1]

    def spans(self) -> Iterator[Span]:
        """
        Cut the rows into parts of at most `AT_ONCE` inner products, or of one row.

        Yields
        ------
        tuple of slice
            Groups, and rows of each of them: several whole groups, or some rows of one.
        """
        n_groups, n_filters = self.blocks.shape[:2]
        row = gram_size(self.overlap, n_filters) // n_filters
        rows, groups = max(1, AT_ONCE // row), max(1, AT_ONCE // (row * n_filters))
        for group in range(0, n_groups, groups):
            for first in range(0, n_filters, rows):
                yield slice(group, min(group + groups, n_groups)), slice(first, min(first + rows, n_filters))

    def __call__(self, span: Span) -> NDArray:
        """
        Make some rows.

        Parameters
        ----------
        span : tuple of slice
            From `spans`.

        Returns
        -------
        ndarray of float64, shape (group, row, *(2 * overlap - 1), filter)
            Entry [..., i, overlap - 1 + d, j] is <atom (i, p), atom (j, p + d)> for filters i and j of one group.
        """
        return self._summed(*span) if self.spectrum is None else self._transformed(*span)

    def _summed(self, groups: slice, rows: slice) -> NDArray:
        others = self.blocks[groups]
        own = others[:, rows]
        made = np.empty((*own.shape[:2], *[2 * n - 1 for n in self.overlap], others.shape[1]))
        for lag in product(*[range(1 - n, n) for n in self.overlap]):
            first, second = shared(lag, self.overlap)
            here = own[(slice(None), slice(None), *first)].reshape(*own.shape[:2], -1)
            there = others[(slice(None), slice(None), *second)].reshape(*others.shape[:2], -1)
            index: tuple[Any, ...] = tuple(n - 1 + d for d, n in zip(lag, self.overlap, strict=True))
            made[(slice(None), slice(None), *index)] = here @ there.swapaxes(1, 2)
        return made

    def _transformed(self, groups: slice, rows: slice) -> NDArray:
        import scipy.fft

        assert self.spectrum is not None
        others = self.spectrum[groups]
        # The fewer factors are conjugated, which reverses the lags.
        products = others[..., rows, :].conj() @ others.swapaxes(-1, -2)
        axes = tuple(range(1, 1 + len(self.overlap)))
        wrapped = np.moveaxis(scipy.fft.irfftn(products, s=_lengths(self.overlap), axes=axes, overwrite_x=True), -2, 1)
        made = np.empty((*wrapped.shape[:2], *[2 * n - 1 for n in self.overlap], wrapped.shape[-1]))
        # Of each axis the lags from overlap - 1 down to 0, then those below, which wrapped around to the end.
        halves = [((slice(0, n), slice(n - 1, None, -1)), (slice(n, None), slice(-1, -n, -1))) for n in self.overlap]
        for chosen in product(*halves):
            to, source = zip(*chosen, strict=True)
            made[(slice(None), slice(None), *to)] = wrapped[(slice(None), slice(None), *source)]
        return made


def shared(lag: Sequence[int], overlap: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """
    Find the blocks that two atoms share.

    Parameters
    ----------
    lag : sequence of int
        How far the second one lies from the first, in positions.
    overlap : sequence of int
        Neighbouring positions that each spans.

    Returns
    -------
    first, second : tuple of slice
        Blocks of the first atom, and the same of the second, one slice an axis.
    """
    first = tuple(slice(max(d, 0), n + min(d, 0)) for d, n in zip(lag, overlap, strict=True))
    second = tuple(slice(max(-d, 0), n + min(-d, 0)) for d, n in zip(lag, overlap, strict=True))
    return first, second


def needed_bytes(shape: Sequence[int]) -> int:
    """
    Estimate what streaming the rows of a bank takes, before anything is made.

    Parameters
    ----------
    shape : sequence of int
        That of the blocks, (group, filter, *overlap, point).

    Returns
    -------
    int
        Bytes of the blocks, of their transforms where these are used, and of the rows of one thread.
    """
    n_groups, n_filters, *overlap, points = shape
    row = gram_size(overlap, n_filters) // n_filters
    blocks = 8 * math.prod(shape)
    entries = _frequencies(overlap) if _direct_cost(shape) > _transformed_cost(shape) else 0
    held = min(max(AT_ONCE, row), gram_size(overlap, n_filters, n_groups))
    return 2 * blocks + 16 * n_groups * n_filters * entries * points + 8 * 8 * held
