"""
Orthogonal matching pursuit of one signal, with local updates through the Gram kernel.

Arrays are laid out as in `dcsc.kernels.lasso`. The active atoms are orthogonalised by a Cholesky factor
of their Gram matrix; a new one changes the correlations only where its orthogonalised atom reaches.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import math

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.lasso import correlate, new_correlations, new_window_space
from dcsc.kernels.scatter import add_pattern, coordinates
from dcsc.kernels.sorting import most_of, place_of_most

DEPENDENT = 1e-10
"""Squared distance from the span of the active atoms below which an atom counts as one of them."""


@compiled
def largest_of_position(row, banned, start):
    """Largest magnitude of the atoms of one position that may be chosen."""
    largest = 0.0
    for i in range(len(row)):
        if abs(row[i]) > largest and not banned[start + i]:
            largest = abs(row[i])
    return largest


@compiled
def inner_product(a, b, gram, sizes, n_filters):
    """Inner product of two atoms."""
    place_a, i = divmod(a, n_filters)
    place_b, j = divmod(b, n_filters)
    lags = np.empty(3, np.int64)
    for axis in range(2, -1, -1):
        n, half = sizes[0, axis], sizes[3, axis] // 2
        place_a, p = divmod(place_a, n)
        place_b, r = divmod(place_b, n)
        lag = (r - p) % n
        lag = lag if lag <= half else lag - n
        if lag < -half:
            return 0.0
        lags[axis] = lag + half
    return gram[i, j, lags[0], lags[1], lags[2]]


@compiled
def refresh(q, banned, largest, sizes, place):
    """Bring the largest magnitudes up to date at all positions that atoms at one place overlap."""
    n_filters = q.shape[1]
    n0, n1, n2 = sizes[0, 0], sizes[0, 1], sizes[0, 2]
    p0, p1, p2 = coordinates(place, sizes[0])
    for d0 in range(-(sizes[3, 0] // 2), sizes[3, 0] // 2 + 1):
        for d1 in range(-(sizes[3, 1] // 2), sizes[3, 1] // 2 + 1):
            for d2 in range(-(sizes[3, 2] // 2), sizes[3, 2] // 2 + 1):
                position = (((p0 + d0) % n0) * n1 + (p1 + d1) % n1) * n2 + (p2 + d2) % n2
                largest[position] = largest_of_position(q[position], banned, position * n_filters)


@compiled
def orthogonal_matching_pursuit(signal, layout, rows, n_atoms, norm):
    """
    Choose atoms one by one by their correlation with the residual, until n_atoms or a residual norm.

    rows are the Gram kernel as patterns. Returns atoms, values, squared norm of the residual
    and the largest correlation left.
    """
    gram, sizes, q = layout.gram, layout.sizes, new_correlations(layout)
    n_positions, n_filters = q.shape
    correlate(signal, layout, new_window_space(signal, layout), q)
    target = q.reshape(1, sizes[0, 0], sizes[0, 1], sizes[0, 2] * n_filters)
    banned = np.zeros(n_positions * n_filters, np.bool_)
    largest = np.empty(n_positions)
    for position in range(n_positions):
        largest[position] = largest_of_position(q[position], banned, position * n_filters)
    square = 0.0
    for entry in signal.ravel():
        square += entry * entry
    atoms, values = np.empty(n_atoms, np.int64), np.zeros(n_atoms)
    factor, direction = np.empty((n_atoms, n_atoms)), np.empty(n_atoms)
    n_active = 0
    floor = 1e-14 * most_of(largest)
    while n_active < n_atoms and square > norm * norm:
        place = place_of_most(largest)
        if largest[place] <= floor:
            break
        chosen = place * n_filters
        for i in range(n_filters):
            a = place * n_filters + i
            if not banned[a] and abs(q[place, i]) == largest[place]:
                chosen = a
                break
        banned[chosen] = True
        row = factor[n_active]
        left = inner_product(chosen, chosen, gram, sizes, n_filters)
        for k in range(n_active):
            entry = inner_product(atoms[k], chosen, gram, sizes, n_filters)
            for j in range(k):
                entry -= factor[k, j] * row[j]
            row[k] = entry / factor[k, k]
            left -= row[k] * row[k]
        if left <= DEPENDENT:
            largest[place] = largest_of_position(q[place], banned, place * n_filters)
            continue
        row[n_active] = math.sqrt(left)
        atoms[n_active] = chosen
        n_active += 1
        direction[n_active - 1] = 1 / row[n_active - 1]
        for k in range(n_active - 2, -1, -1):  # the orthogonalised atom, as coefficients of the active ones
            total = 0.0
            for j in range(k + 1, n_active):
                total += factor[j, k] * direction[j]
            direction[k] = -total / factor[k, k]
        amount = q[place, chosen - place * n_filters] / row[n_active - 1]
        square -= amount * amount
        for k in range(n_active):
            change = amount * direction[k]
            values[k] += change
            if abs(change) > 1e-17 * abs(amount):
                where, i = divmod(atoms[k], n_filters)
                p0, p1, p2 = coordinates(where, sizes[0])
                add_pattern(target, rows, i, p0, p1, p2, -change)
        for k in range(n_active):
            if abs(amount * direction[k]) > 1e-17 * abs(amount):
                refresh(q, banned, largest, sizes, atoms[k] // n_filters)
    return atoms[:n_active], values[:n_active], max(square, 0.0), most_of(largest)
