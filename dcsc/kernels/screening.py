"""
Where the basis pursuit certificates need not be solved for: cheap bounds of |W_j|_1, W_j = G_SS^{-1} G_Sj.

At most positions of inactive atoms a bound shows that no signs of the active ones matter (docs/theory.md).
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.sorting import entries_at, most_of, order_of, places_where

POWERS, LEFT, LARGEST = 60, 0.01, 1e3
"""Powers that `column_bounds` adds up at most; what the next one may make; and what it may not, as it grows."""
ALL, NOT_BELOW_ONE, ANY_NOT_BELOW_ONE = range(3)
"""Which of the |W_j|_1 are wanted: all; those that are not below 1; or only whether there is one of them."""


@compiled
def place_of(active, k):
    """Filter and position of an active atom."""
    return active[0, k], active[1, k], active[2, k], active[3, k]


@compiled
def positions_reached(active, layout, reach):
    """Positions with an atom that meets an active one."""
    n0, n1, n2 = layout[0, 0], layout[0, 1], layout[0, 2]
    reached = np.zeros(n0 * n1 * n2, np.bool_)
    for k in range(active.shape[1]):
        for d0 in range(-reach[0], reach[0] + 1):
            for d1 in range(-reach[1], reach[1] + 1):
                row = ((active[1, k] + d0) % n0) * n1 + (active[2, k] + d1) % n1
                for d2 in range(-reach[2], reach[2] + 1):
                    reached[row * n2 + (active[3, k] + d2) % n2] = True
    return places_where(reached)


@compiled
def magnitudes_times(matrix, first, begins, vector, product):
    """The magnitudes of a symmetric matrix less the identity, given within its envelope, times a vector."""
    product[:] = 0.0
    for i in range(len(first)):
        row, start, n = matrix[begins[i] : begins[i + 1]], first[i], i - first[i]
        here, there, mine = vector[start:i], product[start:i], vector[i]
        for k in range(n):
            there[k] += abs(row[k]) * mine
        one, two, three, four = 0.0, 0.0, 0.0, 0.0  # no sum waits for another one
        for k in range(n // 4):
            one += abs(row[4 * k]) * here[4 * k]
            two += abs(row[4 * k + 1]) * here[4 * k + 1]
            three += abs(row[4 * k + 2]) * here[4 * k + 2]
            four += abs(row[4 * k + 3]) * here[4 * k + 3]
        for k in range(n - n % 4, n):
            one += abs(row[k]) * here[k]
        product[i] += (one + two) + (three + four) + abs(1 - row[n]) * mine


@compiled
def column_bounds(matrix, first, begins):
    """
    Upper bounds of the |G_SS^{-1} e_i|_1 of all rows; returns whether they are, else they are 1.

    With F = |G_SS - I|, c >= 0 and c - F c >= 1 in every entry, |G_SS^{-1}| is at most (I - F)^{-1}, also in every
    entry, and its columns add up to c at most. The sum of all F^k 1 before a power that makes less than 1 of everything
    is such a c, but for a factor.
    """
    n = len(first)
    total, power, following = np.empty(n), np.empty(n), np.empty(n)
    for i in range(n):
        total[i] = power[i] = 1.0
    for _ in range(POWERS):
        magnitudes_times(matrix, first, begins, power, following)
        most = most_of(following)
        if most <= LEFT:
            for i in range(n):
                total[i] *= (1 + 1e-9) / (1 - most)
            return total, True
        if not most < LARGEST:
            break
        for i in range(n):
            total[i] += following[i]
        power, following = following, power
    total[:] = 1.0
    return total, False


@compiled
def add_magnitudes(target, run, factor):
    """Add the magnitudes of a run times a factor."""
    for k in range(len(run)):
        target[k] += abs(run[k]) * factor


@compiled
def position_bounds(active, bounds, patterns):
    """Upper bounds of |W_j|_1, the largest one over the inactive atoms of each position, from those of columns."""
    layout, n_filters, flat = patterns.layout, patterns.layout[3, 2], patterns.pattern.ravel()
    n0, n1, n2 = layout[0, 0], layout[0, 1], layout[0, 2]
    sums, most = np.zeros(n0 * n1 * n2 * n_filters), np.zeros(n0 * n1 * n2)
    s0, s1, s2 = patterns.pattern.shape[2], patterns.pattern.shape[3], patterns.pattern.shape[4]
    for k in range(active.shape[1]):
        f, p0, p1, p2 = place_of(active, k)
        q2 = (p2 + layout[2, 2]) % n2
        upto = min(s2, (n2 - q2) * n_filters)
        for d0 in range(s0):
            q0 = (p0 + layout[2, 0] + d0) % n0
            for d1 in range(s1):
                q1 = (p1 + layout[2, 1] + d1) % n1
                here, there = ((f * s0 + d0) * s1 + d1) * s2, (q0 * n1 + q1) * n2 * n_filters
                add_magnitudes(sums[there + q2 * n_filters :], flat[here : here + upto], bounds[k])
                add_magnitudes(sums[there:], flat[here + upto : here + s2], bounds[k])
    for k in range(active.shape[1]):
        sums[((active[1, k] * n1 + active[2, k]) * n2 + active[3, k]) * n_filters + active[0, k]] = 0.0
    for position in range(len(most)):
        for f in range(n_filters):
            most[position] = max(most[position], sums[position * n_filters + f])
    return most


@compiled
def positions_wanted(wanted, matrix, first, begins, active, reach, patterns, limit):
    """
    List positions with an inactive atom whose |W_j|_1 may be wanted, those with the largest bounds first if one counts.

    Returns what the others are at most, too: it is below `limit`.
    """
    if wanted == ALL:
        return positions_reached(active, patterns.layout, reach), 0.0
    bounds, is_bounded = column_bounds(matrix, first, begins)
    if not is_bounded and wanted == NOT_BELOW_ONE:
        return positions_reached(active, patterns.layout, reach), 0.0
    most, below = position_bounds(active, bounds, patterns), 0.0
    found, count = np.empty(len(most), np.int64), 0
    for position in range(len(most)):
        bound = most[position] * (1 + 1e-9)
        if bound >= limit or (bound > 0 and not is_bounded):
            found[count] = position
            count += 1
        else:
            below = max(below, bound)
    found = found[:count]
    if wanted == ANY_NOT_BELOW_ONE:
        falling = np.empty(count)
        for k in range(count):
            falling[k] = -most[found[k]]
        found = entries_at(found, order_of(falling, np.bool_(True)))
    return found, below
