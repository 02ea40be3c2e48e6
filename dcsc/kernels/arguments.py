"""What the kernels take together, as tuples with names."""

from __future__ import annotations

from typing import NamedTuple

from numpy.typing import NDArray


def read_only(array: NDArray) -> NDArray:
    """
    Show an array as one that cannot be written, the one type for large arrays that come from elsewhere.

    A kernel is compiled once more for the other type. Small arrays are copied, which makes them writable.

    Parameters
    ----------
    array : ndarray
        Any array.

    Returns
    -------
    ndarray
        A view.
    """
    view = array.view()
    view.flags.writeable = False
    return view


class Patterns(NamedTuple):
    """
    What the non-zeros of a code add, in the layout of `dcsc.kernels.scatter`.

    Parameters
    ----------
    pattern : ndarray, shape (filter, lead, a0, a1, a2)
        What a non-zero of each filter adds.
    layout : ndarray of int64, shape (4, 3)
        Positions, steps, first offsets and entries a grid point, an axis each; rows of the Gram kernel have
        all filters of a position in one grid point.
    target_shape : tuple of int
        Shape (lead, g0, g1, g2) of what they are added to.
    """

    pattern: NDArray
    layout: NDArray
    target_shape: tuple[int, ...]


class Runs(NamedTuple):
    """
    How `dcsc.kernels.scatter.add_runs` finds the runs of patterns, and where they go.

    Parameters
    ----------
    n_lead : int
        Parts of a pattern that are added to parts of the target, such as channels.
    positions, steps : tuple of int
        Positions of a code, and steps, along three axes.
    points, taps : tuple of int
        Points of the target, and those that a pattern spans, along all axes but the last one.
    period : int
        Points of the target along the last axis.
    reach : int
        Entries of a run.
    width : int
        Entries from one run to the next: a vector of zeros, the run, and zeros.
    row : int
        Entries from one row of sums to the next, whole vectors.
    lanes, n_vectors : int
        Entries of a vector, and vectors that a run may touch.
    """

    n_lead: int
    positions: tuple[int, ...]
    steps: tuple[int, ...]
    points: tuple[int, ...]
    taps: tuple[int, ...]
    period: int
    reach: int
    width: int
    row: int
    lanes: int
    n_vectors: int

    @property
    def n_rows(self) -> int:
        """Rows of the target."""
        return self.n_lead * self.points[0] * self.points[1]


class Taps(NamedTuple):
    """
    The taps of filters that are not 0, for synthesis from sparse filters.

    Parameters
    ----------
    start : ndarray of int64, shape (filter + 1,)
        Where the taps of each filter begin, and where the last ones end.
    place : ndarray of int64, shape (tap, 4)
        Channel and three coordinates.
    value : ndarray, shape (tap,)
        Their values.
    offset : ndarray of int64, shape (tap,)
        Their places, counted in C order of (channel, *grid).
    reach : ndarray of int64, shape (3,)
        Points that the longest filter spans along each axis.
    geometry : ndarray of int64, shape (3, 3)
        Positions of a code, steps and grid, an axis each.
    """

    start: NDArray
    place: NDArray
    value: NDArray
    offset: NDArray
    reach: NDArray
    geometry: NDArray


class Columns(NamedTuple):
    """
    The Gram matrix of a working set by columns, as `dcsc.kernels.gram_columns` multiplies it.

    Parameters
    ----------
    firsts : ndarray of int64, shape (atom + 1,)
        Where the runs of each column begin, and where the last ones end.
    runs : ndarray of int64, shape (run, 3)
        Consecutive rows that a column reaches: the first, the one after the last, and where their values begin.
    values : ndarray, shape (entry,)
        Entries of one column after another, 0 on the diagonal; none where only rows can be multiplied.
    own : ndarray of int64, shape (atom,)
        Where the diagonal's entries are.
    alike : ndarray of int64, shape (atom,)
        Columns from each one on that reach the same rows, as far as they are counted.
    """

    firsts: NDArray
    runs: NDArray
    values: NDArray
    own: NDArray
    alike: NDArray


class Codes(NamedTuple):
    """
    Consecutive sparse codes.

    Parameters
    ----------
    atom : ndarray of int32, shape (non-zero,)
        Atoms of all codes, ascending in each.
    value : ndarray, shape (non-zero,)
        Their values.
    starts : ndarray of int64, shape (code + 1,)
        Where each code starts, and where the last one ends.
    """

    atom: NDArray
    value: NDArray
    starts: NDArray

    def part(self, first: int, last: int) -> Codes:
        """
        Take some of the codes.

        Parameters
        ----------
        first, last : int
            The first one, and the one after the last.

        Returns
        -------
        Codes
            On the same arrays of atoms and values.
        """
        return self._replace(starts=self.starts[first : last + 1])


class Scratch(NamedTuple):
    """
    What `dcsc.kernels.gather` writes over for each code.

    Parameters
    ----------
    target : ndarray, shape (entry,)
        The correlations, and two tiles more.
    counts : ndarray of int64, shape (position along the last axis + 1,)
        Where the non-zeros of each position end in `order`.
    order : ndarray of int64, shape (non-zero,)
        The non-zeros, sorted along the last axis.
    places : ndarray of int64, shape (3, non-zero)
        Filter, row of (p0, p1) and position along the last axis of each non-zero.
    firsts : ndarray of int64, shape (row + 2,)
        Where the list of what reaches each row starts.
    begins, offsets, weights : ndarray, shape (listed,)
        For each listed non-zero where its pattern begins in the row, where it lies among all patterns, and its value.
    numbers : ndarray of int64, shape (listed,)
        0, 1, 2, ...
    inner : ndarray of int64, shape (non-zero,)
        The non-zeros in each row.
    inner_firsts : ndarray of int64, shape (row + 2,)
        Where those of each row start.
    """

    target: NDArray
    counts: NDArray
    order: NDArray
    places: NDArray
    firsts: NDArray
    begins: NDArray
    offsets: NDArray
    weights: NDArray
    numbers: NDArray
    inner: NDArray
    inner_firsts: NDArray


class Sums(NamedTuple):
    """
    What the interference at some atoms sums up to.

    Parameters
    ----------
    bound : ndarray, shape (atom,)
        Sum of magnitudes, its largest value.
    variance : ndarray, shape (atom,)
        Sum of squares.
    """

    bound: NDArray
    variance: NDArray


class Convolution(NamedTuple):
    """
    A correlation with stride 1, in the layout of `dcsc.kernels.dense`.

    Parameters
    ----------
    weights : ndarray
        The filters, packed, flat.
    weight_offsets : ndarray of int64, shape (term,)
        Where each term's weights lie.
    offsets : ndarray of int64, shape (term,)
        Where each term's source lies from a position.
    rows : ndarray of int64, shape (row,)
        Where each run of positions starts in the padded source.
    run : int
        Positions along the last axis.
    in_lanes : bool
        Whether the lanes of a tile are filters, or positions.
    """

    weights: NDArray
    weight_offsets: NDArray
    offsets: NDArray
    rows: NDArray
    run: int
    in_lanes: bool


class Rule(NamedTuple):
    """
    A non-linearity with what it needs of each of consecutive trials.

    Parameters
    ----------
    number : int
        One of those of `dcsc.kernels.selection`.
    thresholds : ndarray, shape (trial,)
        beta; 0 for top-k.
    lowest : ndarray, shape (trial,)
        The number after each threshold, so that to reach it is to exceed the threshold.
    sizes : ndarray of int64, shape (trial,)
        k of top-k.
    """

    number: int
    thresholds: NDArray
    lowest: NDArray
    sizes: NDArray

    def of_trials(self, trials: slice | NDArray) -> Rule:
        """
        Apply the rule to some trials alone.

        Parameters
        ----------
        trials : slice or ndarray of int
            Which.

        Returns
        -------
        Rule
            For consecutive ones on the same arrays.
        """
        return Rule(self.number, self.thresholds[trials], self.lowest[trials], self.sizes[trials])


class Entries(NamedTuple):
    """
    Where codes are written one after another; what does not fit is only counted.

    Parameters
    ----------
    atom : ndarray of int32, shape (entry,)
        Atoms.
    value : ndarray, shape (entry,)
        Their values.
    size : ndarray of int64, shape (code,)
        Entries of each code.
    """

    atom: NDArray
    value: NDArray
    size: NDArray


class WindowLayout(NamedTuple):
    """
    A bank of filters as `dcsc.kernels.lasso` takes it.

    Parameters
    ----------
    patterns : Patterns
        The filters.
    by_tap : ndarray, shape (channel * tap, filter)
        The filters, one a column.
    gram : ndarray, shape (filter, filter, l0, l1, l2)
        Inner products by lag.
    sizes : ndarray of int64, shape (4, 3)
        Positions, steps, taps and lags, an axis each.
    cell : ndarray of int64, shape (3,)
        Positions of one cell, in which a few atoms are chosen at a time.
    """

    patterns: Patterns
    by_tap: NDArray
    gram: NDArray
    sizes: NDArray
    cell: NDArray
