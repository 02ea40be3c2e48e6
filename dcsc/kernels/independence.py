"""
Whether the atoms of a support are independent, from the inner products of those that meet.

Positions have three axes, padded with 1. Every code is looked at alone and in one order.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

from dcsc.kernels.compile import compiled
from dcsc.kernels.envelope import envelope_of, envelope_order, factorise, fill_rows, meeting_atoms, place_atoms

INJECTIVE = 1e-10
"""Over 1 + |S|: the smallest eigenvalue of G_SS above which the active atoms count as independent."""


@compiled
def within_circles(firsts, neighbours, values, floor):
    """Whether Gershgorin's circles keep every eigenvalue well above the floor."""
    for k in range(len(firsts) - 1):
        margin = -2 * floor
        for n in range(firsts[k], firsts[k + 1]):
            margin += values[n] if neighbours[n] == k else -abs(values[n])
        if not margin > 0:
            return False
    return True


@compiled
def is_definite(firsts, neighbours, values, floor):
    """Whether the Gram matrix less the floor on its diagonal has a Cholesky factorisation."""
    order = envelope_order(firsts, neighbours)
    rank, columns_from, starts = envelope_of(order, firsts, neighbours)
    rows = fill_rows(order, rank, columns_from, starts, firsts, neighbours, values, floor)
    return factorise(rows, columns_from, starts)[0] > 0


@compiled
def independent_supports(codes, positions, gram, tolerance, independent):
    """Tell of each support whether the smallest eigenvalue of G_SS exceeds tolerance (1 + |S|)."""
    for code in range(len(independent)):
        filters, places = place_atoms(codes.atom[codes.starts[code] : codes.starts[code + 1]], positions)
        firsts, neighbours, values = meeting_atoms(filters, places, positions, gram)
        floor = tolerance * (1 + len(filters))
        independent[code] = within_circles(firsts, neighbours, values, floor) or is_definite(
            firsts, neighbours, values, floor
        )
