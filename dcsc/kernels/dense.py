"""
Correlations of dense arrays with all filters, in tiles, and what is done to them while they are in the cache.

Sources are polyphase components (channel * phase), padded periodically, so that any stride is a
correlation with stride 1; a table of offsets says where each term of a sum lies from a position.

========  =======================  ================================================================
array     axes                     meaning
========  =======================  ================================================================
padded    (trial, entry)           padded components of each trial, with room for a tile to read on
weights   (group, term, row)       filters in groups of `tiles.ROWS`, or (term, lane) filters in lanes
offsets   (term,)                  where each term's source lies from a position
rows      (row,)                   where each run of positions along the last axis starts
out       (trial, filter, place)   correlations, positions in C order
========  =======================  ================================================================
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.scatter import add_code, add_code_by_runs
from dcsc.kernels.selection import HARD, RELU, SOFT, TOP_K, kth_largest_magnitude, largest, reaching
from dcsc.kernels.tiles import MASK, ROW_BYTES, ROWS, TILE_BYTES, lowest_bit, multiply_row, multiply_rows, nonzero_mask

KEEP = -1
"""The rule that leaves the correlations as they are."""


@compiled
def apply_rule(run, rule, threshold):
    """Threshold a run of correlations in place."""
    if rule == HARD:
        for p in range(len(run)):
            run[p] = run[p] if abs(run[p]) > threshold else 0
    elif rule == SOFT:
        for p in range(len(run)):
            less = run[p] - threshold if run[p] > 0 else run[p] + threshold
            run[p] = less if abs(run[p]) > threshold else 0
    elif rule == RELU:
        for p in range(len(run)):
            run[p] = run[p] - threshold if run[p] > threshold else 0


@compiled
def positions_in_lanes(out, padded, weights, f_offsets, offsets, rows, run, spare, rule, threshold):
    """Correlate one trial, a group of filters and a run of positions at a time; out (filter, place), flat."""
    n_places = len(rows) * run
    n_filters = len(out) // n_places
    group = ROWS if n_filters > 1 else 1
    lanes = (TILE_BYTES if n_filters > 1 else ROW_BYTES) // out.itemsize
    for first in range(0, n_filters, group):
        n_here = min(group, n_filters - first)
        start = first * len(offsets)
        for row in range(len(rows)):
            for s in range(0, run, lanes):
                target = first * n_places + row * run + s
                n_valid = min(lanes, run - s)
                if n_here == group and n_valid == lanes:
                    if group == 1:
                        multiply_row(
                            out, target, n_places, weights, start, 1, f_offsets, padded, rows[row] + s, offsets
                        )
                    else:
                        multiply_rows(
                            out, target, n_places, weights, start, 1, f_offsets, padded, rows[row] + s, offsets
                        )
                else:
                    if group == 1:
                        multiply_row(spare, 0, lanes, weights, start, 1, f_offsets, padded, rows[row] + s, offsets)
                    else:
                        multiply_rows(spare, 0, lanes, weights, start, 1, f_offsets, padded, rows[row] + s, offsets)
                    for r in range(n_here):
                        for lane in range(n_valid):
                            out[target + r * n_places + lane] = spare[r * lanes + lane]
        if rule != KEEP:
            apply_rule(out[first * n_places : (first + n_here) * n_places], rule, threshold)


@compiled
def filters_in_lanes(out, padded, weights, f_offsets, offsets, rows, run, spare, rule, threshold):
    """As `positions_in_lanes`, for few positions along the last axis and many filters."""
    lanes = TILE_BYTES // out.itemsize
    n_places = len(rows) * run
    n_filters = len(out) // n_places
    for first in range(0, n_filters, lanes):
        n_here = min(lanes, n_filters - first)
        for row in range(len(rows)):
            for s in range(0, run, ROWS):
                multiply_rows(spare, 0, lanes, padded, rows[row] + s, 1, offsets, weights, first, f_offsets)
                n_valid = min(ROWS, run - s)
                for lane in range(n_here):
                    target = (first + lane) * n_places + row * run + s
                    for r in range(n_valid):
                        out[target + r] = spare[r * lanes + lane]
        if rule != KEEP:
            apply_rule(out[first * n_places : (first + n_here) * n_places], rule, threshold)


@compiled
def correlate_trial(out, padded, weights, f_offsets, offsets, rows, run, in_lanes, spare, rule, threshold):
    """Correlate one trial in the layout that fills the lanes."""
    if in_lanes:
        filters_in_lanes(out, padded, weights, f_offsets, offsets, rows, run, spare, rule, threshold)
    else:
        positions_in_lanes(out, padded, weights, f_offsets, offsets, rows, run, spare, rule, threshold)


@compiled
def correlate_trials(out, padded, weights, f_offsets, offsets, rows, run, in_lanes, spare, rule, thresholds):
    """Correlate consecutive trials and threshold them; out (trial, filter * place)."""
    for trial in range(len(out)):
        correlate_trial(
            out[trial],
            padded[trial],
            weights,
            f_offsets,
            offsets,
            rows,
            run,
            in_lanes,
            spare,
            rule,
            thresholds[min(trial, len(thresholds) - 1)],
        )


@compiled
def find_nonzeros(code, atoms, values):
    """Write where a code is not 0 and its values; returns how many, or -1 when there is no room for them."""
    n_found = 0
    whole = len(code) // MASK * MASK
    for start in range(0, whole, MASK):
        mask = nonzero_mask(code, start)
        while mask != 0:
            if n_found == len(atoms):
                return -1
            place = start + lowest_bit(mask)
            atoms[n_found] = place
            values[n_found] = code[place]
            n_found += 1
            mask &= mask - np.uint64(1)
    for place in range(whole, len(code)):
        if code[place] != 0:
            if n_found == len(atoms):
                return -1
            atoms[n_found] = place
            values[n_found] = code[place]
            n_found += 1
    return n_found


@compiled
def margins_of(values, atoms, signs, one_sided, out):
    """Extremes of correlations (filter * place) on and off a support; spoils those on the support."""
    smallest_on, smallest_signed = np.inf, np.inf
    for k in range(len(atoms)):
        correlation = values[atoms[k]]
        smallest_on = min(smallest_on, abs(correlation))
        smallest_signed = min(smallest_signed, correlation if signs[k] > 0 else -correlation)
        values[atoms[k]] = -np.inf if one_sided else 0.0
    out[0] = smallest_on
    out[1] = largest(values, one_sided)
    out[2] = smallest_signed


@compiled
def support_of(values, rule, threshold, lowest, size, work, found, out_atom, out_value, written):
    """Threshold correlations (filter * place) into a sparse code after what is written; returns its size."""
    ties_left = np.int64(0)
    n_found = 0
    if rule == TOP_K:
        if size > 0:
            threshold = kth_largest_magnitude(values, size, work)
            n_found = reaching(values, threshold, False, found)
            above = 0
            for k in range(n_found):
                above += abs(values[found[k]]) > threshold
            ties_left = size - above
    else:
        n_found = reaching(values, lowest, rule == RELU, found)
    needed = 0
    for k in range(n_found):
        entry = values[found[k]]
        if rule == TOP_K:
            if abs(entry) == threshold:
                ties_left -= 1
                if ties_left < 0:
                    continue
        elif rule != HARD:
            entry = entry - threshold if entry > 0 or rule == RELU else entry + threshold
        if entry == 0:  # an exact zero is in no support
            continue
        if written + needed < len(out_atom):
            out_atom[written + needed] = found[k]
            out_value[written + needed] = entry
        needed += 1
    return needed


@compiled
def trial_margins(values, padded, convolution, atom, sign, starts, one_sided, out):
    """Margins of consecutive trials: out (trial, 3); values (trial, filter * place), or one row to reuse."""
    weights, f_offsets, offsets, rows, run, in_lanes, spare = convolution
    for trial in range(len(out)):
        here = values[min(trial, len(values) - 1)]
        if len(padded):
            correlate_trial(
                here, padded[trial], weights, f_offsets, offsets, rows, run, in_lanes, spare, KEEP, values[0, 0]
            )
        first, last = starts[trial], starts[trial + 1]
        margins_of(here, atom[first:last], sign[first:last], one_sided, out[trial])


@compiled
def trial_supports(
    values, padded, convolution, rule, thresholds, lowest, sizes, work, found, out_atom, out_value, out_size
):
    """One-step thresholding of consecutive trials; returns the entries needed, also beyond the room for them."""
    weights, f_offsets, offsets, rows, run, in_lanes, spare = convolution
    written = 0
    for trial in range(len(out_size)):
        here = values[min(trial, len(values) - 1)]
        if len(padded):
            correlate_trial(
                here, padded[trial], weights, f_offsets, offsets, rows, run, in_lanes, spare, KEEP, values[0, 0]
            )
        needed = support_of(
            here, rule, thresholds[trial], lowest[trial], sizes[trial], work, found, out_atom, out_value, written
        )
        out_size[trial] = needed
        written += needed
    return written


@compiled
def scatter_trials(out, room, pattern, reach, codes, atoms, values, layout, left):
    """Synthesize the codes whose non-zeros fit in the room for them, and say which are left."""
    for trial in range(len(codes)):
        n_found = find_nonzeros(codes[trial], atoms, values)
        if n_found >= 0:
            add_code_by_runs(out[trial], room, pattern, reach, atoms[:n_found], values[:n_found], layout)
            left[trial] = False


@compiled
def scatter_integers(out, pattern, codes, atoms, values, layout):
    """Synthesize codes of integers, exactly."""
    for trial in range(len(codes)):
        n_found = find_nonzeros(codes[trial], atoms, values)
        add_code(out[trial], pattern, atoms[:n_found], values[:n_found], layout)
