"""
Products with the Gram matrix of a working set, column by column.

A sum along a row waits for itself; columns are added to many rows at once, as vectors. Every row still adds its terms
in its own order, by turns to two sums, so that the bits are those of two sums along the row. `sums[0]` holds those
that are to receive a row's next term, `sums[1]` the others.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.arguments import Columns
from dcsc.kernels.compile import compiled, compiled_by_itself

TOGETHER = 4
"""Columns that are added at once where they reach the same rows; an even number."""
SHORTEST = 8
"""Mean length of columns below which a product takes no less time by columns than by rows."""


@compiled
def columns_of(row, col, val):
    """
    Rearrange a Gram matrix that is compressed by rows, without its diagonal, where 0 stands; its pattern is symmetric.

    There are none where a row lists its columns in another order than an ascending one, nor where they are too short.
    """
    firsts, none = np.zeros(len(row), np.int64), np.empty((0, 3), np.int64)
    is_served = len(col) >= SHORTEST * (len(row) - 1)
    for k in range(len(row) - 1):
        for pair in range(row[k] + 1, row[k + 1]):
            is_served &= col[pair - 1] < col[pair]
    if not is_served:
        return Columns(firsts, none, np.empty(0), firsts, firsts)
    runs = np.empty((list_runs(row, col, firsts, none), 3), np.int64)
    list_runs(row, col, firsts, runs)
    n = len(row) - 1
    values, following, own = np.empty(len(col) + n), np.empty(n, np.int64), np.empty(n, np.int64)
    for k in range(n):
        following[k] = row[k] + k
    for k in range(n):
        for pair in range(row[k], row[k + 1]):
            values[following[col[pair]]] = val[pair]
            following[col[pair]] += 1
        own[k] = following[k]
        values[own[k]] = 0.0
        following[k] += 1
    return Columns(firsts, runs, values, own, alike(firsts, runs))


@compiled
def list_runs(row, col, firsts, runs):
    """
    List the runs of rows that each column reaches, its own included; `firsts` says where those of a column begin.

    Each is its first row, the one after its last, and where its values begin. With an empty list they are only counted.
    """
    n_runs = 0
    for j in range(len(row) - 1):
        firsts[j], pair, at = n_runs, row[j], row[j] + j
        end, is_own_due = np.int64(-1), True
        while is_own_due or pair < row[j + 1]:
            if is_own_due and (pair == row[j + 1] or col[pair] > j):
                k, is_own_due = np.int64(j), False
            else:
                k = np.int64(col[pair])
                pair += 1
            if k != end:
                if len(runs):
                    runs[n_runs, 0], runs[n_runs, 2] = k, at
                n_runs += 1
            end = k + 1
            at += 1
            if len(runs):
                runs[n_runs - 1, 1] = end
    firsts[len(row) - 1] = n_runs
    return n_runs


@compiled
def alike(firsts, runs):
    """How many columns from each one on, itself included and `TOGETHER` at most, reach the same rows."""
    found = np.ones(len(firsts) - 1, np.int64)
    for j in range(len(firsts) - 3, -1, -1):
        size = firsts[j + 1] - firsts[j]
        same = firsts[j + 2] - firsts[j + 1] == size
        for r in range(size if same else 0):
            one, other = runs[firsts[j] + r], runs[firsts[j + 1] + r]
            same &= one[0] == other[0] and one[1] == other[1]
        found[j] = min(found[j + 1] + 1, TOGETHER) if same else 1
    return found


@compiled_by_itself
def add_column(current, other, values, weight):
    """Add a multiple of a column to the sums whose turn it is; then it is that of the others."""
    for k in range(len(current)):
        received = current[k] + values[k] * weight
        current[k] = other[k]
        other[k] = received


@compiled_by_itself
def add_columns(current, other, first, second, third, fourth, weights):
    """Add multiples of four columns, by turns."""
    a, b, c, d = weights
    for k in range(len(current)):
        current[k] = (current[k] + first[k] * a) + third[k] * c
        other[k] = (other[k] + second[k] * b) + fourth[k] * d


@compiled
def multiply(columns, diagonal, direction, sums, out):
    """Gram matrix times a direction."""
    current, other = sums[0], sums[1]
    runs, values, n = columns.runs, columns.values, len(direction)
    for k in range(n):
        current[k], other[k] = diagonal[k] * direction[k], 0.0
    before = np.empty((TOGETHER, 2))
    j = 0
    while j < n:
        together = TOGETHER if columns.alike[j] == TOGETHER else 1
        first, size = columns.firsts[j], columns.firsts[j + 1] - columns.firsts[j]
        for m in range(together):
            before[m, 0], before[m, 1] = current[j + m], other[j + m]
        for r in range(first, first + size):
            begin, end, at = runs[r]
            length = end - begin
            if together == 1:
                add_column(current[begin:end], other[begin:end], values[at : at + length], direction[j])
                continue
            at1, at2, at3 = runs[r + size, 2], runs[r + 2 * size, 2], runs[r + 3 * size, 2]
            add_columns(
                current[begin:end], other[begin:end], values[at : at + length], values[at1 : at1 + length],
                values[at2 : at2 + length], values[at3 : at3 + length],
                (direction[j], direction[j + 1], direction[j + 2], direction[j + 3]),
            )  # fmt: skip
        for m in range(together):  # the rows of these columns have one term less each
            now, then = before[m, 0], before[m, 1]
            for t in range(together):
                if t != m:
                    now, then = then, now + values[columns.own[j + t] + m - t] * direction[j + t]
            current[j + m], other[j + m] = now, then
        j += together
    for k in range(n):
        out[k] = current[k] + other[k]
