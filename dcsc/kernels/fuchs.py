"""
What active atoms make of an inactive one, W_j = G_SS^{-1} G_Sj, and the basis pursuit certificates from it.

Active atoms are ordered along the longest axis, from a cut of the period on. Those beside the cut come last, as a
border that couples both ends: without them G_SS is a band, however long the grid, and it is factorised within its
envelope. All filters of a position are solved for together; entries far from the position decay, and are left out where
they are negligible, and so is the border of most positions. What that and rounding may cost is part of a margin.

=========  ==============  ====================================================================
array      axes            meaning
=========  ==============  ====================================================================
active     (4, row)        filter and position of the active atoms, in their order
solution   (row, lane)     right sides, then solutions, one filter a lane
=========  ==============  ====================================================================
"""

# ruff: noqa: ANN001, ANN201, SIM110 - numba infers the types

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dcsc.kernels.compile import compiled, compiled_by_itself
from dcsc.kernels.independence import INJECTIVE
from dcsc.kernels.rademacher import CHERNOFF, GAUSSIAN, LONGEST, UNIT
from dcsc.kernels.scatter import coordinates
from dcsc.kernels.screening import ANY_NOT_BELOW_ONE, place_of, positions_wanted
from dcsc.kernels.sharpen import HOPELESS, SHARE, choose, closed_terms, draw_members, ratios_of, sharpen
from dcsc.kernels.sorting import (
    ascending,
    copy,
    entries_at,
    first_from,
    order_of,
    place_of_most,
    places_where,
    sort,
    total_of,
)
from dcsc.kernels.tiles import ROW_BYTES, multiply_row

LANES = ROW_BYTES // 8
SHIFTS = (0.5, 0.2, 0.05, 1e-2, 1e-3, 1e-5, 1e-7)
"""Lower bounds of the smallest eigenvalue that are tried, before the smallest one that is admitted."""
NEGLIGIBLE = 1e-11
"""Entries of a solution below it are left out once a whole band of them is."""
DROPPED = 1e-5
"""Sum of small entries that are left out of a list and taken from its margin instead."""
KEPT = 2**18
"""Entries of solutions that are kept for sharp tails: 2 MB; others are solved for again."""


class Factor(NamedTuple):
    """
    The Cholesky factor of a symmetric matrix within its envelope.

    Parameters
    ----------
    inner : int
        Rows before those of the border.
    first : ndarray of int64, shape (row,)
        First column of each row.
    lowest, upto : ndarray of int64
        As from `reaches_of`, of the rows before the border.
    begins : ndarray of int64, shape (row + 1,)
        Where the rows begin in `lower`.
    lower : ndarray, shape (entry,)
        The factor, row after row.
    columns : ndarray of int64, shape (row + 1,)
        Where its columns, below the diagonal, begin in `rows_of` and `values_of`; before the border without its rows.
    rows_of, values_of : ndarray, shape (entry below the diagonal,)
        Their rows and entries.
    border : ndarray, shape (inner, row of the border)
        What the rows of the border have in the columns before it.
    largest : ndarray, shape (inner,)
        The largest magnitude of each of them.
    """

    inner: int
    first: NDArray
    lowest: NDArray
    upto: NDArray
    begins: NDArray
    lower: NDArray
    columns: NDArray
    rows_of: NDArray
    values_of: NDArray
    border: NDArray
    largest: NDArray


class Space(NamedTuple):
    """
    What is written over for each position.

    Parameters
    ----------
    solution, grouped : ndarray, shape (row * lane,)
        Right sides, then solutions; and what groups of rows make of them.
    row_sums, more, sums, squares, magnitudes : ndarray, shape (lane,)
        Sums of a row of the factor times solutions, in two parts; and those that `summarise` finds.
    numbers, rows_at : ndarray of int64, shape (row + 1,) and (row,)
        0, 1, 2, ...; and where each row begins in `solution`.
    """

    solution: NDArray
    grouped: NDArray
    row_sums: NDArray
    more: NDArray
    sums: NDArray
    squares: NDArray
    magnitudes: NDArray
    numbers: NDArray
    rows_at: NDArray


@compiled
def new_space(n, n_groups, width):
    """Arrays for a number of active atoms and groups of them."""
    row_sums, more = np.empty(width), np.empty(width)
    sums, squares, magnitudes = np.empty(width), np.empty(width), np.empty(width)
    solution, grouped = np.empty(max(n, n_groups) * width), np.empty(n_groups * width)
    numbers, rows_at = np.empty(n + 1, np.int64), np.empty(n, np.int64)
    for k in range(n):
        numbers[k], rows_at[k] = k, k * width
    numbers[n] = n
    return Space(solution, grouped, row_sums, more, sums, squares, magnitudes, numbers, rows_at)


@compiled
def run_of(patterns, f, p0, p1, p2, q0, q1, q2):
    """Where the inner products of an atom with all filters at a position q begin in a flat pattern; -1 for none."""
    pattern, layout, n_filters = patterns.pattern, patterns.layout, patterns.layout[3, 2]
    d0, d1, d2 = q0 - p0 - layout[2, 0], q1 - p1 - layout[2, 1], q2 - p2 - layout[2, 2]
    d0 += layout[0, 0] if d0 < 0 else (-layout[0, 0] if d0 >= layout[0, 0] else 0)
    d1 += layout[0, 1] if d1 < 0 else (-layout[0, 1] if d1 >= layout[0, 1] else 0)
    d2 += layout[0, 2] if d2 < 0 else (-layout[0, 2] if d2 >= layout[0, 2] else 0)
    if d0 >= pattern.shape[2] or d1 >= pattern.shape[3] or d2 * n_filters >= pattern.shape[4]:
        return np.int64(-1)
    return ((f * pattern.shape[2] + d0) * pattern.shape[3] + d1) * pattern.shape[4] + d2 * n_filters


@compiled
def cut_of(active, axis, period, reach):
    """Where to cut a period: after the run of places, as long as atoms reach, that has the fewest active ones."""
    counts, run, inside = np.zeros(period, np.int64), min(reach, period), 0
    for k in range(active.shape[1]):
        counts[active[1 + axis, k]] += 1
    for place in range(run):
        inside += counts[place]
    fewest, cut = inside, run
    for place in range(run, period):
        inside += counts[place] - counts[place - run]
        if inside < fewest:
            fewest, cut = inside, place + 1
    return cut


@compiled
def order_active(atom, layout, axis, reach):
    """Order active atoms along an axis from its cut on: them, their places from there, their order, and the cut."""
    places, active, n = np.empty(len(atom), np.int64), np.empty((4, len(atom)), np.int64), layout[0]
    for k in range(len(atom)):
        f, position = divmod(np.int64(atom[k]), n[0] * n[1] * n[2])
        active[0, k] = f
        active[1, k], active[2, k], active[3, k] = coordinates(position, n)
    cut = cut_of(active, axis, n[axis], reach)
    for k in range(len(atom)):
        places[k] = (active[1 + axis, k] - cut) % n[axis]
    order = order_of(places, np.bool_(True))
    ordered, unrolled = np.empty((4, len(atom)), np.int64), np.empty(len(atom), np.int64)
    for k in range(len(atom)):
        unrolled[k] = places[order[k]]
        for row in range(4):
            ordered[row, k] = active[row, order[k]]
    return ordered, unrolled, order, cut


@compiled
def list_gram(active, unrolled, inner, reach, patterns):
    """The Gram matrix of active atoms within its envelope: first columns, beginnings and entries."""
    n, flat, pattern, layout = active.shape[1], patterns.pattern.ravel(), patterns.pattern, patterns.layout
    n_filters, s0, s1, s2 = layout[3, 2], pattern.shape[2], pattern.shape[3], pattern.shape[4]
    n0, n1, n2, a0, a1, a2 = layout[0, 0], layout[0, 1], layout[0, 2], layout[2, 0], layout[2, 1], layout[2, 2]
    filters, p0, p1, p2 = active[0], active[1], active[2], active[3]
    first, begins, start, written = np.empty(n, np.int64), np.zeros(n + 1, np.int64), 0, 0
    lower = np.empty(4 * n)
    for i in range(n):
        start = 0 if i >= inner else start
        while i < inner and unrolled[start] < unrolled[i] - reach:
            start += 1
        if written + i + 1 - start > len(lower):
            longer = np.empty(2 * (written + i + 1 - start))
            copy(lower[:written], longer)
            lower = longer
        q0, q1, q2, f, first[i] = p0[i] - a0, p1[i] - a1, p2[i] - a2, filters[i], -1
        for m in range(start, i + 1):  # as `run_of`, which costs more
            d0, d1, d2, value = q0 - p0[m], q1 - p1[m], q2 - p2[m], 0.0
            d0 += n0 if d0 < 0 else (-n0 if d0 >= n0 else 0)
            d1 += n1 if d1 < 0 else (-n1 if d1 >= n1 else 0)
            d2 += n2 if d2 < 0 else (-n2 if d2 >= n2 else 0)
            if d0 < s0 and d1 < s1 and d2 * n_filters < s2:
                value = flat[((filters[m] * s0 + d0) * s1 + d1) * s2 + d2 * n_filters + f]
            if first[i] < 0 and (value != 0 or m == i):
                first[i] = m
            if first[i] >= 0:
                lower[written] = value
                written += 1
        begins[i + 1] = written
    return first, begins, lower[:written].copy()


@compiled
def entry_of_factor(i, m, first, begins, matrix, lower):
    """An entry of a factor times the diagonal one of its column, or the square of a diagonal one."""
    value, start = matrix[begins[i] + m - first[i]], max(first[i], first[m])
    mine, other = begins[i] - first[i], begins[m] - first[m]
    for k in range(start, m):
        value -= lower[mine + k] * lower[other + k]
    return value


@compiled
def factorise(matrix, first, begins, shift, lower):
    """
    Cholesky factor of a matrix less a multiple of the identity, within the envelope; returns whether one exists.

    Four entries of a row at a time, as none of their sums waits for another one; each is added up in its order.
    """
    for i in range(len(first)):
        m, mine = first[i], begins[i] - first[i]
        while m < i:
            if m + 4 > i or max(first[m + 1], first[m + 2], first[m + 3]) > m:
                lower[mine + m] = entry_of_factor(i, m, first, begins, matrix, lower) / lower[begins[m + 1] - 1]
                m += 1
                continue
            one, two, three, four = matrix[mine + m], matrix[mine + m + 1], matrix[mine + m + 2], matrix[mine + m + 3]
            o1, o2 = begins[m] - first[m], begins[m + 1] - first[m + 1]
            o3, o4 = begins[m + 2] - first[m + 2], begins[m + 3] - first[m + 3]
            s1, s2 = max(first[i], first[m]), max(first[i], first[m + 1])
            s3, s4 = max(first[i], first[m + 2]), max(first[i], first[m + 3])
            start = max(s1, s2, s3, s4)
            for k in range(s1, start):
                one -= lower[mine + k] * lower[o1 + k]
            for k in range(s2, start):
                two -= lower[mine + k] * lower[o2 + k]
            for k in range(s3, start):
                three -= lower[mine + k] * lower[o3 + k]
            for k in range(s4, start):
                four -= lower[mine + k] * lower[o4 + k]
            for k in range(start, m):
                entry = lower[mine + k]
                one -= entry * lower[o1 + k]
                two -= entry * lower[o2 + k]
                three -= entry * lower[o3 + k]
                four -= entry * lower[o4 + k]
            one /= lower[o1 + m]
            two = (two - one * lower[o2 + m]) / lower[o2 + m + 1]
            three = ((three - one * lower[o3 + m]) - two * lower[o3 + m + 1]) / lower[o3 + m + 2]
            four = (four - one * lower[o4 + m]) - two * lower[o4 + m + 1]
            four = (four - three * lower[o4 + m + 2]) / lower[o4 + m + 3]
            lower[mine + m], lower[mine + m + 1], lower[mine + m + 2], lower[mine + m + 3] = one, two, three, four
            m += 4
        value = entry_of_factor(i, i, first, begins, matrix, lower) - shift
        if not value > 0:
            return False
        lower[mine + i] = math.sqrt(value)
    return True


@compiled
def list_columns_of(inner, first, begins, lower):
    """The columns of a factor below its diagonal, rows of the border and the others apart."""
    n = len(first)
    columns, border, largest = np.zeros(n + 1, np.int64), np.zeros((inner, n - inner)), np.zeros(inner)
    for i in range(n):
        for m in range(first[i] if i < inner else max(first[i], inner), i):
            columns[m + 1] += 1
    for m in range(n):
        columns[m + 1] += columns[m]
    at, rows_of, values_of = columns[:n].copy(), np.empty(columns[n], np.int64), np.empty(columns[n])
    for i in range(n):
        for m in range(first[i], i):
            value = lower[begins[i] + m - first[i]]
            if i >= inner > m:
                border[m, i - inner], largest[m] = value, max(largest[m], abs(value))
            else:
                rows_of[at[m]], values_of[at[m]] = i, value
                at[m] += 1
    return columns, rows_of, values_of, border, largest


@compiled
def negligible_rows(solution, start, stop, width):
    """Whether all entries of some rows are negligible."""
    for k in range(start * width, stop * width):
        if abs(solution[k]) > NEGLIGIBLE:
            return False
    return True


@compiled
def needs_border(place, period, reach, largest, lo, end):
    """
    Whether the rows of the border get more than is negligible, at a position that reaches rows lo to end before it.

    What the forward substitution gives has norm 1 at most: that of a projection of an atom.
    """
    if place < reach or place >= period - 2 * reach:  # it may reach atoms of the border themselves, or across the cut
        return True
    squares = 0.0
    for k in range(lo, end):
        squares += largest[k] * largest[k]
    return squares > NEGLIGIBLE * NEGLIGIBLE


@compiled
def substitute_forward(i, lo, end, is_near, place, factor, active, flat, n_filters, patterns, space):
    """A row of the forward substitution: what the rows lo to end, and those of the border before it, leave of it."""
    inner, first, begins, lower = factor.inner, factor.first, factor.begins, factor.lower
    solution, sums, more, numbers, rows_at = space.solution, space.row_sums, space.more, space.numbers, space.rows_at
    width, pivot = len(sums), 1 / lower[begins[i + 1] - 1]
    row = solution[i * width : (i + 1) * width]
    row[:] = 0.0
    if is_near:
        here = run_of(patterns, *place_of(active, i), *place)
        if here >= 0:
            copy(flat[here : here + n_filters], row)
    start = max(first[i], lo)
    many, where = max(0, end - start), begins[i] + start - first[i]
    for lane in range(0, width, LANES):
        multiply_row(sums, lane, 0, lower, where, 0, numbers[:many], solution, lane, rows_at[start : start + many])
    if i > inner:
        start = max(first[i], inner)
        many, where = i - start, begins[i] + start - first[i]
        for lane in range(0, width, LANES):
            multiply_row(more, lane, 0, lower, where, 0, numbers[:many], solution, lane, rows_at[start:i])
        for lane in range(width):
            sums[lane] += more[lane]
    for lane in range(width):
        row[lane] = (row[lane] - sums[lane]) * pivot


@compiled_by_itself
def solve_position(position, factor, active, unrolled, cut, reach, axis, patterns, space):
    """Solve G_SS W = G_Sj for all filters j at a position; returns the rows beyond which solutions are negligible."""
    inner, first, lowest, upto, begins, lower, columns, rows_of, values_of, border, largest = factor
    n, flat, layout, n_filters = len(first), patterns.pattern.ravel(), patterns.layout, patterns.layout[3, 2]
    solution, sums, numbers, rows_at = space.solution, space.row_sums, space.numbers, space.rows_at
    q0, q1, q2 = coordinates(position, layout[0])
    period, width = layout[0, axis], len(sums)
    place = ((q0 if axis == 0 else (q1 if axis == 1 else q2)) - cut) % period
    lo, hi = first_from(unrolled, inner, place - reach), first_from(unrolled, inner, place + reach + 1)
    if place + reach >= period:
        lo, hi = np.int64(0), inner
    end, begin = inner, 0
    for i in range(lo, inner):
        if i >= hi and negligible_rows(solution, max(lowest[i], lo), i, width):
            end = i
            break
        substitute_forward(i, lo, i, i < hi, (q0, q1, q2), factor, active, flat, n_filters, patterns, space)
    has_border = inner < n and needs_border(place, period, reach, largest, lo, end)
    stop = n if has_border else end
    if has_border:
        for i in range(inner, n):
            substitute_forward(
                i, lo, end, np.bool_(True), (q0, q1, q2), factor, active, flat, n_filters, patterns, space
            )
    for i in range(stop - 1, -1, -1):
        row, pivot = solution[i * width : (i + 1) * width], 1 / lower[begins[i + 1] - 1]
        start, last = columns[i], columns[i + 1]
        while last > start and rows_of[last - 1] >= stop:
            last -= 1
        known = lo <= i < end or i >= inner
        places = rows_at[rows_of[start:last]]
        for lane in range(0, width, LANES):
            multiply_row(sums, lane, 0, values_of, start, 0, numbers[: last - start], solution, lane, places)
        for lane in range(width):
            row[lane] = (row[lane] if known else 0.0) - sums[lane]
        if has_border and i < inner:
            here = border[i]
            for lane in range(0, width, LANES):
                multiply_row(sums, lane, 0, here, 0, 0, numbers[: n - inner], solution, lane, rows_at[inner:])
            for lane in range(width):
                row[lane] -= sums[lane]
        for lane in range(width):
            row[lane] *= pivot
        if not has_border and i <= lo and i > 0 and negligible_rows(solution, i, max(i, min(upto[i], end)), width):
            begin = i
            break
    return begin, stop


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
def summarise(space, begin, end, n_filters, group, sign):
    """
    Sums of magnitudes of solutions, and of what groups of rows with common signs make of them, with their squares.

    Solutions are replaced by those of groups, whose rows are returned.
    """
    solution, grouped, sums, squares, magnitudes = (
        space.solution, space.grouped, space.sums, space.squares, space.magnitudes,
    )  # fmt: skip
    width = len(sums)
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
        copy(grouped, solution)
        begin, end = 0, len(grouped) // width
    for k in range(begin, end):
        row = solution[k * width : (k + 1) * width]
        for lane in range(n_filters):
            sums[lane] += abs(row[lane])
            squares[lane] += row[lane] * row[lane]
    return begin, end


@compiled
def list_magnitudes(solution, begin, end, width, lane, entries, written):
    """Append the magnitudes of a column of solutions, ascending, without the smallest ones; returns the new length."""
    here = entries[written : written + end - begin]
    for k in range(end - begin):
        here[k] = abs(solution[(begin + k) * width + lane])
    sort(here)
    small, total = 0, 0.0
    while small < len(here) and total + here[small] <= DROPPED:
        total += here[small]
        small += 1
    for k in range(small, len(here)):
        entries[written] = here[k]
        written += 1
    return written


@compiled
def rounding_of(widest, n, eigenvalue, longest, largest):
    """What rounding and entries left out may have changed in |W_j|_1 and in sums of W_j, whatever the signs."""
    band = 2.0 * widest + 1
    error = UNIT * (band * (3 * widest + 70) * math.sqrt(max(longest, 1.0)) + 64 * math.sqrt(band))
    return math.sqrt(n) * (error + 2 * NEGLIGIBLE * widest) / eigenvalue + 8 * UNIT * n * largest


@compiled
def code_certificates(kind, wanted, patterns, atom, group, sign, n_groups, uniforms, lattice, kept, out):
    """
    Certificates of one support: smallest eigenvalue (a lower bound), largest |W_j|_1 (an upper one), and b(S).

    Signs are independent over groups of rows; without groups (none are given), over rows. With uniform numbers b(S) is
    a draw of it, by as many inactive atoms, unless the sum of closed tails exceeds 1.

    Where a |W_j|_1 below 1 is not wanted, as no signs exceed it, its bound may be far above it, though below 1; b(S) is
    the same. Where it is wanted only whether one is not, b(S) is 1 or, if there is none, 0.
    """
    n, layout, n_filters = len(atom), patterns.layout, patterns.layout[3, 2]
    reach, axis = np.empty(3, np.int64), place_of_most(layout[0])
    for k in range(3):
        reach[k] = -layout[2, k]
    out[0], out[1], out[2] = np.inf, 0.0, 0.0
    if n == 0:
        return
    active, unrolled, order, cut = order_active(atom, layout, axis, reach[axis])
    inner = first_from(unrolled, n, layout[0, axis] - reach[axis])
    first, begins, matrix = list_gram(active, unrolled, inner, reach[axis], patterns)
    lower = np.empty(len(matrix))
    out[0], widest = smallest_eigenvalue(matrix, first, begins, lower)
    if out[0] == 0:
        out[1], out[2] = np.inf, 1.0
        return
    reaches, columns = reaches_of(first[:inner]), list_columns_of(inner, first, begins, lower)
    factor = Factor(inner, first, *reaches, begins, lower, *columns)
    width = -(-n_filters // LANES) * LANES
    space = new_space(n, n_groups, width)
    of_row, sign_of = np.zeros(n, np.int64), np.empty(n)
    for k in range(n):
        sign_of[k] = 1.0
        if n_groups:
            of_row[k], sign_of[k] = group[order[k]], sign[order[k]]
    taken = ascending(atom)
    size, limit = layout[0, 0] * layout[0, 1] * layout[0, 2], 1 - 1e-9 - 4 * rounding_of(widest, n, out[0], 1.0, 1.0)
    visited, below = positions_wanted(wanted, matrix, first, begins, active, reach, patterns, limit)
    listing, places = np.zeros((4, len(visited) * n_filters)), np.empty(len(visited) * n_filters, np.int64)
    m, largest, longest = np.int64(0), 0.0, 0.0
    kept_at, n_kept, keeps = np.empty((len(visited), 2), np.int64), 0, kind >= CHERNOFF and wanted != ANY_NOT_BELOW_ONE
    for number in range(len(visited)):
        position, kept_at[number, 0] = visited[number], -1
        begin, end = solve_position(position, factor, active, unrolled, cut, reach[axis], axis, patterns, space)
        begin, end = summarise(space, begin, end, n_filters, of_row, sign_of)
        if keeps and n_kept + (end - begin) * width <= len(kept):
            kept_at[number, 0], kept_at[number, 1] = n_kept, end - begin
            copy(space.solution[begin * width : end * width], kept[n_kept:])
            n_kept += (end - begin) * width
        for f in range(n_filters):
            here = first_from(taken, n, f * size + position)
            if here < n and taken[here] == f * size + position:
                continue
            listing[0, m], listing[1, m], places[m] = space.squares[f], space.sums[f], position * n_filters + f
            largest, longest = max(largest, space.magnitudes[f]), max(longest, space.squares[f])
            m += 1
        if wanted == ANY_NOT_BELOW_ONE and largest >= 1:
            break
    guard = rounding_of(widest, n, out[0], longest, largest)
    out[1] = max(largest, below) + guard
    if wanted == ANY_NOT_BELOW_ONE:
        out[2] = 0.0 if out[1] < 1 else 1.0
        return
    thresholds, terms, totals = np.empty((1, 1)), np.empty((1, m)), np.empty((1, 1))
    thresholds[0, 0] = 1.0
    closed_terms(min(kind, GAUSSIAN), listing, np.int64(0), m, thresholds, 0.0, guard, 0.0, terms, totals)
    chosen, fresh = np.zeros(m, np.bool_), np.empty(m, np.bool_)
    closed = total_of(terms[0])
    if closed > HOPELESS[0]:
        kind = GAUSSIAN
    drawing = len(uniforms) > 0 and kind >= CHERNOFF and 0 < closed <= 1
    while kind >= CHERNOFF and (drawing or choose(terms[0], chosen, m, SHARE, fresh) > 0):
        members = draw_members(terms[0], m, uniforms) if drawing else places_where(fresh)
        entries, starts = np.empty(len(members) * max(n, n_groups)), np.zeros(len(members) + 1, np.int64)
        before, begin, end, written = -1, 0, 0, np.int64(0)
        for member in range(len(members)):
            position, f = divmod(places[members[member]], n_filters)
            number = first_from(visited, len(visited), position)
            here, rows = kept_at[number, 0], kept_at[number, 1]
            if here >= 0:
                written = list_magnitudes(kept[here:], np.int64(0), rows, width, f, entries, written)
            else:
                if position != before:
                    begin, end = solve_position(
                        position, factor, active, unrolled, cut, reach[axis], axis, patterns, space
                    )
                    begin, end = summarise(space, begin, end, n_filters, of_row, sign_of)
                    before = position
                written = list_magnitudes(space.solution, begin, end, width, f, entries, written)
            starts[member + 1] = written
        slack = guard + DROPPED
        if drawing:
            law, drawn = (0.0, slack, 0.0), np.empty((1, len(members)))
            copy(entries_at(terms[0], members), drawn[0])
            ratio = ratios_of(kind, members, entries, starts, listing, np.int64(0), thresholds, law, drawn, lattice)[0]
            out[2] = closed * min(1.0, ratio * (1 + 1e-12))
            return
        n_on, at = 0, 0
        sharpen(kind, members, entries, starts, listing, n_on, thresholds, at, 0.0, slack, 0.0, terms, lattice)
    out[2] = min(1.0, total_of(terms[0]))


@compiled
def layer_certificates(kind, wanted, patterns, atom, starts, group, sign, n_groups, uniforms, out):
    """Certificates (code, 3) of consecutive supports; groups are numbered within a code, none of them for 0."""
    lattice, kept = np.empty((2, LONGEST)), np.empty(KEPT)
    for code in range(len(starts) - 1):
        here = slice(starts[code], starts[code + 1])
        code_certificates(
            kind,
            wanted,
            patterns,
            atom[here],
            group[here],
            sign[here],
            n_groups[code],
            uniforms[code],
            lattice,
            kept,
            out[code],
        )
