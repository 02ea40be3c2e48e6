"""
Whether the atoms of a support are independent, from the inner products of those that meet.

Positions have three axes, padded with 1. Every code is looked at alone and in one order.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.least_squares import envelope_order, factorise, list_neighbours


@compiled
def within_circles(firsts, neighbours, values, floor):
    """Whether Gershgorin's circles keep every eigenvalue well above the floor."""
    for k in range(len(firsts) - 1):
        room = -2 * floor
        for n in range(firsts[k], firsts[k + 1]):
            room += values[n] if neighbours[n] == k else -abs(values[n])
        if not room > 0:
            return False
    return True


@compiled
def is_definite(firsts, neighbours, values, floor):
    """Whether the Gram matrix less the floor on its diagonal has a Cholesky factorisation."""
    order = envelope_order(firsts, neighbours)
    size = len(order)
    rank, columns_from, starts = np.empty(size, np.int64), np.arange(size), np.zeros(size + 1, np.int64)
    for r in range(size):
        rank[order[r]] = r
    for r in range(size):
        for n in range(firsts[order[r]], firsts[order[r] + 1]):
            columns_from[r] = min(columns_from[r], rank[neighbours[n]])
        starts[r + 1] = starts[r] + r + 1 - columns_from[r]
    rows = np.zeros(starts[size])
    for r in range(size):
        for n in range(firsts[order[r]], firsts[order[r] + 1]):
            c = rank[neighbours[n]]
            if c <= r:
                rows[starts[r] + c - columns_from[r]] = values[n] - (floor if c == r else 0.0)
    return factorise(rows, columns_from, starts)[0] > 0


@compiled
def independent_supports(atom, starts, positions, gram, tolerance, independent):
    """Tell of each support whether the smallest eigenvalue of G_SS exceeds tolerance (1 + |S|)."""
    p1, p2 = positions[1], positions[2]
    n_positions = positions[0] * p1 * p2
    none = np.empty(0, np.int64)
    for code in range(len(starts) - 1):
        first, size = starts[code], starts[code + 1] - starts[code]
        filters, places = np.empty(size, np.int64), np.empty((3, size), np.int64)
        for k in range(size):
            filters[k], rest = divmod(atom[first + k], n_positions)
            places[0, k], rest = divmod(rest, p1 * p2)
            places[1, k], places[2, k] = divmod(rest, p2)
        firsts = np.empty(size + 1, np.int64)
        total = list_neighbours(filters, places, positions, gram, firsts, none, np.empty(0))
        neighbours, values = np.empty(total, np.int64), np.empty(total)
        list_neighbours(filters, places, positions, gram, firsts, neighbours, values)
        floor = tolerance * (1 + size)
        independent[code] = within_circles(firsts, neighbours, values, floor) or is_definite(
            firsts, neighbours, values, floor
        )
