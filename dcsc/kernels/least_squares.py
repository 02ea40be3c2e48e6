"""
Least squares on the supports of a batch, by factorising Gram matrices within their envelope.

Every trial is computed alone and in one order.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.envelope import envelope_of, envelope_order, factorise, fill_rows, meeting_atoms, place_atoms, solve
from dcsc.kernels.sorting import entries_at
from dcsc.kernels.taps import points_for, points_of_atom


@compiled
def run_of_atom(filter_index, s0, s1, s2, taps):
    """First grid point of an atom that begins at s, where its taps are one run of points, else -1."""
    first, last = taps.start[filter_index], taps.start[filter_index + 1]
    g0, g1, g2 = taps.geometry[2]
    if s0 + taps.reach[0] > g0 or s1 + taps.reach[1] > g1 or s2 + taps.reach[2] > g2:
        return -1
    if last == first or taps.offset[last - 1] - taps.offset[first] != last - 1 - first:
        return -1
    return (s0 * g1 + s1) * g2 + s2 + taps.offset[first]


@compiled
def four_sums(residual, begins, values, firsts, n, out, k):
    """Correlate with four runs of n points at once, so that no sum waits for itself; each is taken in its order."""
    a = b = c = d = 0.0
    r0, v0 = residual[begins[0] : begins[0] + n], values[firsts[0] : firsts[0] + n]
    r1, v1 = residual[begins[1] : begins[1] + n], values[firsts[1] : firsts[1] + n]
    r2, v2 = residual[begins[2] : begins[2] + n], values[firsts[2] : firsts[2] + n]
    r3, v3 = residual[begins[3] : begins[3] + n], values[firsts[3] : firsts[3] + n]
    for m in range(n):
        a += v0[m] * r0[m]
        b += v1[m] * r1[m]
        c += v2[m] * r2[m]
        d += v3[m] * r3[m]
    out[k], out[k + 1], out[k + 2], out[k + 3] = a, b, c, d


@compiled
def correlate_at(residual, filters, begins, taps, points, out):
    """Correlate a signal with some atoms: filter and first grid point of each."""
    runs, firsts, k = np.empty(4, np.int64), np.empty(4, np.int64), 0
    while k < len(filters):
        n = taps.start[filters[k] + 1] - taps.start[filters[k]]
        together = k + 4 <= len(filters)
        for m in range(4 if together else 0):
            i = filters[k + m]
            firsts[m] = taps.start[i]
            runs[m] = run_of_atom(i, begins[0, k + m], begins[1, k + m], begins[2, k + m], taps)
            together &= runs[m] >= 0 and taps.start[i + 1] - taps.start[i] == n
        if together:
            four_sums(residual, runs, taps.value, firsts, n, out, k)
            k += 4
            continue
        points_of_atom(filters[k], begins[0, k], begins[1, k], begins[2, k], taps, points)
        first, total = taps.start[filters[k]], 0.0
        for m in range(n):
            total += taps.value[first + m] * residual[points[m]]
        out[k] = total
        k += 1


@compiled
def subtract_atoms(residual, filters, begins, taps, points, coefficients):
    """Subtract a combination of atoms from a signal."""
    for k in range(len(filters)):
        first, last = taps.start[filters[k]], taps.start[filters[k] + 1]
        begin = run_of_atom(filters[k], begins[0, k], begins[1, k], begins[2, k], taps)
        if begin >= 0:
            values, run = taps.value[first:last], residual[begin : begin + last - first]
            for n in range(len(run)):
                run[n] -= values[n] * coefficients[k]
            continue
        n_points = points_of_atom(filters[k], begins[0, k], begins[1, k], begins[2, k], taps, points)
        for n in range(n_points):
            residual[points[n]] -= taps.value[first + n] * coefficients[k]


@compiled
def fit_support(residual, atom, taps, gram, limits, out):
    """
    Fit one signal, which is written over, on one support; False where its Gram matrix is too full or nearly singular.

    `limits` are the most entries of the envelope, the most multiplications of its factorisation, and how small the
    smallest pivot may be beside the largest. Refinement wins back what squaring the condition number lost.
    """
    positions, steps = taps.geometry[0], taps.geometry[1]
    filters, places = place_atoms(atom, positions)
    firsts, neighbours, values = meeting_atoms(filters, places, positions, gram)
    order = envelope_order(firsts, neighbours)
    rank, columns_from, starts = envelope_of(order, firsts, neighbours)
    work = 0.0
    for r in range(len(order)):
        work += (starts[r + 1] - starts[r]) * (starts[r + 1] - starts[r])
    if starts[-1] > limits[0] or work > limits[1]:
        return False
    rows = fill_rows(order, rank, columns_from, starts, firsts, neighbours, values, 0.0)
    smallest, largest = factorise(rows, columns_from, starts)
    if smallest <= limits[2] * largest:
        return False
    filters, begins = entries_at(filters, order), np.empty((3, len(order)), np.int64)
    for r in range(len(order)):
        for axis in range(3):
            begins[axis, r] = places[axis, order[r]] * steps[axis]
    solution, step, points = np.zeros(len(order)), np.empty(len(order)), points_for(taps)
    for turn in range(3):
        if turn:
            subtract_atoms(residual, filters, begins, taps, points, step)
        correlate_at(residual, filters, begins, taps, points, step)
        solve(rows, columns_from, starts, step)
        for r in range(len(order)):
            solution[r] += step[r]
    for r in range(len(order)):
        out[order[r]] = solution[r]
    return True


@compiled
def fit_supports(residuals, atom, starts, taps, gram, limits, out, solved):
    """Fit flat signals (trial, point), which are written over, on listed supports."""
    for trial in range(len(starts) - 1):
        own = slice(starts[trial], starts[trial + 1])
        solved[trial] = fit_support(residuals[trial], atom[own], taps, gram, limits, out[own])
