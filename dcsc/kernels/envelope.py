"""
Gram matrices of supports within their envelope: few atoms meet each other, so that it is narrow.

Positions have three axes, padded with 1. Every support is looked at alone and in one order.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.scatter import coordinates
from dcsc.kernels.sorting import order_of

MET = 32
"""Atoms that meet each one, for which there is room at first."""


@compiled
def place_atoms(atom, positions):
    """Filter and place of each atom."""
    n_positions = positions[0] * positions[1] * positions[2]
    filters, places = np.empty(len(atom), np.int64), np.empty((3, len(atom)), np.int64)
    for k in range(len(atom)):
        filters[k], rest = divmod(np.int64(atom[k]), n_positions)
        places[0, k], places[1, k], places[2, k] = coordinates(rest, positions)
    return filters, places


@compiled
def list_neighbours(filters, places, positions, gram, firsts, neighbours, values):
    """
    List the atoms that meet each atom, itself included, with their inner products; gives their number.

    Lists that are too short hold the first ones.
    """
    n0, n1, n2 = (gram.shape[2] - 1) // 2, (gram.shape[3] - 1) // 2, (gram.shape[4] - 1) // 2
    p0, p1, p2 = positions
    head, following = np.full(p0 * p1 * p2, -1), np.empty(len(filters), np.int64)
    for k in range(len(filters) - 1, -1, -1):
        place = (places[0, k] * p1 + places[1, k]) * p2 + places[2, k]
        following[k], head[place] = head[place], k
    written = 0
    for k in range(len(filters)):
        firsts[k] = written
        for d0 in range(-n0, n0 + 1):
            x0 = places[0, k] + d0
            x0 += p0 if x0 < 0 else (-p0 if x0 >= p0 else 0)
            for d1 in range(-n1, n1 + 1):
                x1 = places[1, k] + d1
                x1 += p1 if x1 < 0 else (-p1 if x1 >= p1 else 0)
                for d2 in range(-n2, n2 + 1):
                    x2 = places[2, k] + d2
                    x2 += p2 if x2 < 0 else (-p2 if x2 >= p2 else 0)
                    m = head[(x0 * p1 + x1) * p2 + x2]
                    while m >= 0:
                        product = gram[filters[k], filters[m], n0 + d0, n1 + d1, n2 + d2]
                        if product != 0:
                            if written < len(neighbours):
                                neighbours[written], values[written] = m, product
                            written += 1
                        m = following[m]
    firsts[len(filters)] = written
    return written


@compiled
def meeting_atoms(filters, places, positions, gram):
    """The atoms that meet each atom, itself included, and their inner products: firsts, neighbours and values."""
    firsts, room = np.empty(len(filters) + 1, np.int64), len(filters) * MET
    neighbours, values = np.empty(room, np.int64), np.empty(room)
    total = list_neighbours(filters, places, positions, gram, firsts, neighbours, values)
    if total > room:
        neighbours, values = np.empty(total, np.int64), np.empty(total)
        list_neighbours(filters, places, positions, gram, firsts, neighbours, values)
    return firsts, neighbours[:total], values[:total]


@compiled
def order_component(start, firsts, neighbours, order, begin, visited, mark):
    """Order a connected component by the distance from its start, those of equal distance by few neighbours."""
    order[begin], visited[start] = start, mark
    end, done = begin + 1, begin
    while done < end:
        k, new = order[done], end
        done += 1
        for n in range(firsts[k], firsts[k + 1]):
            m = neighbours[n]
            if visited[m] == mark:
                continue
            visited[m] = mark
            degree, place = firsts[m + 1] - firsts[m], end
            while place > new and firsts[order[place - 1] + 1] - firsts[order[place - 1]] > degree:
                order[place] = order[place - 1]
                place -= 1
            order[place] = m
            end += 1
    return end


@compiled
def envelope_order(firsts, neighbours):
    """Reverse Cuthill-McKee order, each component from an atom at an end of it."""
    size = len(firsts) - 1
    order, visited = np.empty(size, np.int64), np.zeros(size, np.int64)
    end = 0
    degrees = np.empty(size, np.int64)
    for k in range(size):
        degrees[k] = firsts[k + 1] - firsts[k]
    by_degree = order_of(degrees, np.bool_(True))
    for rank in range(size):
        start = by_degree[rank]
        if visited[start]:
            continue
        begin = end
        end = order_component(start, firsts, neighbours, order, begin, visited, np.int64(1))
        order_component(order[end - 1], firsts, neighbours, order, begin, visited, np.int64(2))
    for k in range(size // 2):
        order[k], order[size - 1 - k] = order[size - 1 - k], order[k]
    return order


@compiled
def envelope_of(order, firsts, neighbours):
    """
    Lay out the rows of an ordered Gram matrix: rank of each atom, first column of each row, and where rows start.

    Row r holds the columns from columns_from[r] to r, at entries starts[r] to starts[r + 1].
    """
    size = len(order)
    rank, columns_from, starts = np.empty(size, np.int64), np.empty(size, np.int64), np.zeros(size + 1, np.int64)
    for r in range(size):
        rank[order[r]] = columns_from[r] = r
    for r in range(size):
        for n in range(firsts[order[r]], firsts[order[r] + 1]):
            columns_from[r] = min(columns_from[r], rank[neighbours[n]])
        starts[r + 1] = starts[r] + r + 1 - columns_from[r]
    return rank, columns_from, starts


@compiled
def fill_rows(order, rank, columns_from, starts, firsts, neighbours, values, floor):
    """Write the lower half of the ordered Gram matrix, less a floor on its diagonal."""
    rows = np.zeros(starts[len(order)])
    for r in range(len(order)):
        for n in range(firsts[order[r]], firsts[order[r] + 1]):
            c = rank[neighbours[n]]
            if c <= r:
                rows[starts[r] + c - columns_from[r]] = values[n] - (floor if c == r else 0.0)
    return rows


@compiled
def dot(first, second):
    """Inner product, in four sums so that they need not wait for each other."""
    a = b = c = d = 0.0
    whole = len(first) - len(first) % 4
    for n in range(0, whole, 4):
        a += first[n] * second[n]
        b += first[n + 1] * second[n + 1]
        c += first[n + 2] * second[n + 2]
        d += first[n + 3] * second[n + 3]
    for n in range(whole, len(first)):
        a += first[n] * second[n]
    return (a + b) + (c + d)


@compiled
def factorise(rows, columns_from, starts):
    """
    Factorise G = L L^T within its envelope, in place; gives the smallest and the largest pivot, 0 where it fails.

    Rows are those of `envelope_of`.
    """
    smallest, largest = np.inf, 0.0
    for r in range(len(columns_from)):
        row, left = rows[starts[r] : starts[r + 1]], columns_from[r]
        for c in range(left, r):
            above, first = rows[starts[c] : starts[c + 1]], columns_from[c]
            common = max(left, first)
            product = dot(row[common - left : c - left], above[common - first : c - first])
            row[c - left] = (row[c - left] - product) / above[c - first]
        pivot = row[r - left] - dot(row[: r - left], row[: r - left])
        if not pivot > 0:
            return 0.0, 1.0
        row[r - left] = np.sqrt(pivot)
        smallest, largest = min(smallest, row[r - left]), max(largest, row[r - left])
    return smallest, largest


@compiled
def solve(rows, columns_from, starts, right):
    """Solve L L^T x = right in place."""
    for r in range(len(columns_from)):
        row, left = rows[starts[r] : starts[r + 1]], columns_from[r]
        right[r] = (right[r] - dot(row[: r - left], right[left:r])) / row[r - left]
    for r in range(len(columns_from) - 1, -1, -1):
        row, left = rows[starts[r] : starts[r + 1]], columns_from[r]
        right[r] /= row[r - left]
        for n in range(r - left):
            right[left + n] -= row[n] * right[r]
