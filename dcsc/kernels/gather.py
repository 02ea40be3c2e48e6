"""
Correlations of a sparse code, a tile of the result at a time.

`scatter` adds each non-zero's whole stripe to an array in the second-level cache; here the non-zeros are
sorted along the last axis, those that reach a tile are one run of them, and their sum stays in registers
until it is written once. Patterns are as in `scatter`, their last axis with a tile of zeros at both ends.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.tiles import ROW_BYTES, multiply_row


@compiled
def sort_by_last_axis(atom, layout, counts, order, places):
    """
    Order non-zeros by their position along the last axis, those of one position by atom.

    Writes filter, row of (p0, p1) and position along the last axis of each of them to `places`, so that no division
    is needed any more.
    """
    q01, q2 = layout[0, 0] * layout[0, 1], layout[0, 2]
    per_filter, filter_index, begin = q01 * q2, np.int64(0), np.int64(0)
    counts[:] = 0
    for k in range(len(atom)):
        if atom[k] < begin or atom[k] >= begin + per_filter:
            filter_index = np.int64(atom[k]) // per_filter
            begin = filter_index * per_filter
        row, position = np.int64(0), atom[k] - begin
        if q01 > 1:
            row, position = divmod(position, q2)
        places[0, k], places[1, k], places[2, k] = filter_index, row, position
        counts[position + 1] += 1
    for position in range(q2):
        counts[position + 1] += counts[position]
    position = places[2]
    for k in range(len(atom)):
        order[counts[position[k]]] = k
        counts[position[k]] += 1
    for place in range(1, len(order)):  # atoms come in order as a rule, and then nothing moves
        k, before = order[place], place
        while before > 0 and (position[order[before - 1]], atom[order[before - 1]]) > (position[k], atom[k]):
            order[before] = order[before - 1]
            before -= 1
        order[before] = k


@compiled
def reach_row(x0, x1, pattern, places, value, layout, order, lanes, length, turn, begins, offsets, weights, n):
    """List the non-zeros that reach a row of the target, moved by whole turns of the last axis."""
    q0, q1, q2 = layout[0, 0], layout[0, 1], layout[0, 2]
    n0, n1, n2 = pattern.shape[2], pattern.shape[3], pattern.shape[4]
    size = layout[3, 2] * q2
    for k in order:
        begin = (places[2, k] + layout[2, 2]) * layout[3, 2] + turn * size
        if begin >= size or begin + length <= 0:
            continue
        d0, d1 = np.int64(0), np.int64(0)
        if q0 * q1 > 1:
            p0, p1 = divmod(places[1, k], q1)
            d0 = (x0 - p0 - layout[2, 0]) % q0
            d1 = (x1 - p1 - layout[2, 1]) % q1
        if d0 < n0 and d1 < n1:
            begins[n] = begin
            offsets[n] = ((places[0, k] * n0 + d0) * n1 + d1) * n2 + lanes - begin
            weights[n] = value[k]
            n += 1
    return n


@compiled
def list_row(room, x0, x1, pattern, value, layout):
    """List the sorted non-zeros that reach a row of the target, in the order of where they begin."""
    target, _, order, places, begins, offsets, weights, _ = room
    lanes = ROW_BYTES // target.itemsize
    length = pattern.shape[4] - 2 * lanes
    order = order[: len(value)]
    n = 0
    for turn in range(-1, 2):
        n = reach_row(x0, x1, pattern, places, value, layout, order, lanes, length, turn, begins, offsets, weights, n)
    return n


@compiled
def run_at(t, lanes, length, begins, first, last, n):
    """Move the run of listed non-zeros that reach a tile on to the tile at t."""
    while last < n and begins[last] < t + lanes:
        last += 1
    while first < last and begins[first] + length <= t:
        first += 1
    return first, last


@compiled
def gather_code(room, pattern, atom, value, layout):
    """Sum the patterns of one sparse code into the target, rows of (p0, p1) one after another, flat."""
    target, counts, order, places, begins, offsets, weights, numbers = room
    lanes = ROW_BYTES // target.itemsize
    length = pattern.shape[4] - 2 * lanes
    size = layout[0, 2] * layout[3, 2]
    flat = pattern.ravel()
    sort_by_last_axis(atom, layout, counts, order[: len(atom)], places)
    start = 0
    for x0 in range(layout[0, 0]):
        for x1 in range(layout[0, 1]):
            n = list_row(room, x0, x1, pattern, value, layout)
            first, last = 0, 0
            for t in range(0, size, lanes):
                first, last = run_at(t, lanes, length, begins, first, last, n)
                multiply_row(target, start + t, 0, weights, 0, 0, numbers[first:last], flat, t, offsets[first:last])
            start += size


@compiled
def gather_codes_by_filter(out, room, pattern, atom, value, starts, layout, n_filters):
    """Correlate consecutive codes; gives (code, filter, position)."""
    size = layout[0, 0] * layout[0, 1] * layout[0, 2]
    flat = room[0][: size * n_filters].reshape(size, n_filters)
    for trial in range(len(starts) - 1):
        first, last = starts[trial], starts[trial + 1]
        gather_code(room, pattern, atom[first:last], value[first:last], layout)
        for start in range(0, size, 16):  # tiles, so that both sides stay in the nearest cache
            stop = min(start + 16, size)
            for i in range(n_filters):
                for position in range(start, stop):
                    out[trial, i, position] = flat[position, i]
