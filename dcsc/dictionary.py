"""
The convolutional dictionary: filters placed at every stride-th position of a periodic grid.

========  ==========================  =======================================
array     axes                        meaning
========  ==========================  =======================================
filters   (filter, channel, *tap)     one unit-norm filter a row
codes     (..., filter, *position)    one coefficient an atom; batch axes first
signals   (..., channel, *space)      what the codes synthesize
========  ==========================  =======================================

Atom (i, p) is filter i with its tap t at the grid point (p * stride + t) mod grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.errors import UserError

if TYPE_CHECKING:
    import scipy.sparse
    import scipy.sparse.linalg

    from dcsc.dense_path import Method


def per_axis(value: int | Sequence[int], rank: int, name: str) -> tuple[int, ...]:
    """
    Spread a number over the spatial axes, or check a sequence of one number an axis.

    Parameters
    ----------
    value : int or sequence of int
        One number for all axes, or one an axis.
    rank : int
        Number of spatial axes.
    name : str
        What the number is, for the message.

    Returns
    -------
    tuple of int
        One positive number an axis.

    Raises
    ------
    UserError
        When the length differs from the rank or a number is not a positive integer.
    """
    values = tuple(value) if isinstance(value, Sequence | np.ndarray) else (value,) * rank
    if len(values) != rank:
        raise UserError(
            f"{name} {values} has {len(values)} axes, but the filters have {rank}: give one number an axis."
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


@dataclass(frozen=True, eq=False)
class ConvolutionalDictionary:
    """
    A strided, multi-channel, periodic convolutional dictionary of unit-norm atoms.

    Parameters
    ----------
    filters : array_like, shape (filter, channel, *tap)
        The filters; float32 stays float32, integers become float64.
    stride : int or sequence of int, in grid points
        Distance between neighbouring positions, one for all axes or one an axis.
    grid : int or sequence of int, in grid points
        Size of the periodic grid, one number an axis.
    normalize : bool
        Scale the filters to unit l2 norm instead of demanding it.
    integer_filters : array_like of int, shape of filters, optional
        Integers proportional to the filters by one common factor: with them a
        cascade propagates integer codes exactly (see `from_integers`).

    Raises
    ------
    UserError
        When shapes do not fit, norms are not 1, the stride does not divide the
        grid, or the grid is too short for the stripe to be exact.
    """

    filters: NDArray
    stride: int | tuple[int, ...] = 1
    grid: int | tuple[int, ...] = 0
    normalize: bool = False
    integer_filters: NDArray | None = None

    def __post_init__(self) -> None:
        filters = np.array(self.filters)
        if filters.ndim < 3:
            raise UserError(f"filters of shape {filters.shape} are not allowed: give (filter, channel, tap, ...).")
        if not filters.size:
            raise UserError(f"filters of shape {filters.shape} are empty: give at least one filter, channel and tap.")
        if filters.dtype not in (np.float32, np.float64):
            filters = filters.astype(np.float64)
        if not np.isfinite(filters).all():
            raise UserError("the filters hold values that are not finite: remove NaN and infinity.")
        rank = filters.ndim - 2
        scaled, norms, exponents = scaled_norms(filters)
        if self.normalize:
            if not norms.all():
                raise UserError(f"filter {int(np.argmin(norms))} is zero and has no unit norm: remove it.")
            filters = (scaled / norms.reshape(-1, *[1] * (rank + 1))).astype(filters.dtype)
        else:
            tolerance = 1e-4 if filters.dtype == np.float32 else 1e-9
            norms = np.ldexp(norms, exponents)
            worst = int(np.argmax(np.abs(norms - 1)))
            if abs(norms[worst] - 1) > tolerance:
                raise UserError(f"filter {worst} has norm {norms[worst]:.6g}, not 1: scale it, or pass normalize=True.")
        stride = per_axis(self.stride, rank, "stride")
        grid = per_axis(self.grid, rank, "grid")
        for points, step, taps in zip(grid, stride, filters.shape[2:], strict=True):
            if points % step:
                raise UserError(f"grid {points} is not a multiple of the stride {step}: change one of them.")
            needed = (2 * math.ceil(taps / step) - 1) * step
            if points < needed:
                raise UserError(
                    f"grid {points} is too short for filters of {taps} taps at stride {step}: "
                    f"atoms would meet twice, use at least {needed}."
                )
        filters.setflags(write=False)
        for name, value in (("filters", filters), ("stride", stride), ("grid", grid)):
            object.__setattr__(self, name, value)
        if self.integer_filters is not None:
            integers = np.array(self.integer_filters, dtype=np.int64)
            if (
                integers.shape != filters.shape
                or np.abs(integers * self._integer_scale(integers) - filters).max() > 1e-9
            ):
                raise UserError("integer_filters are not proportional to the filters by one factor: use from_integers.")
            integers.setflags(write=False)
            object.__setattr__(self, "integer_filters", integers)

    @staticmethod
    def _integer_scale(integers: NDArray) -> float:
        return 1 / math.sqrt(int((integers[0] ** 2).sum()))

    @classmethod
    def from_integers(
        cls, integer_filters: ArrayLike, stride: int | Sequence[int] = 1, grid: int | Sequence[int] = 0
    ) -> ConvolutionalDictionary:
        """
        Make a dictionary from integer filters that share one norm, so that codes stay exact.

        Parameters
        ----------
        integer_filters : array_like of int, shape (filter, channel, *tap)
            The filters before scaling.
        stride, grid : int or sequence of int, in grid points
            As for the class.

        Returns
        -------
        ConvolutionalDictionary
            Its filters are the integers over their common norm.

        Raises
        ------
        UserError
            When the values are not integers or the norms differ.
        """
        given = np.asarray(integer_filters)
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

    @property
    def positions(self) -> tuple[int, ...]:
        """Number of positions along each axis."""
        return tuple(points // step for points, step in zip(self.grid, self.stride, strict=True))

    @property
    def overlap(self) -> tuple[int, ...]:
        """Number of neighbouring positions that one atom spans along each axis, ceil(taps / stride)."""
        return tuple(math.ceil(taps / step) for taps, step in zip(self.taps, self.stride, strict=True))

    @property
    def code_shape(self) -> tuple[int, ...]:
        """Shape (filter, *position) of a code."""
        return (self.n_filters, *self.positions)

    @property
    def signal_shape(self) -> tuple[int, ...]:
        """Shape (channel, *space) of a signal."""
        return (self.n_channels, *self.grid)

    @property
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
            f"ConvolutionalDictionary({self.n_filters} filters, {self.n_channels} channels, "
            f"taps {self.taps}, stride {self.stride}, grid {self.grid}, {self.dtype})"
        )

    def _blocks(self, filters: NDArray) -> NDArray:
        """Cut filters into stride-sized blocks: (filter, *overlap, channel * prod(stride))."""
        padding = [
            (0, overlap * step - taps) for overlap, step, taps in zip(self.overlap, self.stride, self.taps, strict=True)
        ]
        padded = np.pad(filters, [(0, 0), (0, 0), *padding])
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

    @cached_property
    def filter_blocks(self) -> NDArray:
        """The filters cut into stride-sized blocks, shape (filter, *overlap, channel * prod(stride))."""
        return self._blocks(self.filters)

    def synthesize(
        self, codes: ArrayLike, *, out: NDArray | None = None, method: Method = "auto", threads: int | None = None
    ) -> NDArray:
        """
        Apply the dictionary, A x.

        Zeros of the codes contribute exact zeros, so the support of the result is
        the true one up to exact cancellation.

        Parameters
        ----------
        codes : array_like, shape (..., filter, *position)
            Coefficients; integer codes with integer filters give integer signals,
            to be multiplied by `integer_scale`.
        out : ndarray, shape (..., channel, *space), optional
            Where to write.
        method : {'auto', 'direct', 'fft'}
            Fourier transforms are used only when asked for: they turn zeros into rounding errors.
        threads : int, optional
            At most that many at once; by default the cores this process may use.

        Returns
        -------
        ndarray, shape (..., channel, *space)
            The signals, each computed alone, so its bits do not depend on the batch.

        Raises
        ------
        UserError
            When the shape or the type of the codes does not fit.
        """
        from dcsc import dense_path

        codes = self._checked(codes, self.code_shape, "codes")
        return dense_path.synthesize(self, codes, out=out, method=method, threads=threads)

    def correlate(
        self, signals: ArrayLike, *, out: NDArray | None = None, method: Method = "auto", threads: int | None = None
    ) -> NDArray:
        """
        Correlate signals with every atom, A^T y: the convolution of a forward pass.

        Parameters
        ----------
        signals : array_like, shape (..., channel, *space)
            The signals.
        out : ndarray, shape (..., filter, *position), optional
            Where to write.
        method : {'auto', 'direct', 'fft'}
            Direct sums, Fourier transforms, or the cheaper of the two.
        threads : int, optional
            At most that many at once; by default the cores this process may use.

        Returns
        -------
        ndarray, shape (..., filter, *position)
            Inner products with the atoms, each signal computed alone, so its bits
            do not depend on the batch.

        Raises
        ------
        UserError
            When the shape or the type of the signals does not fit.
        """
        from dcsc import dense_path

        signals = self._checked(signals, self.signal_shape, "signals")
        return dense_path.correlate(self, signals, out=out, method=method, threads=threads)

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
            every position p; atoms further apart are orthogonal. Read-only; that of the filters'
            own type is computed once.
        """
        if dtype is None or np.dtype(dtype) == self.dtype:
            return self._gram
        return self._gram_of(self.filter_blocks.astype(dtype))

    @cached_property
    def _gram(self) -> NDArray:
        return self._gram_of(self.filter_blocks)

    def _gram_of(self, blocks: NDArray) -> NDArray:
        gram = np.empty((self.n_filters, self.n_filters, *[2 * overlap - 1 for overlap in self.overlap]), blocks.dtype)
        for lag in product(*[range(1 - overlap, overlap) for overlap in self.overlap]):
            if lag < (0,) * self.rank:
                continue  # the lag -d is the transpose of the lag d
            first = tuple(slice(max(d, 0), n + min(d, 0)) for d, n in zip(lag, self.overlap, strict=True))
            second = tuple(slice(max(-d, 0), n + min(-d, 0)) for d, n in zip(lag, self.overlap, strict=True))
            here = blocks[(slice(None), *first)].reshape(self.n_filters, -1)
            there = blocks[(slice(None), *second)].reshape(self.n_filters, -1)
            entries = here @ there.T
            index = tuple(n - 1 + d for d, n in zip(lag, self.overlap, strict=True))
            mirror = tuple(n - 1 - d for d, n in zip(lag, self.overlap, strict=True))
            gram[(slice(None), slice(None), *index)] = entries
            gram[(slice(None), slice(None), *mirror)] = entries.T
        gram.setflags(write=False)
        return gram

    def to_sparse(self) -> scipy.sparse.csc_array:
        """
        Write the dictionary as a sparse matrix.

        Returns
        -------
        scipy.sparse.csc_array, shape (channel * space, filter * position)
            Rows in C order of (channel, *space), columns in C order of (filter, *position).
        """
        import scipy.sparse

        signal_index = np.arange(math.prod(self.signal_shape)).reshape(self.signal_shape)
        per_position = [
            (np.arange(positions)[:, None] * step + np.arange(taps)) % points
            for positions, step, taps, points in zip(self.positions, self.stride, self.taps, self.grid, strict=True)
        ]
        rows = signal_index
        for axis, index in enumerate(per_position):
            rows = np.take(rows, index, axis=1 + 2 * axis)
        position_axes = [1 + 2 * axis for axis in range(self.rank)]
        tap_axes = [2 + 2 * axis for axis in range(self.rank)]
        rows = rows.transpose(*position_axes, 0, *tap_axes).reshape(math.prod(self.positions), -1)
        values = np.broadcast_to(self.filters.reshape(self.n_filters, 1, -1), (self.n_filters, *rows.shape))
        rows = np.broadcast_to(rows, values.shape)
        columns = np.broadcast_to(np.arange(self.n_atoms).reshape(self.n_filters, -1, 1), values.shape)
        shape = (math.prod(self.signal_shape), self.n_atoms)
        entries = (values.ravel(), (rows.ravel(), columns.ravel()))
        matrix = scipy.sparse.coo_array(entries, shape=shape).tocsc()
        matrix.eliminate_zeros()
        return matrix

    def as_linear_operator(self) -> scipy.sparse.linalg.LinearOperator:
        """
        Wrap synthesis and its adjoint for scipy's iterative solvers.

        Returns
        -------
        scipy.sparse.linalg.LinearOperator, shape (channel * space, filter * position)
            Acts on raveled codes and signals, in the order of `to_sparse`.
        """
        from scipy.sparse.linalg import LinearOperator

        return LinearOperator(
            (math.prod(self.signal_shape), self.n_atoms),
            matvec=lambda code: self.synthesize(np.reshape(code, self.code_shape)).ravel(),
            rmatvec=lambda signal: self.correlate(np.reshape(signal, self.signal_shape)).ravel(),
            dtype=self.dtype,
        )

    def astype(self, dtype: np.dtype | type) -> ConvolutionalDictionary:
        """
        Convert the filters to another floating-point type.

        Parameters
        ----------
        dtype : dtype
            float32 or float64.

        Returns
        -------
        ConvolutionalDictionary
            With the same grid and stride.
        """
        return ConvolutionalDictionary(self.filters.astype(dtype), self.stride, self.grid)

    def _checked(self, array: ArrayLike, shape: tuple[int, ...], name: str) -> NDArray:
        array = np.asarray(array)
        if array.ndim < len(shape) or array.shape[-len(shape) :] != shape:
            raise UserError(f"{name} of shape {array.shape} do not fit: the last axes must be {shape}.")
        if array.dtype == np.bool_:
            return array.astype(self.dtype)
        return array
