"""Sparse codes in contiguous ragged form: the atoms and values of one trial after those of another."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import check_kind, real_array
from dcsc.errors import UserError
from dcsc.kernels.arguments import Codes, Entries


@dataclass(frozen=True, eq=False)
class RaggedCodes:
    """
    A batch of sparse codes of one layer, stored as lists of their non-zeros.

    Parameters
    ----------
    row_size : ndarray of int64, shape (...)
        Non-zeros of each code; its axes are the batch axes.
    atom : ndarray of int32, shape (non-zero,)
        Index of each non-zero in C order of (filter, *position), ascending in a code.
    value : ndarray, shape (non-zero,)
        Coefficient of each non-zero.
    code_shape : tuple of int
        Shape (filter, *position) of a code.

    Raises
    ------
    UserError
        When sizes disagree, an atom lies outside the code, or the values are not real numbers.
    """

    row_size: NDArray
    atom: NDArray
    value: NDArray
    code_shape: tuple[int, ...]

    def __post_init__(self) -> None:
        check_kind(self.value.dtype, "values of ragged codes")
        vars(self)["_measured"] = {}
        if self.row_size.dtype.kind not in "iu" or self.atom.dtype.kind not in "iu":
            raise UserError("the row sizes and atoms of ragged codes must be whole numbers: give arrays of integers.")
        total = int(self.row_size.sum())
        if not total == len(self.atom) == len(self.value):
            raise UserError(
                f"ragged codes disagree: row sizes add up to {total}, "
                f"with {len(self.atom)} atoms and {len(self.value)} values."
            )
        n_atoms = math.prod(self.code_shape)
        if total and not (self.atom.min() >= 0 and self.atom.max() < n_atoms):
            raise UserError(f"ragged codes name an atom outside 0..{n_atoms - 1}.")

    def _derived(self, row_size: NDArray, entries: slice | NDArray, value: NDArray | None = None) -> RaggedCodes:
        """Some of the entries, which need not be checked once more: there may be many codes of few entries."""
        derived = object.__new__(RaggedCodes)
        value = self.value[entries] if value is None else value
        fields = {"row_size": row_size, "atom": self.atom[entries], "value": value}
        vars(derived).update(fields, code_shape=self.code_shape, _measured={})
        return derived

    def measured(self, key: Hashable, measure: Callable[[], NDArray]) -> NDArray:
        """
        Give what is measured of the codes once and then kept by them, since several guarantees ask for the same.

        Parameters
        ----------
        key : hashable
            What it is: its name, and all that it depends on beside the codes.
        measure : callable
            Measures it when it is first asked for.

        Returns
        -------
        ndarray
            A copy of what `measure` returned at first.
        """
        kept: dict[Hashable, NDArray] = vars(self)["_measured"]
        if key not in kept:
            kept[key] = measure()
        return kept[key].copy()

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the batch axes."""
        return self.row_size.shape

    @property
    def starts(self) -> NDArray:
        """Where each code starts, and where the last one ends: int64, shape (codes + 1,)."""
        return np.concatenate([[0], np.cumsum(self.row_size.ravel(), dtype=np.int64)])

    @classmethod
    def from_dense(cls, codes: ArrayLike, code_shape: tuple[int, ...]) -> RaggedCodes:
        """
        Compress dense codes; every entry that is not exactly 0 counts.

        Parameters
        ----------
        codes : array_like, shape (..., filter, *position)
            The codes.
        code_shape : tuple of int
            Shape of one code, so that the rest are batch axes.

        Returns
        -------
        RaggedCodes
            With the values' own dtype.

        Raises
        ------
        UserError
            When the codes are not finite real numbers, or of another shape.
        """
        codes = real_array(codes, "codes", code_shape)
        batch = codes.shape[: codes.ndim - len(code_shape)]
        flat = codes.reshape(math.prod(batch), math.prod(code_shape))
        active = flat != 0
        sizes = np.count_nonzero(active, axis=1).astype(np.int64).reshape(batch)
        places = np.flatnonzero(active)
        atoms = (places % max(1, flat.shape[1])).astype(np.int32)
        return cls(sizes, atoms, flat.ravel()[places], tuple(code_shape))

    def to_dense(self) -> NDArray:
        """
        Expand to an array.

        Returns
        -------
        ndarray, shape (..., filter, *position)
            The codes.
        """
        flat = np.zeros((self.row_size.size, math.prod(self.code_shape)), dtype=self.value.dtype)
        flat[np.repeat(np.arange(len(flat)), self.row_size.ravel()), self.atom] = self.value
        return flat.reshape(*self.batch_shape, *self.code_shape)

    def with_values(self, value: NDArray) -> RaggedCodes:
        """
        Keep the supports and replace the values.

        Parameters
        ----------
        value : ndarray, shape (non-zero,)
            The new coefficients.

        Returns
        -------
        RaggedCodes
            On the same atoms.
        """
        if len(value) != len(self.atom):
            return RaggedCodes(self.row_size, self.atom, value, self.code_shape)  # which refuses it
        check_kind(value.dtype, "values of ragged codes")
        return self._derived(self.row_size, slice(None), value)

    def rows(self, rows: slice) -> RaggedCodes:
        """
        Take a run of codes, counted over the flattened batch.

        Parameters
        ----------
        rows : slice
            With start and stop, step 1.

        Returns
        -------
        RaggedCodes
            With one batch axis.
        """
        sizes = self.row_size.ravel()[rows]
        first = int(self.row_size.ravel()[: rows.start].sum())
        entries = slice(first, first + int(sizes.sum()))
        return self._derived(sizes, entries)

    def __getitem__(self, index: int) -> RaggedCodes:
        """Take one entry of the first batch axis."""
        length = self.row_size[0].size
        return self.rows(slice(index * length, (index + 1) * length)).reshape(self.batch_shape[1:])

    def reshape(self, batch_shape: tuple[int, ...]) -> RaggedCodes:
        """
        Rearrange the batch axes.

        Parameters
        ----------
        batch_shape : tuple of int
            Of the same number of codes.

        Returns
        -------
        RaggedCodes
            The same codes in the same order.
        """
        return self._derived(self.row_size.reshape(batch_shape), slice(None))


def kernel_codes(codes: RaggedCodes, dtype: np.dtype | type = np.float64) -> Codes:
    """
    Give codes as the kernels take them, which only read them: what is so already is not copied.

    Parameters
    ----------
    codes : RaggedCodes
        The codes, in order of the flattened batch.
    dtype : dtype
        Type of the values.

    Returns
    -------
    Codes
        In arrays that are contiguous and that could be written, the only ones for which kernels are compiled.
    """
    given = codes.atom.astype(np.int32, copy=False), codes.value.astype(dtype, copy=False)
    atom, value = (array if array.flags.carray else array.copy() for array in given)
    return Codes(atom, value, codes.starts)


def kernel_magnitudes(codes: RaggedCodes) -> Codes:
    """
    Give the magnitudes of codes as the kernels take them.

    Parameters
    ----------
    codes : RaggedCodes
        The codes, in order of the flattened batch.

    Returns
    -------
    Codes
        Of float64.
    """
    listed = kernel_codes(codes)
    return listed._replace(value=np.abs(listed.value))


def write_lists(capacity: int, row_size: NDArray, dtype: np.dtype, write: Callable[[Entries], int]) -> Entries:
    """
    Let a kernel list entries, and once more with larger arrays if they are more than expected.

    Parameters
    ----------
    capacity : int
        Entries that are expected.
    row_size : ndarray of int64, shape (code,)
        Where the entries of each code are counted.
    dtype : dtype
        Type of their values.
    write : callable
        Takes where to write, and returns how many entries there are.

    Returns
    -------
    Entries
        No larger than needed.
    """
    while True:
        entries = Entries(np.empty(capacity, np.int32), np.empty(capacity, dtype), row_size)
        needed = int(write(entries))
        if needed <= capacity:
            return Entries(entries.atom[:needed].copy(), entries.value[:needed].copy(), row_size)
        capacity = needed


def from_lists(
    parts: list[Entries], batch_shape: tuple[int, ...], code_shape: tuple[int, ...], dtype: np.dtype
) -> RaggedCodes:
    """
    Join what kernels listed.

    Parameters
    ----------
    parts : list of Entries
        In order of the codes.
    batch_shape, code_shape : tuple of int
        The batch axes, and the shape of one code.
    dtype : dtype
        Type of the values.

    Returns
    -------
    RaggedCodes
        All codes.
    """
    nothing = Entries(np.empty(0, np.int32), np.empty(0, dtype), np.empty(0, np.int64))
    atom, value, size = (np.concatenate(column) for column in zip(nothing, *parts, strict=True))
    return RaggedCodes(size.reshape(batch_shape), atom, value, code_shape)


def reduce_codes(operation: np.ufunc, values: NDArray, codes: RaggedCodes, empty: float) -> NDArray:
    """
    Reduce one number per non-zero to one per code.

    Parameters
    ----------
    operation : ufunc
        Such as `numpy.minimum`.
    values : ndarray, shape (non-zero,)
        What is reduced.
    codes : RaggedCodes
        Whose non-zeros they belong to.
    empty : float
        The result for a code without non-zeros.

    Returns
    -------
    ndarray, shape (...)
        One number per code of the batch.
    """
    found = np.full(codes.row_size.size, empty, np.result_type(values, empty))
    filled = np.flatnonzero(codes.row_size)  # reduceat takes no empty segments
    if len(filled):
        found[filled] = operation.reduceat(values, codes.starts[filled])
    return found.reshape(codes.batch_shape)


def places_by_filter(codes: RaggedCodes) -> NDArray:
    """
    Tell the code and the filter of every non-zero.

    Parameters
    ----------
    codes : RaggedCodes
        The codes.

    Returns
    -------
    ndarray of int64, shape (non-zero,)
        Its place in an array of shape (..., filter), flat.
    """
    n_filters, positions = codes.code_shape[0], math.prod(codes.code_shape[1:])
    rows = np.repeat(np.arange(codes.row_size.size, dtype=np.int64), codes.row_size.ravel())
    return rows * n_filters + codes.atom // positions


def reduce_by_filter(operation: np.ufunc, values: NDArray, codes: RaggedCodes, empty: float) -> NDArray:
    """
    Reduce numbers of the non-zeros to one per code and filter.

    Parameters
    ----------
    operation : ufunc
        np.minimum or np.maximum.
    values : ndarray, shape (non-zero,)
        One number per non-zero.
    codes : RaggedCodes
        Whose non-zeros they are.
    empty : float
        What a filter without non-zeros gets; the operation's identity.

    Returns
    -------
    ndarray of float64, shape (..., filter)
        The reduced numbers.
    """
    reduced = np.full((*codes.batch_shape, codes.code_shape[0]), empty, np.float64)
    operation.at(reduced.reshape(-1), places_by_filter(codes), values)
    return reduced


def concatenate(parts: list[RaggedCodes]) -> RaggedCodes:
    """
    Join codes of one shape one after another.

    Parameters
    ----------
    parts : list of RaggedCodes
        At least one.

    Returns
    -------
    RaggedCodes
        With one batch axis.
    """
    return RaggedCodes(
        np.concatenate([part.row_size.ravel() for part in parts]),
        np.concatenate([part.atom for part in parts]),
        np.concatenate([part.value for part in parts]),
        parts[0].code_shape,
    )


@dataclass(frozen=True, eq=False)
class Comparison:
    """
    Numbers of misses, false alarms and wrong signs of recovered codes.

    Parameters
    ----------
    misses : ndarray of int64, shape (...)
        True non-zeros that were not found.
    false_alarms : ndarray of int64, shape (...)
        Non-zeros found where there are none.
    wrong_signs : ndarray of int64, shape (...)
        Non-zeros found with the other sign.
    """

    misses: NDArray
    false_alarms: NDArray
    wrong_signs: NDArray


def compare(truth: RaggedCodes, found: RaggedCodes) -> Comparison:
    """
    Count how recovered codes depart from the true ones, without expanding them.

    Parameters
    ----------
    truth, found : RaggedCodes
        Of one code shape and batch shape.

    Returns
    -------
    Comparison
        One count per code of the batch.
    """
    from dcsc.kernels import lists  # the compiler is slow to import, and few who read codes need it

    counts = np.empty((truth.row_size.size, 3), np.int64)
    lists.compare_lists(kernel_codes(truth), kernel_codes(found), counts)
    return Comparison(*counts.T.reshape(3, *truth.batch_shape))


def difference(truth: RaggedCodes, found: RaggedCodes) -> RaggedCodes:
    """
    Subtract true codes from recovered ones, without expanding them.

    Parameters
    ----------
    truth, found : RaggedCodes
        Of one code shape and batch shape.

    Returns
    -------
    RaggedCodes
        found - truth, in float64, without explicit zeros.
    """
    from dcsc.kernels import lists

    most = len(truth.atom) + len(found.atom) + 1
    out = Entries(np.empty(most, np.int32), np.empty(most), np.empty(truth.row_size.size, np.int64))
    written = lists.subtract_lists(kernel_codes(truth), kernel_codes(found), out)
    return RaggedCodes(out.size.reshape(truth.batch_shape), out.atom[:written], out.value[:written], truth.code_shape)


def take(codes: RaggedCodes, rows: NDArray) -> RaggedCodes:
    """
    Choose codes of a batch.

    Parameters
    ----------
    codes : RaggedCodes
        The codes.
    rows : ndarray of int, shape (row,)
        Which, counted over the flattened batch.

    Returns
    -------
    RaggedCodes
        With one batch axis.
    """
    sizes = codes.row_size.ravel()[rows]
    if len(sizes) == codes.row_size.size and np.array_equal(rows, np.arange(len(sizes))):
        return codes.reshape(sizes.shape)
    begins = np.cumsum(sizes) - sizes
    entries = np.repeat(codes.starts[rows] - begins, sizes) + np.arange(int(sizes.sum()))
    return codes._derived(sizes, entries)
