"""
Least squares on the supports of a batch, by factorising Gram matrices within their envelope.

Every trial is computed alone and in one order.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.envelope import (
    dot,
    envelope_of,
    envelope_order,
    factorise,
    fill_rows,
    meeting_atoms,
    place_atoms,
    solve,
)
from dcsc.kernels.taps import points_for, points_of_atom

SETTLED = 2.0**-30
"""Steps of the refinement shrink at a fixed rate: after one as small beside the solution, the next is rounding."""


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
def correlate_at(residual, filters, begins, taps, points, out):
    """Correlate a signal with some atoms: filter and first grid point of each."""
    for k in range(len(filters)):
        first, last = taps.start[filters[k]], taps.start[filters[k] + 1]
        begin = run_of_atom(filters[k], begins[0, k], begins[1, k], begins[2, k], taps)
        if begin >= 0:
            out[k] = dot(taps.value[first:last], residual[begin : begin + last - first])
            continue
        n_points, total = points_of_atom(filters[k], begins[0, k], begins[1, k], begins[2, k], taps, points), 0.0
        for n in range(n_points):
            total += taps.value[first + n] * residual[points[n]]
        out[k] = total


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
        work += (starts[r + 1] - starts[r]) ** 2
    if starts[-1] > limits[0] or work > limits[1]:
        return False
    rows = fill_rows(order, rank, columns_from, starts, firsts, neighbours, values, 0.0)
    smallest, largest = factorise(rows, columns_from, starts)
    if smallest <= limits[2] * largest:
        return False
    filters, begins = filters[order], places[:, order] * steps.reshape(3, 1)
    solution, step, points = np.zeros(len(order)), np.empty(len(order)), points_for(taps)
    for turn in range(3):
        if turn:
            subtract_atoms(residual, filters, begins, taps, points, step)
        correlate_at(residual, filters, begins, taps, points, step)
        solve(rows, columns_from, starts, step)
        change, size = 0.0, 0.0
        for r in range(len(order)):
            solution[r] += step[r]
            change, size = max(change, abs(step[r])), max(size, abs(solution[r]))
        if change <= SETTLED * size:
            break
    for r in range(len(order)):
        out[order[r]] = solution[r]
    return True


@compiled
def fit_supports(residuals, atom, starts, taps, gram, limits, out, solved):
    """Fit flat signals (trial, point), which are written over, on listed supports."""
    for trial in range(len(starts) - 1):
        own = slice(starts[trial], starts[trial + 1])
        solved[trial] = fit_support(residuals[trial], atom[own], taps, gram, limits, out[own])
