"""
The convolutional dictionary: filters placed at every stride-th position of a periodic grid.

========  ==========================  =======================================
array     axes                        meaning
========  ==========================  =======================================
filters   (filter, channel, *tap)     one unit-norm filter per row
codes     (..., filter, *position)    one coefficient an atom; batch axes first
signals   (..., channel, *space)      what the codes synthesize
========  ==========================  =======================================

Atom (i, p) is filter i with its tap t at the grid point (p * stride + t) mod grid.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import real_array
from dcsc.convolution.filter_bank import FilterBank

if TYPE_CHECKING:
    import scipy.sparse
    import scipy.sparse.linalg

    from dcsc.convolution.dense_path import Method


class ConvolutionalDictionary(FilterBank):
    """
    A strided, multi-channel, periodic convolutional dictionary of unit-norm atoms.

    Parameters
    ----------
    filters : array_like, shape (filter, channel, *tap)
        The filters; float32 stays float32, integers become float64.
    stride : int or sequence of int, in grid points
        Distance between neighbouring positions, one for all axes or one per axis.
    grid : int or sequence of int, in grid points
        Size of the periodic grid, one number per axis.
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

    Examples
    --------
    >>> import numpy as np
    >>> from dcsc import ConvolutionalDictionary
    >>> dictionary = ConvolutionalDictionary(np.ones((1, 1, 4)), stride=2, grid=16, normalize=True)
    >>> dictionary.code_shape, dictionary.signal_shape
    ((1, 8), (1, 16))
    >>> code = np.zeros(dictionary.code_shape)
    >>> code[0, 3] = 2.0
    >>> dictionary.synthesize(code)[0, 4:12]
    array([0., 0., 1., 1., 1., 1., 0., 0.])
    """

    def synthesize(
        self, codes: ArrayLike, *, out: NDArray | None = None, method: Method = "auto", threads: int | None = None
    ) -> NDArray:
        """
        Synthesize signals from codes, A x.

        Zeros of the codes contribute exact zeros, so the support of the result is
        the true one up to exact cancellation.

        Parameters
        ----------
        codes : array_like, shape (..., filter, *position)
            Coefficients; integer codes with integer filters give integer signals,
            to be multiplied by `integer_scale`.
        out : ndarray, shape (..., channel, *space), optional
            Where to write; after an error it may hold some of the signals.
        method : {'auto', 'direct', 'fft'}
            Fourier transforms are used only when asked for: they turn zeros into rounding errors.
        threads : int, optional
            Largest number of threads used; by default the number of cores this process may use.

        Returns
        -------
        ndarray, shape (..., channel, *space)
            The signals. Each is computed on its own, so the result for a code is bitwise the same in every batch.

        Raises
        ------
        UserError
            When the codes are not finite real numbers of that shape.
        """
        from dcsc.convolution import dense_path

        codes = self._checked(codes, self.code_shape, "codes", finite=False)  # seen where they are read
        return dense_path.synthesize(self, codes, out=out, method=method, threads=threads)

    def correlate(
        self, signals: ArrayLike, *, out: NDArray | None = None, method: Method = "auto", threads: int | None = None
    ) -> NDArray:
        """
        Correlate signals with every atom, A^T y: the linear step of a convolution layer's forward pass.

        Parameters
        ----------
        signals : array_like, shape (..., channel, *space)
            The signals.
        out : ndarray, shape (..., filter, *position), optional
            Where to write.
        method : {'auto', 'direct', 'fft'}
            Direct sums, Fourier transforms, or the cheaper of the two.
        threads : int, optional
            Largest number of threads used; by default the number of cores this process may use.

        Returns
        -------
        ndarray, shape (..., filter, *position)
            Inner products with the atoms. Each signal is computed on its own, so its result is bitwise the same in
            every batch.

        Raises
        ------
        UserError
            When the signals are not finite real numbers of that shape.
        """
        from dcsc.convolution import dense_path

        signals = self._checked(signals, self.signal_shape, "signals")
        return dense_path.correlate(self, signals, out=out, method=method, threads=threads)

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
            The dictionary with converted filters, and the same grid and stride.
        """
        return ConvolutionalDictionary(self.filters.astype(dtype), self.stride, self.grid)

    def _checked(self, array: ArrayLike, shape: tuple[int, ...], name: str, *, finite: bool = True) -> NDArray:
        array = real_array(array, name, shape, finite=finite)
        if array.dtype == np.bool_:
            return array.astype(self.dtype)
        return array
