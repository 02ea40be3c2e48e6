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
def correlate_at(residual, filters, begins, taps, points, out):
    """Correlate a signal with some atoms: filter and first grid point of each."""
    for k in range(len(filters)):
        n_points = points_of_atom(filters[k], begins[0, k], begins[1, k], begins[2, k], taps, points)
        first, total = taps.start[filters[k]], 0.0
        for n in range(n_points):
            total += taps.value[first + n] * residual[points[n]]
        out[k] = total


@compiled
def subtract_atoms(residual, filters, begins, taps, points, coefficients):
    """Subtract a combination of atoms from a signal."""
    for k in range(len(filters)):
        n_points = points_of_atom(filters[k], begins[0, k], begins[1, k], begins[2, k], taps, points)
        first = taps.start[filters[k]]
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
