"""A bank of filters on a periodic grid: the data that the dense and the sparse path share."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import product
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import check_finite, real_array
from dcsc.convolution import gram
from dcsc.errors import UserError
from dcsc.kernels.arguments import read_only
from dcsc.ragged import RaggedCodes

T = TypeVar("T")


def per_axis(value: int | Sequence[int], rank: int, name: str) -> tuple[int, ...]:
    """
    Spread a number over the spatial axes, or check a sequence of one number per axis.

    Parameters
    ----------
    value : int or sequence of int
        One number for all axes, or one per axis.
    rank : int
        Number of spatial axes.
    name : str
        What the number is, for the message.

    Returns
    -------
    tuple of int
        One positive number per axis.

    Raises
    ------
    UserError
        When the length differs from the rank or a number is not a positive integer.
    """
    values = tuple(value) if isinstance(value, Sequence | np.ndarray) else (value,) * rank
    if len(values) != rank:
        raise UserError(
            f"{name} {values} has {len(values)} axes, but the filters have {rank}: give one number per axis."
        )
    for number in values:
        if int(number) != number or number < 1:
            raise UserError(f"{name} {values} is not allowed: give positive integers.")
    return tuple(int(number) for number in values)


def scaled_norms(filters: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """
    Measure filters so large or small that their squares leave the range of a float, too.

    Parameters
    ----------
    filters : ndarray, shape (filter, channel, *tap)
        Finite numbers.

    Returns
    -------
    scaled : ndarray of float64, shape of filters
        Each filter times a power of two, which is exact, so that its largest entry lies in [0.5, 1).
    norms : ndarray, shape (filter,)
        l2 norms of these.
    exponents : ndarray of int, shape (filter,)
        The norms of the filters themselves are norms * 2 ** exponents.
    """
    axes = tuple(range(1, filters.ndim))
    exponents = np.frexp(np.abs(filters).max(axis=axes).astype(np.float64))[1]
    scaled = np.ldexp(filters.astype(np.float64), -exponents.reshape(-1, *[1] * len(axes)))
    return scaled, np.sqrt((scaled**2).sum(axis=axes)), exponents


def listed_codes(codes: ArrayLike | RaggedCodes, dictionary: FilterBank) -> RaggedCodes:
    """
    Take codes of a dictionary as lists of floating-point numbers, and check their shape.

    Parameters
    ----------
    codes : array_like of shape (..., filter, *position), or RaggedCodes
        The codes.
    dictionary : FilterBank
        Whose atoms they weigh.

    Returns
    -------
    RaggedCodes
        The codes in float64, without explicit zeros.

    Raises
    ------
    UserError
        When the shape does not fit or a value is not a finite real number.
    """
    shape = dictionary.code_shape
    listed = codes if isinstance(codes, RaggedCodes) else RaggedCodes.from_dense(codes, shape)
    if tuple(listed.code_shape) != shape:
        found = (*listed.batch_shape, *listed.code_shape)
        raise UserError(f"codes of shape {found} do not fit: the last axes must be {shape}.")
    check_finite(listed.value, "codes")
    if not listed.value.all():
        listed = RaggedCodes.from_dense(listed.to_dense(), shape)
    return listed if listed.value.dtype == np.float64 else listed.with_values(listed.value.astype(np.float64))


@dataclass(frozen=True, eq=False, init=False, repr=False)
class FilterBank:
    """
    Filters at every stride-th position of a periodic grid: their data, sizes, blocks and Gram kernel.

    Parameters
    ----------
    filters, stride, grid, normalize, integer_filters
        As for `dcsc.model.dictionary.ConvolutionalDictionary`.

    Raises
    ------
    UserError
        When shapes do not fit, norms are not 1, the stride does not divide the
        grid, or the grid is too short for the stripe to be exact.
    """

    filters: NDArray
    stride: tuple[int, ...]
    grid: tuple[int, ...]
    normalize: bool
    integer_filters: NDArray | None
    _kept: dict[Hashable, Any] = field(default_factory=dict)
    _lock: AbstractContextManager = field(default_factory=threading.RLock)

    def __init__(
        self,
        filters: ArrayLike,
        stride: int | Sequence[int] = 1,
        grid: int | Sequence[int] = 0,
        normalize: bool = False,
        integer_filters: ArrayLike | None = None,
    ) -> None:
        array = np.array(real_array(filters, "filters"))
        if array.ndim < 3:
            raise UserError(f"filters of shape {array.shape} are not allowed: give (filter, channel, tap, ...).")
        if not array.size:
            raise UserError(f"filters of shape {array.shape} are empty: give at least one filter, channel and tap.")
        if array.dtype not in (np.float32, np.float64):
            array = array.astype(np.float64)
        rank = array.ndim - 2
        scaled, norms, exponents = scaled_norms(array)
        if normalize:
            if not norms.all():
                raise UserError(f"filter {int(np.argmin(norms))} is zero and has no unit norm: remove it.")
            array = (scaled / norms.reshape(-1, *[1] * (rank + 1))).astype(array.dtype)
        else:
            tolerance = 1e-4 if array.dtype == np.float32 else 1e-9
            norms = np.ldexp(norms, exponents)
            worst = int(np.argmax(np.abs(norms - 1)))
            if abs(norms[worst] - 1) > tolerance:
                raise UserError(f"filter {worst} has norm {norms[worst]:.6g}, not 1: scale it, or pass normalize=True.")
        steps = per_axis(stride, rank, "stride")
        sizes = per_axis(grid, rank, "grid")
        for points, step, taps in zip(sizes, steps, array.shape[2:], strict=True):
            if points % step:
                raise UserError(f"grid {points} is not a multiple of the stride {step}: change one of them.")
            needed = (2 * math.ceil(taps / step) - 1) * step
            if points < needed:
                raise UserError(
                    f"grid {points} is too short for filters of {taps} taps at stride {step}: "
                    f"atoms would meet twice, use at least {needed}."
                )
        integers = None
        if integer_filters is not None:
            integers = np.array(real_array(integer_filters, "integer_filters"), dtype=np.int64)
            if (
                integers.shape != array.shape
                or not integers[0].any()
                or np.abs(integers * self._integer_scale(integers) - array).max() > 1e-9
            ):
                raise UserError("integer_filters are not proportional to the filters by one factor: use from_integers.")
        values = {"filters": array, "stride": steps, "grid": sizes, "normalize": normalize}
        self.__setstate__({**values, "integer_filters": integers})

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was prepared, and sizes, which are as quickly found again."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("_kept", "_lock")}

    def __setstate__(self, values: Mapping[str, Any]) -> None:
        """Take the fields, arrays as read-only."""
        shown = {name: read_only(value) if isinstance(value, np.ndarray) else value for name, value in values.items()}
        vars(self).update(shown, _kept={}, _lock=threading.RLock())

    def prepared(self, key: Hashable, make: Callable[[], T]) -> T:
        """
        Give what is made of the bank once and then kept by it.

        Parameters
        ----------
        key : hashable
            What it is, such as its name, kind and type.
        make : callable
            Makes it when it is first asked for.

        Returns
        -------
        object
            What `make` returned at first.
        """
        with self._lock:
            if key not in self._kept:
                self._kept[key] = make()
            return self._kept[key]

    @staticmethod
    def _integer_scale(integers: NDArray) -> float:
        return 1 / math.sqrt(int((integers[0] ** 2).sum()))

    @classmethod
    def from_integers(
        cls, integer_filters: ArrayLike, stride: int | Sequence[int] = 1, grid: int | Sequence[int] = 0
    ) -> Self:
        """
        Make a dictionary from integer filters that share one norm, so that integer codes are synthesized exactly.

        Parameters
        ----------
        integer_filters : array_like of int, shape (filter, channel, *tap)
            The filters before scaling.
        stride, grid : int or sequence of int, in grid points
            As for the class.

        Returns
        -------
        FilterBank
            The filter bank; its filters are the integers divided by their common norm.

        Raises
        ------
        UserError
            When the values are not integers or the norms differ.
        """
        given = real_array(integer_filters, "integer filters")
        integers = given.astype(np.int64)
        if (integers != given).any():
            raise UserError("integer_filters hold fractions: give integers.")
        squares = (integers**2).sum(axis=tuple(range(1, integers.ndim)))
        if len(set(squares.tolist())) != 1 or not squares[0]:
            raise UserError(
                f"integer filters have squared norms {sorted(set(squares.tolist()))}: they must share one, not 0."
            )
        return cls(integers * cls._integer_scale(integers), stride, grid, integer_filters=integers)

    @property
    def integer_scale(self) -> float:
        """The factor from integer_filters to filters."""
        if self.integer_filters is None:
            raise UserError("this dictionary has no integer filters: make it with from_integers.")
        return self._integer_scale(self.integer_filters)

    def check_integers(self, values: NDArray) -> None:
        """
        Check that integer codes are small enough to be synthesized exactly.

        Parameters
        ----------
        values : ndarray of int
            Their coefficients.

        Raises
        ------
        UserError
            When sums could exceed 64 bits.
        """
        filters = np.zeros(0, np.int64) if self.integer_filters is None else self.integer_filters
        if int(np.abs(filters).sum()) * int(np.abs(values).max(initial=0)) >= 2**62:
            raise UserError("integer synthesis would exceed 64 bits: use smaller integers or fewer layers.")

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return self.filters.ndim - 2

    @property
    def n_filters(self) -> int:
        """Number of filters."""
        return self.filters.shape[0]

    @property
    def n_channels(self) -> int:
        """Number of channels of a signal."""
        return self.filters.shape[1]

    @property
    def taps(self) -> tuple[int, ...]:
        """Size of a filter along each axis, in grid points."""
        return self.filters.shape[2:]

    @cached_property
    def positions(self) -> tuple[int, ...]:
        """Number of positions along each axis."""
        return tuple(points // step for points, step in zip(self.grid, self.stride, strict=True))

    @property
    def overlap(self) -> tuple[int, ...]:
        """Number of neighbouring positions that one atom spans along each axis, ceil(taps / stride)."""
        return tuple(math.ceil(taps / step) for taps, step in zip(self.taps, self.stride, strict=True))

    @cached_property
    def code_shape(self) -> tuple[int, ...]:
        """Shape (filter, *position) of a code."""
        return (self.n_filters, *self.positions)

    @property
    def signal_shape(self) -> tuple[int, ...]:
        """Shape (channel, *space) of a signal."""
        return (self.n_channels, *self.grid)

    @cached_property
    def n_atoms(self) -> int:
        """Number of atoms, filters times positions."""
        return math.prod(self.code_shape)

    @property
    def stripe_size(self) -> int:
        """Number of atoms in a stripe, those that overlap one patch ([PRE17] section 3)."""
        return self.n_filters * math.prod(2 * overlap - 1 for overlap in self.overlap)

    @property
    def dtype(self) -> np.dtype:
        """Floating-point type of the filters."""
        return self.filters.dtype

    def __repr__(self) -> str:
        """Say the sizes, not the values."""
        return (
            f"{type(self).__name__}({self.n_filters} filters, {self.n_channels} channels, "
            f"taps {self.taps}, stride {self.stride}, grid {self.grid}, {self.dtype})"
        )

    @property
    def filter_blocks(self) -> NDArray:
        """The filters cut into stride-sized blocks, shape (filter, *overlap, channel * prod(stride))."""
        return self.prepared("blocks", self._blocks)

    def _blocks(self) -> NDArray:
        padding = [
            (0, overlap * step - taps) for overlap, step, taps in zip(self.overlap, self.stride, self.taps, strict=True)
        ]
        padded = np.pad(self.filters, [(0, 0), (0, 0), *padding])
        split = padded.reshape(
            self.n_filters,
            self.n_channels,
            *[n for pair in zip(self.overlap, self.stride, strict=True) for n in pair],
        )
        overlap_axes = [2 + 2 * axis for axis in range(self.rank)]
        phase_axes = [3 + 2 * axis for axis in range(self.rank)]
        return np.ascontiguousarray(split.transpose(0, *overlap_axes, 1, *phase_axes)).reshape(
            self.n_filters, *self.overlap, -1
        )

    def gram(self, dtype: np.dtype | type | None = None) -> NDArray:
        """
        Inner products of the atoms at all lags at which they can overlap.

        Parameters
        ----------
        dtype : dtype, optional
            Floating-point type to compute in; by default that of the filters.

        Returns
        -------
        ndarray, shape (filter, filter, *(2 * overlap - 1))
            Entry [i, j, overlap - 1 + d] is <atom (i, p), atom (j, p + d)>, the same for
            every position p; atoms further apart are orthogonal. Read-only, computed once.
        """
        chosen = self.dtype if dtype is None else np.dtype(dtype)
        return self.prepared(("gram", chosen), lambda: self._gram(self.filter_blocks.astype(chosen, copy=False)))

    def _gram(self, blocks: NDArray) -> NDArray:
        overlap, n_filters, zero = self.overlap, self.n_filters, (0,) * self.rank
        kernel = np.empty((n_filters, n_filters, *[2 * n - 1 for n in overlap]), blocks.dtype)
        if gram.is_long(blocks[None]):
            rows = gram.GramRows.of(blocks[None])
            for span in rows.spans():
                kernel[span[1]] = np.moveaxis(rows(span)[0], -1, 1)
            return read_only(kernel)
        for lag in product(*[range(1 - n, n) for n in overlap]):
            if lag < zero:
                continue  # the lag -d is the transpose of the lag d
            first, second = gram.shared(lag, overlap)
            here = blocks[(slice(None), *first)].reshape(n_filters, -1)
            there = blocks[(slice(None), *second)].reshape(n_filters, -1)
            entries = here @ there.T
            index: tuple[Any, ...] = tuple(n - 1 + d for d, n in zip(lag, overlap, strict=True))
            mirror: tuple[Any, ...] = tuple(n - 1 - d for d, n in zip(lag, overlap, strict=True))
            kernel[(slice(None), slice(None), *index)] = entries
            kernel[(slice(None), slice(None), *mirror)] = entries.T
        return read_only(kernel)
