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
def add_codes(out, pattern, atom, value, starts, layout):
    """Add the patterns of consecutive codes, each to its own target (code, lead, g0, g1, g2)."""
    for trial in range(len(starts) - 1):
        first, last = starts[trial], starts[trial + 1]
        add_code(out[trial], pattern, atom[first:last], value[first:last], layout)


@compiled
def add_transposed(flat, addition):
    """Add an array (filter, position) to one of shape (position, filter)."""
    for start in range(0, len(flat), 16):
        stop = min(start + 16, len(flat))
        for i in range(flat.shape[1]):
            for position in range(start, stop):
                flat[position, i] += addition[i, position]
