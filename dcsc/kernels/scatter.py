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

from dcsc.kernels.compile import compiled, inlined
from dcsc.kernels.sorting import most_of
from dcsc.kernels.tiles import add_run, quotient


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


@inlined
def add_runs_of_line(scratch, pattern, runs, atom, value, by_atom, first, last):
    """Add the runs of some non-zeros on a grid of one axis; atoms of a filter are neighbours in the list."""
    q, step = runs.positions[2], runs.steps[2]
    filter_index, begin = 0, 0
    for k in range(first, last):
        p = np.int64(atom[k])
        if p - begin >= q or p < begin:  # rarely, because a division costs as much as a run
            filter_index = quotient(p, q)
            begin = filter_index * q
        start = (p - begin) * step
        place = start & -runs.lanes
        source = filter_index * runs.n_lead * runs.width + runs.lanes - start + place
        weight = value[p if by_atom else k]
        for _ in range(runs.n_lead):
            add_run(scratch, place, pattern, source, weight, runs.n_vectors)
            source += runs.width
            place += runs.row


@inlined
def add_runs_of_grid(scratch, pattern, runs, atom, value, by_atom, first, last):
    """As `add_runs_of_line` on a grid of up to three axes."""
    (q0, q1, q2), (g0, g1), (n0, n1) = runs.positions, runs.points, runs.taps
    for k in range(first, last):
        p = np.int64(atom[k])
        p01 = quotient(p, q2)
        filters_p0 = quotient(p01, q1)
        filter_index = quotient(filters_p0, q0)
        s0, s1 = (filters_p0 - filter_index * q0) * runs.steps[0], (p01 - filters_p0 * q1) * runs.steps[1]
        start = (p - p01 * q2) * runs.steps[2]
        place = start & -runs.lanes
        source = filter_index * runs.n_lead * n0 * n1 * runs.width + runs.lanes - start + place
        weight = value[p if by_atom else k]
        for lead in range(runs.n_lead):
            for t0 in range(n0):
                x0 = s0 + t0
                x0 = x0 - g0 if x0 >= g0 else x0
                for t1 in range(n1):
                    x1 = s1 + t1
                    x1 = x1 - g1 if x1 >= g1 else x1
                    there = ((lead * g0 + x0) * g1 + x1) * runs.row + place
                    add_run(scratch, there, pattern, source, weight, runs.n_vectors)
                    source += runs.width


@inlined
def add_runs(scratch, pattern, runs, atom, value, by_atom, first, last):
    """
    Add the patterns of some non-zeros to rows that go on at their end, flat; values are given by atom, or as a list.

    The vectors of a row are always the same, and a pattern is read from where it fits them: a vector across two that
    have just been written would wait for both.
    """
    if runs.points[0] * runs.points[1] == 1:
        add_runs_of_line(scratch, pattern, runs, atom, value, by_atom, first, last)
    else:
        add_runs_of_grid(scratch, pattern, runs, atom, value, by_atom, first, last)


@compiled
def fold_runs(out, scratch, runs):
    """Copy rows into a target (row, entry), and fold back what patterns have beyond its period."""
    for i in range(len(out)):
        target, start = out[i], i * runs.row
        for t in range(runs.period):
            target[t] = scratch[start + t]
        for t in range(runs.reach - 1):
            target[t] += scratch[start + runs.period + t]


@compiled
def add_codes_by_runs(out, scratch, pattern, runs, codes):
    """As `add_code` of consecutive codes by `add_runs`, each to its own target (code, row, entry)."""
    atom, value, starts = codes
    for trial in range(len(out)):
        scratch[:] = 0
        add_runs(scratch, pattern, runs, atom, value, False, starts[trial], starts[trial + 1])
        fold_runs(out[trial], scratch, runs)


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
