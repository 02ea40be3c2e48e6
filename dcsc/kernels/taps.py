"""Where the taps of sparse filters lie on a periodic grid of three axes, padded with 1."""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled


@compiled
def points_for(taps):
    """Make the array that `points_of_atom` writes to."""
    most = 0
    for i in range(len(taps.start) - 1):
        most = max(most, taps.start[i + 1] - taps.start[i])
    return np.empty(most, np.uint64)  # Without a sign, no index is tested for counting from the end.


@compiled
def points_of_atom(filter_index, s0, s1, s2, taps, points):
    """List the points, in C order of (channel, *grid), of the taps of an atom that begins at s; gives their number."""
    first, last = taps.start[filter_index], taps.start[filter_index + 1]
    g0, g1, g2 = taps.geometry[2]
    begin = (s0 * g1 + s1) * g2 + s2
    if s0 + taps.reach[0] <= g0 and s1 + taps.reach[1] <= g1 and s2 + taps.reach[2] <= g2:
        for tap in range(first, last):
            points[tap - first] = begin + taps.offset[tap]
        return last - first
    for tap in range(first, last):
        x0, x1, x2 = s0 + taps.place[tap, 1], s1 + taps.place[tap, 2], s2 + taps.place[tap, 3]
        x0 = x0 - g0 if x0 >= g0 else x0
        x1 = x1 - g1 if x1 >= g1 else x1
        x2 = x2 - g2 if x2 >= g2 else x2
        points[tap - first] = ((taps.place[tap, 0] * g0 + x0) * g1 + x1) * g2 + x2
    return last - first
