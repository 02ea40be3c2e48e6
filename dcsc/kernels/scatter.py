"""
Add a pattern for every non-zero of a sparse code: its atom, or its row of the Gram kernel.

========  =============================  ==========================================================
array     axes                           meaning
========  =============================  ==========================================================
pattern   (filter, lead, a0, a1, a2)     what one non-zero adds; three spatial axes, padded with 1
target    (lead, g0, g1, g2)             where it is added, periodic along the last three axes
layout    (4, 3)                         an axis each: positions, step and first offset of a
                                         pattern in the target, and entries a target point
========  =============================  ==========================================================

A position p places its pattern at p * step + offset. The last pattern axis may hold several
entries a grid point (all filters of a position), so that a whole row is one contiguous run.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.tiles import VECTOR_BYTES, add_run


@compiled
def add_pattern(target, pattern, filter_index, p0, p1, p2, value, layout):
    """Add one non-zero's pattern; runs that leave the period are split, not reduced modulo it."""
    g1, g2 = target.shape[2], target.shape[3]
    g0 = target.shape[1]
    n_lead, n0, n1, n2 = pattern.shape[1], pattern.shape[2], pattern.shape[3], pattern.shape[4]
    s0 = p0 * layout[1, 0] + layout[2, 0]
    s1 = p1 * layout[1, 1] + layout[2, 1]
    s2 = (p2 * layout[1, 2] + layout[2, 2]) * layout[3, 2]
    s0 = s0 + g0 if s0 < 0 else s0
    s1 = s1 + g1 if s1 < 0 else s1
    s2 = s2 + g2 if s2 < 0 else s2
    head = min(n2, g2 - s2)
    for lead in range(n_lead):
        for t0 in range(n0):
            x0 = s0 + t0
            x0 = x0 - g0 if x0 >= g0 else x0
            for t1 in range(n1):
                x1 = s1 + t1
                x1 = x1 - g1 if x1 >= g1 else x1
                source = pattern[filter_index, lead, t0, t1]
                row = target[lead, x0, x1]
                run = row[s2 : s2 + head]
                for t2 in range(head):
                    run[t2] += value * source[t2]
                rest = source[head:n2]
                for t2 in range(n2 - head):
                    row[t2] += value * rest[t2]


@compiled
def add_code(target, pattern, atom, value, layout):
    """Clear the target and add the patterns of one sparse code, in the order of its non-zeros."""
    target[:] = 0
    q1, q2 = layout[0, 1], layout[0, 2]
    per_filter = layout[0, 0] * q1 * q2
    for k in range(len(atom)):
        filter_index, position = divmod(np.int64(atom[k]), per_filter)
        p01, p2 = divmod(position, q2)
        p0, p1 = divmod(p01, q1)
        add_pattern(target, pattern, filter_index, p0, p1, p2, value[k], layout)


@compiled
def add_code_by_runs(out, room, pattern, reach, atom, value, layout):
    """
    As `add_code` for patterns whose last axis is filled up with zeros to whole vectors, `reach` entries of it used.

    Runs are added in rows with room at their end, flat, of which what leaves the period is folded back at last.
    """
    n_lead, g0, g1, g2 = out.shape
    n0, n1, width = pattern.shape[2], pattern.shape[3], pattern.shape[4]
    row = g2 + width
    n_vectors = width * pattern.itemsize // VECTOR_BYTES
    q0, q1, q2 = layout[0]
    flat, per_filter = pattern.ravel(), q0 * q1 * q2
    room[: n_lead * g0 * g1 * row] = 0
    filter_index, begin, p0, p1 = 0, 0, 0, 0
    for k in range(len(atom)):
        if atom[k] < begin or atom[k] >= begin + per_filter:  # rarely, because a division costs as much as a run
            filter_index = np.int64(atom[k]) // per_filter
            begin = filter_index * per_filter
        p2 = np.int64(atom[k]) - begin
        if q0 * q1 > 1:
            p01, p2 = divmod(p2, q2)
            p0, p1 = divmod(p01, q1)
        source = filter_index * n_lead * n0 * n1 * width
        s2 = p2 * layout[1, 2]
        for lead in range(n_lead):
            for t0 in range(n0):
                x0 = p0 * layout[1, 0] + t0
                x0 = x0 - g0 if x0 >= g0 else x0
                for t1 in range(n1):
                    x1 = p1 * layout[1, 1] + t1
                    x1 = x1 - g1 if x1 >= g1 else x1
                    add_run(room, ((lead * g0 + x0) * g1 + x1) * row + s2, flat, source, value[k], n_vectors)
                    source += width
    start = 0
    for lead in range(n_lead):
        for x0 in range(g0):
            for x1 in range(g1):
                target = out[lead, x0, x1]
                for t in range(g2):
                    target[t] = room[start + t]
                for t in range(reach - 1):
                    target[t] += room[start + g2 + t]
                start += row


@compiled
def add_codes_by_runs(out, room, pattern, reach, atom, value, starts, layout):
    """Add the patterns of consecutive codes, each to its own target (code, lead, g0, g1, g2)."""
    for trial in range(len(starts) - 1):
        first, last = starts[trial], starts[trial + 1]
        add_code_by_runs(out[trial], room, pattern, reach, atom[first:last], value[first:last], layout)


@compiled
def fullest_entries(out, target, pattern, atom, starts, layout):
    """Largest entry of the sum of the patterns of each of consecutive codes, of integers."""
    ones = np.ones(1, pattern.dtype)
    flat = target.ravel()
    for code in range(len(starts) - 1):
        first, last = starts[code], starts[code + 1]
        add_code(target, pattern, atom[first:last], np.repeat(ones, last - first), layout)
        most = flat[0]
        for k in range(len(flat)):
            most = max(most, flat[k])
        out[code] = most


@compiled
def add_transposed(flat, addition):
    """Add an array (filter, position) to one of shape (position, filter)."""
    for start in range(0, len(flat), 16):
        stop = min(start + 16, len(flat))
        for i in range(flat.shape[1]):
            for position in range(start, stop):
                flat[position, i] += addition[i, position]
