"""
The interference of a layer at every atom: what of it concerns the support, and its extremes elsewhere.

Interference is summed a tile at a time, as `gather` does it, over patterns |g_ij| whose atoms do not reach themselves;
one reading of a pattern gives the bound sum |x_j| |g_ij| and the variance sum x_j^2 g_ij^2. Nothing of the other atoms
is written but what `dcsc.kernels.failure` can need.

=============  ===========  =================================================================
array          axes         meaning
=============  ===========  =================================================================
on             (non-zero,)  sums at the active atoms
kept           (atom,)      sums off the support, tile after tile; a bound is `ACTIVE` where none counts
most           (3 * lane,)  lanes of the largest bound, variance and squared level of them
extremes       (3,)         largest bound, variance and level off the support
=============  ===========  =================================================================

The level of an atom is min(sqrt(v growth), b).
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.arguments import Sums
from dcsc.kernels.compile import compiled
from dcsc.kernels.gather import list_rows, place_in_row, run_at, sort_by_last_axis
from dcsc.kernels.sorting import most_of
from dcsc.kernels.tiles import ROW_BYTES, VECTOR_BYTES, raise_extremes, sums_and_squares_of_row

LANES = ROW_BYTES // 16
"""Atoms of a tile: two sums of each are kept in registers."""
ACTIVE = -1.0
"""The bound of an atom that does not count: below every margin."""


@compiled
def code_interference(scratch, most, patterns, atom, magnitude, growth, lowest, on, kept):
    """
    Interference of one code; returns how many atoms it keeps, and the atom of the largest bound off the support.

    Keeps whole tiles with a bound of at least `lowest`; the atom is the lowest of equals, and -1 if there is none.
    """
    _, _, _, places, firsts, begins, offsets, weights, _, inner, inner_firsts = scratch
    layout, pattern, n_filters = patterns.layout, patterns.pattern.ravel(), patterns.layout[3, 2]
    length = patterns.pattern.shape[4] - 2 * (ROW_BYTES // 8)
    n_rows, q2 = layout[0, 0] * layout[0, 1], layout[0, 2]
    size, per_filter = q2 * n_filters, n_rows * q2
    on_bound, on_variance, kept_bound, kept_variance = on.bound, on.variance, kept.bound, kept.variance
    sort_by_last_axis(scratch, layout, atom)
    list_rows(scratch, patterns, magnitude)
    most[:] = 0.0
    n_kept, worst, worst_atom = 0, 0.0, np.int64(-1)
    for row in range(n_rows):
        first = last = firsts[row]
        k, stop = inner_firsts[row], inner_firsts[row + 1]
        place = place_in_row(inner, k, stop, places, n_filters)
        for t in range(0, size, LANES):
            first, last = run_at(t, LANES, length, begins, first, last, firsts[row + 1])
            sums_and_squares_of_row(
                kept_bound, kept_variance, n_kept, weights[first:last], pattern, t, offsets[first:last]
            )
            while place < t + LANES:
                here = n_kept + place - t
                on_bound[inner[k]], on_variance[inner[k]] = kept_bound[here], kept_variance[here]
                kept_bound[here], kept_variance[here] = ACTIVE, 0.0
                k += 1
                place = place_in_row(inner, k, stop, places, n_filters)
            for here in range(n_kept + size - t, n_kept + LANES):  # what lies beyond the last position
                kept_bound[here], kept_variance[here] = ACTIVE, 0.0
            largest = raise_extremes(most, kept_bound, kept_variance, n_kept, growth)
            if largest >= worst:
                for lane in range(LANES):
                    if kept_bound[n_kept + lane] == largest:
                        there, i = divmod(t + lane, n_filters)
                        here = i * per_filter + row * q2 + there
                        if largest > worst or worst_atom < 0 or here < worst_atom:
                            worst, worst_atom = largest, here
            if largest >= lowest:
                n_kept += LANES
    return n_kept, worst_atom


@compiled
def extremes_of(most, extremes):
    """Largest bound, variance and level off the support, from their lanes."""
    lanes = len(most) // 3
    for k in range(3):
        extremes[k] = most_of(most[k * lanes : (k + 1) * lanes])
    extremes[2] = np.sqrt(extremes[2])


@compiled
def add_noise(kept, n_kept, noise, growth, extremes):
    """Count Gaussian noise of a variance in: no bound holds any more, and levels sqrt((v + noise) growth) grow."""
    bound, variance = kept.bound, kept.variance
    more, most = np.sqrt(noise * growth), 0.0
    for k in range(n_kept):
        if bound[k] >= 0:
            variance[k] += noise
            most = max(most, min(np.sqrt(variance[k] * growth), bound[k] + more))
            bound[k] = np.inf
    extremes[2] = most


@compiled
def all_tiles(layout):
    """Entries of the tiles of all atoms, and of one more that may be written over."""
    return layout[0, 0] * layout[0, 1] * (layout[0, 2] * layout[3, 2] + LANES) + LANES


@compiled
def part_of(sums, here):
    """Some of the sums."""
    return Sums(sums.bound[here], sums.variance[here])


@compiled
def layer_interference(scratch, patterns, codes, growth, noise, on, extremes, worst_atom):
    """Interference of consecutive codes, on their supports, and its extremes (code, 3) and worst atom elsewhere."""
    size, most, lowest = all_tiles(patterns.layout), np.empty(3 * VECTOR_BYTES // 8), 0.0 if noise > 0 else np.inf
    kept = Sums(np.empty(size), np.empty(size))
    for code in range(len(codes.starts) - 1):
        here = slice(codes.starts[code], codes.starts[code + 1])
        n_kept, worst_atom[code] = code_interference(
            scratch, most, patterns, codes.atom[here], codes.value[here], growth, lowest, part_of(on, here), kept
        )
        extremes_of(most, extremes[code])
        if noise > 0:
            add_noise(kept, n_kept, noise, growth, extremes[code])
