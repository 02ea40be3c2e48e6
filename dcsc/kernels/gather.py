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
from dcsc.kernels.sorting import copy
from dcsc.kernels.tiles import ROW_BYTES, multiply_row


@compiled
def sort_by_last_axis(scratch, layout, atom):
    """
    Order non-zeros by their position along the last axis, those of one position by atom.

    Writes filter, row of (p0, p1) and position along the last axis of each of them to `places`, so that no division
    is needed any more.
    """
    counts, order, places = scratch.counts, scratch.order[: len(atom)], scratch.places
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
def list_line(scratch, patterns, value):
    """As `list_rows` for a target of one row, where nothing needs to be counted first."""
    layout, places = patterns.layout, scratch.places
    begins, offsets, weights = scratch.begins, scratch.offsets, scratch.weights
    size, n2 = layout[0, 2] * layout[3, 2], patterns.pattern.shape[4]
    lanes, n = ROW_BYTES // scratch.target.itemsize, 0
    length, order = n2 - 2 * lanes, scratch.order[: len(value)]
    for turn in range(-1, 2):
        for k in order:
            begin = (places[2, k] + layout[2, 2]) * layout[3, 2] + turn * size
            if begin >= size:
                break
            if begin + length > 0:
                begins[n], offsets[n], weights[n] = begin, places[0, k] * n2 + lanes - begin, value[k]
                n += 1
    copy(order, scratch.inner)
    scratch.firsts[0], scratch.firsts[1] = 0, n
    scratch.inner_firsts[0], scratch.inner_firsts[1] = 0, len(order)


@compiled
def list_rows(scratch, patterns, value):
    """
    List the sorted non-zeros that reach each row of the target, in the order of where they begin, and those in the row.

    Those that reach row r are begins[firsts[r] : firsts[r + 1]], ..., the ones in it inner[inner_firsts[r] : ...].
    """
    layout = patterns.layout
    q0, q1, size = layout[0, 0], layout[0, 1], layout[0, 2] * layout[3, 2]
    if q0 * q1 == 1:
        list_line(scratch, patterns, value)
        return
    target, _, order, places, firsts, begins, offsets, weights, _, inner, inner_firsts = scratch
    _, _, n0, n1, n2 = patterns.pattern.shape
    lanes = ROW_BYTES // target.itemsize
    length, order = n2 - 2 * lanes, order[: len(value)]
    firsts[:] = inner_firsts[:] = 0
    for filling in range(2):  # counts first, then writes
        for turn in range(-1, 2):  # of the last axis
            for k in order:
                begin = (places[2, k] + layout[2, 2]) * layout[3, 2] + turn * size
                if begin + length <= 0:
                    continue
                if begin >= size:
                    break
                p0, p1 = divmod(places[1, k], q1)
                offset = places[0, k] * n0 * n1 * n2 + lanes - begin
                for d0 in range(n0):
                    x0 = p0 + layout[2, 0] + d0
                    x0 += q0 if x0 < 0 else (-q0 if x0 >= q0 else 0)
                    for d1 in range(n1):
                        x1 = p1 + layout[2, 1] + d1
                        x1 += q1 if x1 < 0 else (-q1 if x1 >= q1 else 0)
                        row = x0 * q1 + x1
                        if filling:
                            n = firsts[row + 1]
                            begins[n], offsets[n], weights[n] = begin, offset, value[k]
                            firsts[row + 1] += 1
                        else:
                            firsts[row + 2] += 1
                        offset += n2
        for k in order:
            if filling:
                inner[inner_firsts[places[1, k] + 1]] = k
                inner_firsts[places[1, k] + 1] += 1
            else:
                inner_firsts[places[1, k] + 2] += 1
        if not filling:
            for row in range(q0 * q1):
                firsts[row + 1] += firsts[row]
                inner_firsts[row + 1] += inner_firsts[row]
            firsts[q0 * q1 + 1] += firsts[q0 * q1]
            inner_firsts[q0 * q1 + 1] += inner_firsts[q0 * q1]


@compiled
def place_in_row(inner, k, stop, places, n_filters):
    """Place in its row of the k-th non-zero of a list; far away when the list stops before it."""
    return places[2, inner[k]] * n_filters + places[0, inner[k]] if k < stop else np.int64(2**62)


@compiled
def run_at(t, lanes, length, begins, first, last, n):
    """Move the run of listed non-zeros that reach a tile on to the tile at t."""
    while last < n and begins[last] < t + lanes:
        last += 1
    while first < last and begins[first] + length <= t:
        first += 1
    return first, last


@compiled
def gather_code(scratch, patterns, atom, value):
    """Sum the patterns of one sparse code into the target, rows of (p0, p1) one after another, flat."""
    target, _, _, _, firsts, begins, offsets, weights, numbers, _, _ = scratch
    layout, flat = patterns.layout, patterns.pattern.ravel()
    lanes = ROW_BYTES // target.itemsize
    length, size, start = patterns.pattern.shape[4] - 2 * lanes, layout[0, 2] * layout[3, 2], 0
    sort_by_last_axis(scratch, layout, atom)
    list_rows(scratch, patterns, value)
    for row in range(layout[0, 0] * layout[0, 1]):
        first = last = firsts[row]
        for t in range(0, size, lanes):
            first, last = run_at(t, lanes, length, begins, first, last, firsts[row + 1])
            multiply_row(target, start + t, 0, weights, 0, 0, numbers[first:last], flat, t, offsets[first:last])
        start += size


@compiled
def by_position(scratch, patterns):
    """View the target of a code's correlations as (position, filter)."""
    layout = patterns.layout
    size, n_filters = layout[0, 0] * layout[0, 1] * layout[0, 2], layout[3, 2]
    return scratch.target[: size * n_filters].reshape(size, n_filters)


@compiled
def gather_codes_by_filter(out, scratch, patterns, codes):
    """Correlate consecutive codes; gives (code, filter, position)."""
    flat = by_position(scratch, patterns)
    size, n_filters = flat.shape
    for trial in range(len(codes.starts) - 1):
        here = slice(codes.starts[trial], codes.starts[trial + 1])
        gather_code(scratch, patterns, codes.atom[here], codes.value[here])
        for start in range(0, size, 16):  # tiles, so that both sides stay in the nearest cache
            stop = min(start + 16, size)
            for i in range(n_filters):
                for position in range(start, stop):
                    out[trial, i, position] = flat[position, i]
