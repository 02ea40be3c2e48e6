"""
Local measures of sparse codes: the fullest stripe, and the fullest or largest patch.

Positions and grids have three axes, padded with 1; `scratch` is written over.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.scatter import coordinates
from dcsc.kernels.sorting import most_of, sort

SPARSE = 16
"""Positions for each non-zero, beyond which sorting these takes at most half the time of counting at every position."""


@compiled
def sum_windows(counts, n_outer, period, step, before, length, line):
    """Replace counts along one axis by their sums over periodic windows that begin `before` each place."""
    for outer in range(n_outer):
        for inner in range(step):
            start = outer * period * step + inner
            for place in range(period):
                line[place] = counts[start + place * step]
            head, tail, total = (-before) % period, (-before) % period, 0
            for _ in range(length):
                total += line[head]
                head = head + 1 if head + 1 < period else 0
            for place in range(period):
                counts[start + place * step] = total
                total += line[head] - line[tail]
                head = head + 1 if head + 1 < period else 0
                tail = tail + 1 if tail + 1 < period else 0


@compiled
def fullest_window(places, length, period):
    """Largest number of sorted places in a periodic window of some length, which begins at one of them."""
    most, end = 0, 0
    for begin in range(len(places)):
        end = max(end, begin + 1)
        while end < begin + len(places):
            there = places[end] if end < len(places) else places[end - len(places)] + period
            if there >= places[begin] + length:
                break
            end += 1
        most = max(most, end - begin)
    return most


@compiled
def fullest_stripes(codes, positions, overlap, scratch, line, out):
    """Largest number of atoms in a stripe of each code."""
    atom, _, starts = codes
    n_positions = positions[0] * positions[1] * positions[2]
    counts = scratch[:n_positions]
    for code in range(len(starts) - 1):
        size = starts[code + 1] - starts[code]
        if positions[2] == n_positions and SPARSE * size < n_positions:  # one axis, and most places are empty
            places = counts[:size]
            for k in range(size):
                places[k] = atom[starts[code] + k] % n_positions
            sort(places)
            out[code] = fullest_window(places, min(2 * overlap[2] - 1, n_positions), n_positions)
            continue
        counts[:] = 0
        for k in range(starts[code], starts[code + 1]):
            counts[atom[k] % n_positions] += 1
        step, n_outer = n_positions, 1
        for axis in range(3):
            period = positions[axis]
            step //= period
            if period > 1:
                length = min(2 * overlap[axis] - 1, period)
                sum_windows(counts, n_outer, period, step, overlap[axis] - 1, length, line)
            n_outer *= period
        out[code] = most_of(counts)


@compiled
def largest_patches(codes, grid, step, taps, scratch, out):
    """Largest sum of values, none negative, in a patch of each code, taps long and a step apart along each axis."""
    atom, weight, starts = codes
    n_points = grid[0] * grid[1] * grid[2]
    n0, n1, n2 = grid[0] // step[0], grid[1] // step[1], grid[2] // step[2]
    sums = scratch[: n0 * n1 * n2]
    is_point = n0 * n1 * n2 == n_points and taps[0] * taps[1] * taps[2] == 1
    for code in range(len(starts) - 1):
        sums[:] = 0
        most, begin = 0.0, np.int64(0)
        for k in range(starts[code], starts[code + 1]):
            if is_point:  # a patch is one place, and a division would take longer than all else
                if atom[k] < begin or atom[k] >= begin + n_points:
                    begin = np.int64(atom[k]) // n_points * n_points
                sums[atom[k] - begin] += weight[k]
                most = max(most, sums[atom[k] - begin])
                continue
            x0, x1, x2 = coordinates(atom[k] % n_points, grid)
            for p0 in range(-((taps[0] - 1 - x0) // step[0]), x0 // step[0] + 1):
                row0 = (p0 + n0 if p0 < 0 else p0) * n1
                for p1 in range(-((taps[1] - 1 - x1) // step[1]), x1 // step[1] + 1):
                    row = (row0 + (p1 + n1 if p1 < 0 else p1)) * n2
                    for p2 in range(-((taps[2] - 1 - x2) // step[2]), x2 // step[2] + 1):
                        place = row + (p2 + n2 if p2 < 0 else p2)
                        sums[place] += weight[k]
                        most = max(most, sums[place])
        out[code] = most
