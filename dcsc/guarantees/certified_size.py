"""The largest support size certified from draws: by a confidence limit at every tested size, without interpolation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc import statistics
from dcsc.arrays import real_array


@dataclass(frozen=True)
class CertifiedSize:
    """
    The largest size at which a failure rate was shown to be small enough.

    Parameters
    ----------
    size : int
        That size, 0 when the smallest one was not certified.
    next_size : int or None
        The next size, which was looked at and is not certified; None when the largest one offered is.
    limit : float
        Upper confidence limit of the failure rate at `size`, 0 for no size.
    draws : int
        Draws behind it.
    """

    size: int
    next_size: int | None
    limit: float
    draws: int


def failure_limit(failures: ArrayLike, confidence: float, largest: float = 1.0) -> float:
    """
    Upper confidence limit of a failure rate.

    Parameters
    ----------
    failures : array_like of bool or float, shape (draw,)
        Whether each draw fails, or its part in a mean that bounds the failure rate, from 0 to `largest`.
    confidence : float
        Level of the limit.
    largest : float
        The largest value that such a part can have, whatever the draw.

    Returns
    -------
    float
        After Clopper and Pearson for counts. For bounds the smaller of two, each at half the error: by
        `dcsc.statistics.mean_upper_limit`, and by the count of those that are not 0, as if each were the largest
        (docs/theory.md, "Certified sizes"); 1 without draws.

    Raises
    ------
    UserError
        When a part is no number from 0 to `largest`.
    """
    failures = real_array(failures, "failures")
    if failures.dtype == bool:
        return 1 - float(statistics.proportion_lower_limit(np.count_nonzero(~failures), failures.size, confidence))
    each = (1 + confidence) / 2
    return largest * min(statistics.mean_upper_limit(failures / largest, each), failure_limit(failures > 0, each))


@dataclass(frozen=True, eq=False)
class Failures:
    """
    The failures of draws of one size, or values whose mean bounds the failure rate.

    Parameters
    ----------
    values : ndarray of bool or float, shape (draw,)
        As for `failure_limit`.
    largest : float
        The largest value that there can be, whatever the draw.
    excess : ndarray, shape (more draws,), optional
        What a cheaper bound of each draw, of these or more, has above the ceiling. Then `values` are those bounds or
        sharper ones, up to the ceiling.
    ceiling : float
        See there.
    """

    values: NDArray
    largest: float = 1.0
    excess: NDArray | None = None
    ceiling: float = math.inf

    @property
    def draws(self) -> int:
        """How many draws were looked at."""
        return (self.values if self.excess is None else self.excess).size

    @property
    def mean(self) -> float:
        """The mean that is estimated."""
        of_values = float(np.mean(self.values))
        return of_values if self.excess is None else of_values + float(np.mean(self.excess))

    def repeated(self, n_values: int, n_excess: int) -> Failures:
        """
        Take the same draws again and again, for what a limit would be if more draws were like these.

        Parameters
        ----------
        n_values, n_excess : int
            How many entries `values` and `excess` are to have.

        Returns
        -------
        Failures
            No longer of independent draws.
        """
        excess = None if self.excess is None else np.resize(self.excess, n_excess)
        return replace(self, values=np.resize(self.values, n_values), excess=excess)

    def limit(self, confidence: float) -> float:
        """
        Bound the failure rate.

        Parameters
        ----------
        confidence : float
            Level of the limit.

        Returns
        -------
        float
            Of `failure_limit`; with a ceiling the sum of two limits, each at half the error: of the mean up to the
            ceiling, and of the mean excess (docs/theory.md, "Certified sizes").
        """
        if self.excess is None:
            return failure_limit(self.values, confidence, self.largest)
        each = (1 + confidence) / 2
        below = self.ceiling * statistics.mean_upper_limit(self.values / self.ceiling, each)
        return below + failure_limit(self.excess, each, self.largest - self.ceiling)


def certify_upwards(
    failures: Callable[[int], Failures],
    sizes: Sequence[int],
    delta: float,
    confidence: float = 0.95,
) -> CertifiedSize:
    """
    Find the largest certified size by testing sizes in ascending order until one fails.

    The sizes are tested in a fixed order, and testing ends with the first one that fails. Failure rates grow with the
    size, so the result is wrong only if the first size with too large a rate passes its own test. Hence the confidence
    level holds for all sizes together.

    Parameters
    ----------
    failures : callable
        Takes a size, gives the failures of independent draws of it.
    sizes : sequence of int
        In ascending order.
    delta : float
        Admitted failure rate.
    confidence : float
        The probability that the certified size is right is at least this.

    Returns
    -------
    CertifiedSize
        The last size that passes.
    """
    certified = CertifiedSize(0, None, 0.0, 0)
    for size in sizes:
        drawn = failures(size)
        limit = drawn.limit(confidence)
        if limit > delta:
            return replace(certified, next_size=size)
        certified = CertifiedSize(size, None, limit, drawn.draws)
    return certified


def largest_certified_size(
    failures: Callable[[int, str], Failures],
    sizes: Sequence[int],
    delta: float,
    confidence: float = 0.95,
) -> CertifiedSize:
    """
    Find the largest size with a small failure rate; pilot draws choose the size to begin with.

    A bisection over pilot draws estimates the size at which the confidence limit reaches delta. From a little below
    it, sizes are certified one after another by independent draws. If not even the first of these passes, a further
    attempt begins lower, with half of the remaining error probability.

    Parameters
    ----------
    failures : callable
        Takes a size and "pilot" or "draws", gives the failures of independent draws of it; those of a pilot are as many
        as those that certify, but need not be draws of their own (see `Failures.repeated`).
    sizes, delta, confidence
        As for `certify_upwards`.

    Returns
    -------
    CertifiedSize
        A size that was computed, with its limit.
    """
    step, error, end = 1, 1 - confidence, len(sizes)
    low, high = 0, len(sizes)
    while low < high:
        middle = (low + high) // 2
        if failures(sizes[middle], "pilot").limit(1 - error / 2) <= delta:
            low = middle + 1
        else:
            high = middle
    while end > 0:
        start = max(0, min(low, end) - 1 - step)
        error /= 2
        certified = certify_upwards(lambda size: failures(size, "draws"), sizes[start:end], delta, 1 - error)
        if certified.size:
            return certified if certified.next_size or end == len(sizes) else replace(certified, next_size=sizes[end])
        end, step = start, 4 * step
    return CertifiedSize(0, sizes[0] if sizes else None, 0.0, 0)


def candidate_sizes(largest: int, ratio: float = 1.02) -> list[int]:
    """
    List sizes that grow by a constant ratio.

    Parameters
    ----------
    largest : int
        The last one.
    ratio : float
        Of neighbours, before they are rounded to whole numbers.

    Returns
    -------
    list of int
        From 1 to the largest, each once.
    """
    count = 1 + int(np.ceil(np.log(max(largest, 2)) / np.log(ratio)))
    return sorted({int(size) for size in np.rint(np.geomspace(1, largest, count))})
