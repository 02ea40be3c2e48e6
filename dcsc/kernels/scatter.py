"""
Add a pattern for every non-zero of a sparse code: its atom, or its row of the Gram kernel.

`dcsc.kernels.arguments.Patterns` tells the arrays: three spatial axes, padded with 1, and a target that is periodic
along them.

A position p places its pattern at p * step + offset. The last pattern axis may hold several
entries a grid point (all filters of a position), so that a whole row is one contiguous run.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.sorting import most_of
from dcsc.kernels.tiles import VECTOR_BYTES, add_run


@compiled
def coordinates(position, positions):
    """Coordinates of a position that is given by its number in C order."""
    row, p2 = divmod(position, positions[2])
    p0, p1 = divmod(row, positions[1])
    return p0, p1, p2


@compiled
def add_pattern(target, patterns, filter_index, p0, p1, p2, value):
    """Add one non-zero's pattern; runs that leave the period are split, not reduced modulo it."""
    pattern, layout = patterns.pattern, patterns.layout
    _, g0, g1, g2 = target.shape
    _, n_lead, n0, n1, n2 = pattern.shape
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
def add_code(target, patterns, atom, value):
    """Clear the target and add the patterns of one sparse code, in the order of its non-zeros."""
    target[:] = 0
    positions = patterns.layout[0]
    per_filter = positions[0] * positions[1] * positions[2]
    for k in range(len(atom)):
        filter_index, position = divmod(np.int64(atom[k]), per_filter)
        p0, p1, p2 = coordinates(position, positions)
        add_pattern(target, patterns, filter_index, p0, p1, p2, value[k])


@compiled
def add_code_by_runs(out, scratch, patterns, reach, atom, value):
    """
    As `add_code` for patterns whose last axis is filled up with zeros to whole vectors, `reach` entries of it used.

    Runs are added in rows that go on at their end, flat, of which what leaves the period is folded back at last.
    """
    pattern, layout = patterns.pattern, patterns.layout
    n_lead, g0, g1, g2 = out.shape
    _, _, n0, n1, width = pattern.shape
    row = g2 + width
    n_vectors = width * pattern.itemsize // VECTOR_BYTES
    q0, q1, q2 = layout[0]
    flat, per_filter = pattern.ravel(), q0 * q1 * q2
    scratch[: n_lead * g0 * g1 * row] = 0
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
                    add_run(scratch, ((lead * g0 + x0) * g1 + x1) * row + s2, flat, source, value[k], n_vectors)
                    source += width
    start = 0
    for lead in range(n_lead):
        for x0 in range(g0):
            for x1 in range(g1):
                target = out[lead, x0, x1]
                for t in range(g2):
                    target[t] = scratch[start + t]
                for t in range(reach - 1):
                    target[t] += scratch[start + g2 + t]
                start += row


@compiled
def add_codes_by_runs(out, scratch, patterns, reach, codes):
    """Add the patterns of consecutive codes, each to its own target (code, lead, g0, g1, g2)."""
    for trial in range(len(out)):
        here = slice(codes.starts[trial], codes.starts[trial + 1])
        add_code_by_runs(out[trial], scratch, patterns, reach, codes.atom[here], codes.value[here])


@compiled
def fullest_entries(out, target, patterns, codes):
    """Largest entry of the sum of the patterns of each of consecutive codes, of integers."""
    for code in range(len(out)):
        here = slice(codes.starts[code], codes.starts[code + 1])
        add_code(target, patterns, codes.atom[here], codes.value[here])
        out[code] = most_of(target.ravel())


@compiled
def add_transposed(flat, addition):
    """Add an array (filter, position) to one of shape (position, filter)."""
    for start in range(0, len(flat), 16):
        stop = min(start + 16, len(flat))
        for i in range(flat.shape[1]):
            for position in range(start, stop):
                flat[position, i] += addition[i, position]
