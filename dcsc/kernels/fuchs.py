"""
What active atoms make of an inactive one, W_j = G_SS^{-1} G_Sj, and the basis pursuit certificates from it.

Active atoms are ordered along the longest axis, folded so that both ends of a period meet: then G_SS is a band,
however long the grid, and is factorised within its envelope. All filters of a position are solved for together; entries
far from the position decay, and are left out where they are negligible. What that and rounding may cost is part of a
margin.

=========  ==============  ====================================================================
array      axes            meaning
=========  ==============  ====================================================================
active     (4, row)        filter and position of the active atoms, in their order
first      (row,)          first column of each row of the envelope
begins     (row + 1,)      where the rows begin in `lower`
lower      (entry,)        a symmetric matrix or its Cholesky factor, row after row
columns    (row + 1,)      where the columns of the factor begin in `rows_of` and `values_of`
solution   (row, lane)     right sides, then solutions, one filter a lane
=========  ==============  ====================================================================
"""

# ruff: noqa: ANN001, ANN201, SIM110 - numba infers the types

from __future__ import annotations

import math

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.rademacher import CHERNOFF, GAUSSIAN, LONGEST, UNIT
from dcsc.kernels.sharpen import SHARE, choose, closed_terms, sharpen
from dcsc.kernels.tiles import ROW_BYTES, multiply_row

LANES = ROW_BYTES // 8
SHIFTS = (0.5, 0.2, 0.05, 1e-2, 1e-3, 1e-5, 1e-7)
"""Lower bounds of the smallest eigenvalue that are tried, before the smallest one that is admitted."""
INJECTIVE = 1e-10
"""Times 1 + the number of atoms: the smallest eigenvalue that is admitted."""
NEGLIGIBLE = 1e-14
"""Entries of a solution below it are left out once a whole band of them is."""
DROPPED = 1e-5
"""Sum of small entries that are left out of a list and taken from its margin instead."""


@compiled
def run_of(pattern, layout, n_filters, f, p0, p1, p2, q0, q1, q2):
    """Where the inner products of an atom with all filters at a position q begin in a flat pattern; -1 for none."""
    d0, d1, d2 = q0 - p0 - layout[2, 0], q1 - p1 - layout[2, 1], q2 - p2 - layout[2, 2]
    d0 += layout[0, 0] if d0 < 0 else (-layout[0, 0] if d0 >= layout[0, 0] else 0)
    d1 += layout[0, 1] if d1 < 0 else (-layout[0, 1] if d1 >= layout[0, 1] else 0)
    d2 += layout[0, 2] if d2 < 0 else (-layout[0, 2] if d2 >= layout[0, 2] else 0)
    if d0 >= pattern.shape[2] or d1 >= pattern.shape[3] or d2 * n_filters >= pattern.shape[4]:
        return np.int64(-1)
    return ((f * pattern.shape[2] + d0) * pattern.shape[3] + d1) * pattern.shape[4] + d2 * n_filters


@compiled
def order_active(atom, layout, axis):
    """Order active atoms along a folded axis; returns them, their folded places, and their order."""
    places, active, n = np.empty(len(atom), np.int64), np.empty((4, len(atom)), np.int64), layout[0]
    for k in range(len(atom)):
        f, position = divmod(np.int64(atom[k]), n[0] * n[1] * n[2])
        row, p2 = divmod(position, n[2])
        p0, p1 = divmod(row, n[1])
        active[0, k], active[1, k], active[2, k], active[3, k] = f, p0, p1, p2
        places[k] = min(active[1 + axis, k], n[axis] - active[1 + axis, k])
    order = np.argsort(places, kind="mergesort")
    return active[:, order], places[order], order


@compiled
def list_gram(active, folded, reach, pattern, layout, n_filters):
    """The Gram matrix of active atoms within its envelope: first columns, beginnings and entries."""
    n, flat = active.shape[1], pattern.ravel()
    first, begins = np.empty(n, np.int64), np.zeros(n + 1, np.int64)
    lower = np.empty(0)
    for filling in range(2):
        start = 0
        for i in range(n):
            while folded[start] < folded[i] - reach:
                start += 1
            first[i] = first[i] if filling else i
            for m in range(first[i] if filling else start, i + 1):
                here = run_of(
                    pattern, layout, n_filters, active[0, m], active[1, m], active[2, m], active[3, m],
                    active[1, i], active[2, i], active[3, i],
                )  # fmt: skip
                value = flat[here + active[0, i]] if here >= 0 else 0.0
                if filling:
                    lower[begins[i] + m - first[i]] = value
                elif value != 0:
                    first[i] = min(first[i], m)
                    break
            if not filling:
                begins[i + 1] = begins[i] + i + 1 - first[i]
        if not filling:
            lower = np.empty(begins[n])
    return first, begins, lower


@compiled
def factorise(matrix, first, begins, shift, lower):
    """Cholesky factor of a matrix less a multiple of the identity, within the envelope; returns whether one exists."""
    for i in range(len(first)):
        row = lower[begins[i] : begins[i + 1]]
        for m in range(first[i], i + 1):
            value = matrix[begins[i] + m - first[i]]
            start = max(first[i], first[m])
            other = lower[begins[m] + start - first[m] :]
            mine = row[start - first[i] :]
            for k in range(m - start):
                value -= mine[k] * other[k]
            if m == i:
                value -= shift
                if not value > 0:
                    return False
                row[m - first[i]] = math.sqrt(value)
            else:
                row[m - first[i]] = value / lower[begins[m + 1] - 1]
    return True


@compiled
def list_columns_of(first, begins, lower):
    """The columns of a factor below its diagonal."""
    n = len(first)
    columns = np.zeros(n + 1, np.int64)
    for i in range(n):
        for m in range(first[i], i):
            columns[m + 1] += 1
    for m in range(n):
        columns[m + 1] += columns[m]
    at, rows_of, values_of = columns[:n].copy(), np.empty(columns[n], np.int64), np.empty(columns[n])
    for i in range(n):
        for m in range(first[i], i):
            rows_of[at[m]], values_of[at[m]] = i, lower[begins[i] + m - first[i]]
            at[m] += 1
    return columns, rows_of, values_of


@compiled
def negligible_rows(solution, start, stop, width):
    """Whether all entries of some rows are negligible."""
    for k in range(start * width, stop * width):
        if abs(solution[k]) > NEGLIGIBLE:
            return False
    return True


@compiled
def solve_position(
    factor, active, span, pattern, layout, n_filters, q0, q1, q2, width, numbers, rows_at, sums, solution
):
    """
    Solve G_SS W = G_Sj for all filters j at a position; returns the rows beyond which solutions are negligible.

    Rows that the position reaches are span[0]..span[1].
    """
    first, lowest, upto, begins, lower, columns, rows_of, values_of = factor
    n, flat, lo = len(first), pattern.ravel(), span[0]
    end = n
    for i in range(lo, n):
        if i >= span[1] and negligible_rows(solution, max(lowest[i], lo), i, width):
            end = i
            break
        row = solution[i * width : (i + 1) * width]
        row[:] = 0.0
        if i < span[1]:
            here = run_of(
                pattern, layout, n_filters, active[0, i], active[1, i], active[2, i], active[3, i], q0, q1, q2
            )
            if here >= 0:
                row[:n_filters] = flat[here : here + n_filters]
        start, pivot = max(first[i], lo), 1 / lower[begins[i + 1] - 1]
        where = begins[i] + start - first[i]
        for lane in range(0, width, LANES):
            multiply_row(sums, lane, 0, lower, where, 0, numbers[: i - start], solution, lane, rows_at[start:i])
        for lane in range(width):
            row[lane] = (row[lane] - sums[lane]) * pivot
    begin = 0
    for i in range(end - 1, -1, -1):
        row, pivot = solution[i * width : (i + 1) * width], 1 / lower[begins[i + 1] - 1]
        start, stop = columns[i], columns[i + 1]
        while stop > start and rows_of[stop - 1] >= end:
            stop -= 1
        for lane in range(0, width, LANES):
            multiply_row(
                sums, lane, 0, values_of, start, 0, numbers[: stop - start], solution, lane,
                rows_at[rows_of[start:stop]],
            )  # fmt: skip
        for lane in range(width):
            row[lane] = ((row[lane] if i >= lo else 0.0) - sums[lane]) * pivot
        if i <= lo and i > 0 and negligible_rows(solution, i, max(i, min(upto[i], end)), width):
            begin = i
            break
    return begin, end


@compiled
def reaches_of(first):
    """The first column that a row or a later one has, and the row after the last one that has a column before it."""
    n = len(first)
    lowest, upto = first.copy(), np.zeros(n + 1, np.int64)
    for i in range(n - 2, -1, -1):
        lowest[i] = min(lowest[i], lowest[i + 1])
    for k in range(n):
        upto[first[k] + 1] = max(upto[first[k] + 1], k + 1)
    for i in range(n):
        upto[i + 1] = max(upto[i + 1], upto[i])
    return lowest, upto


@compiled
def smallest_eigenvalue(matrix, first, begins, lower):
    """
    A lower bound of the smallest eigenvalue, and the Cholesky factor of the matrix in `lower`; 0 where not injective.

    A factor of what is left after a shift proves the bound but for rounding, which stays below what is subtracted.
    """
    n, widest = len(first), 0
    for i in range(n):
        widest = max(widest, i + 1 - first[i])
    rounding = 4 * UNIT * (widest + 2) * (2 * widest + 1)
    found, admitted = 0.0, INJECTIVE * (1 + n)
    for shift in SHIFTS:
        if shift <= admitted:
            break
        if factorise(matrix, first, begins, shift, lower):
            found = shift
            break
    if found == 0 and factorise(matrix, first, begins, admitted, lower):
        found = admitted
    if found <= rounding or not factorise(matrix, first, begins, 0.0, lower):
        return 0.0, widest
    return found - rounding, widest


@compiled
def summarise(solution, begin, end, width, n_filters, group, sign, grouped, sums, squares, magnitudes):
    """
    Sums of magnitudes of solutions, and of what groups of rows with common signs make of them, with their squares.

    Solutions are replaced by those of groups, whose rows are returned.
    """
    magnitudes[:], sums[:], squares[:] = 0.0, 0.0, 0.0
    for k in range(begin, end):
        row = solution[k * width : (k + 1) * width]
        for lane in range(n_filters):
            magnitudes[lane] += abs(row[lane])
    if len(grouped):
        grouped[:] = 0.0
        for k in range(begin, end):
            row, target = solution[k * width : (k + 1) * width], grouped[group[k] * width : (group[k] + 1) * width]
            for lane in range(n_filters):
                target[lane] += sign[k] * row[lane]
        solution[: len(grouped)] = grouped
        begin, end = 0, len(grouped) // width
    for k in range(begin, end):
        row = solution[k * width : (k + 1) * width]
        for lane in range(n_filters):
            sums[lane] += abs(row[lane])
            squares[lane] += row[lane] * row[lane]
    return begin, end


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
    return np.flatnonzero(reached)


@compiled
def code_certificates(kind, pattern, atom, group, sign, n_groups, layout, reach, axis, n_filters, room, out):
    """
    Certificates of one support: smallest eigenvalue (a lower bound), largest |W_j|_1 (an upper one), and b(S).

    Signs are independent over groups of rows; without groups (none are given), over rows.
    """
    n = len(atom)
    out[0], out[1], out[2] = np.inf, 0.0, 0.0
    if n == 0:
        return
    active, folded, order = order_active(atom, layout, axis)
    first, begins, matrix = list_gram(active, folded, reach[axis], pattern, layout, n_filters)
    lower = np.empty(len(matrix))
    out[0], widest = smallest_eigenvalue(matrix, first, begins, lower)
    if out[0] == 0:
        out[1], out[2] = np.inf, 1.0
        return
    columns, rows_of, values_of = list_columns_of(first, begins, lower)
    lowest, upto = reaches_of(first)
    factor = (first, lowest, upto, begins, lower, columns, rows_of, values_of)
    width = -(-n_filters // LANES) * LANES
    solution, grouped = np.empty(max(n, n_groups) * width), np.empty(n_groups * width)
    rows_at, numbers = np.arange(n) * width, np.arange(n + 1)
    of_row, sign_of = np.zeros(n, np.int64), np.ones(n)
    if n_groups:
        of_row[:], sign_of[:] = group[order], sign[order]
    taken = np.sort(atom)
    row_sums, sums, squares, magnitudes = np.empty(width), np.empty(width), np.empty(width), np.empty(width)
    visited, size = positions_reached(active, layout, reach), layout[0, 0] * layout[0, 1] * layout[0, 2]
    listing, places = np.zeros((4, len(visited) * n_filters)), np.empty(len(visited) * n_filters, np.int64)
    m, largest, longest = 0, 0.0, 0.0
    for position in visited:
        begin, end = solve_at(
            position, factor, active, folded, reach[axis], axis, pattern, layout, n_filters, width, numbers, rows_at,
            row_sums, solution,
        )  # fmt: skip
        summarise(solution, begin, end, width, n_filters, of_row, sign_of, grouped, sums, squares, magnitudes)
        for f in range(n_filters):
            here = np.searchsorted(taken, f * size + position)
            if here < n and taken[here] == f * size + position:
                continue
            listing[0, m], listing[1, m], places[m] = squares[f], sums[f], position * n_filters + f
            largest, longest = max(largest, magnitudes[f]), max(longest, squares[f])
            m += 1
    band = 2.0 * widest + 1
    error = UNIT * (band * (3 * widest + 70) * math.sqrt(max(longest, 1.0)) + 64 * math.sqrt(band))
    guard = math.sqrt(n) * (error + 2 * NEGLIGIBLE * widest) / out[0] + 8 * UNIT * n * largest
    out[1] = largest + guard
    thresholds, terms, totals = np.ones((1, 1)), np.empty((1, m)), np.empty((1, 1))
    closed_terms(min(kind, GAUSSIAN), listing, 0, m, thresholds, 0.0, guard, 0.0, terms, totals)
    chosen, fresh = np.zeros(m, np.bool_), np.empty(m, np.bool_)
    while kind >= CHERNOFF and choose(terms[0], chosen, m, SHARE, fresh) > 0:
        members = np.flatnonzero(fresh)
        entries, starts, before, begin, end = np.empty(len(members) * max(n, n_groups)), [0], -1, 0, 0
        written = 0
        for member in members:
            position, f = divmod(places[member], n_filters)
            if position != before:
                begin, end = solve_at(
                    position, factor, active, folded, reach[axis], axis, pattern, layout, n_filters, width, numbers,
                    rows_at, row_sums, solution,
                )  # fmt: skip
                begin, end = summarise(
                    solution, begin, end, width, n_filters, of_row, sign_of, grouped, sums, squares, magnitudes
                )
                before = position
            here = entries[written : written + end - begin]
            for k in range(end - begin):
                here[k] = abs(solution[(begin + k) * width + f])
            here.sort()
            small, total = 0, 0.0
            while small < len(here) and total + here[small] <= DROPPED:
                total += here[small]
                small += 1
            for k in range(small, len(here)):
                entries[written] = here[k]
                written += 1
            starts.append(written)
        sharpen(
            kind, members, entries, np.array(starts), listing, 0, thresholds, 0, 0.0, guard + DROPPED, 0.0, terms, room
        )
    out[2] = min(1.0, terms.sum())


@compiled
def solve_at(
    position, factor, active, folded, reach, axis, pattern, layout, n_filters, width, numbers, rows_at, row_sums,
    solution,
):  # fmt: skip
    """As `solve_position`, for a position by number."""
    row, q2 = divmod(position, layout[0, 2])
    q0, q1 = divmod(row, layout[0, 1])
    place = q0 if axis == 0 else (q1 if axis == 1 else q2)
    place = min(place, layout[0, axis] - place)
    span = (np.searchsorted(folded, place - reach), np.searchsorted(folded, place + reach, side="right"))
    return solve_position(
        factor, active, span, pattern, layout, n_filters, q0, q1, q2, width, numbers, rows_at, row_sums, solution
    )


@compiled
def layer_certificates(kind, pattern, atom, starts, group, sign, n_groups, layout, reach, axis, n_filters, out):
    """Certificates (code, 3) of consecutive supports; groups are numbered within a code, none of them for 0."""
    room = np.empty((2, LONGEST))
    for code in range(len(starts) - 1):
        here = slice(starts[code], starts[code + 1])
        code_certificates(
            kind, pattern, atom[here], group[here], sign[here], n_groups[code], layout, reach, axis, n_filters, room,
            out[code],
        )  # fmt: skip
