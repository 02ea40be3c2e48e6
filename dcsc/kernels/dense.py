"""
Correlations of dense arrays with all filters, in tiles, and what is done to them while they are in the cache.

Sources are polyphase components (channel * phase), padded periodically, so that any stride is a
correlation with stride 1; a table of offsets says where each term of a sum lies from a position.

========  =======================  ================================================================
array     axes                     meaning
========  =======================  ================================================================
padded    (trial, entry)           padded components of each trial, and a tile more to read on
weights   (group, term, row)       filters in groups of `tiles.ROWS`, or (term, lane) filters in lanes
out       (trial, filter, place)   correlations, positions in C order
========  =======================  ================================================================
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled, inlined
from dcsc.kernels.scatter import add_code, add_runs, fold_runs
from dcsc.kernels.selection import HARD, RELU, SOFT, TOP_K, candidates, largest, shrunk, take_from_support, write_entry
from dcsc.kernels.tiles import (
    MASK,
    ROW_BYTES,
    ROWS,
    TILE_BYTES,
    WRITTEN,
    multiply_row,
    multiply_rows,
    nonzero_mask,
    number_of_bits,
    write_places,
)

KEEP = -1
"""The rule that leaves the correlations as they are."""
SPARE_BYTES = max(ROWS * TILE_BYTES, ROW_BYTES)
"""Bytes of a tile of either kind."""
SPARE_PLACES = WRITTEN
"""Places of a list that `find_nonzeros` may write to beyond what it finds."""
PART = 512
"""Entries of a code that are looked at together: while patterns are added, what comes next is fetched from memory."""


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
def multiply(out, start, step, convolution, f_start, padded, s_start, is_group):
    """A tile of a group of filters, or of the only one."""
    weights, f_offsets, offsets = convolution.weights, convolution.weight_offsets, convolution.offsets
    if is_group:
        multiply_rows(out, start, step, weights, f_start, 1, f_offsets, padded, s_start, offsets)
    else:
        multiply_row(out, start, step, weights, f_start, 1, f_offsets, padded, s_start, offsets)


@compiled
def positions_in_lanes(out, padded, convolution, spare, rule, threshold):
    """Correlate one trial, a group of filters and a run of positions at a time; out (filter, place), flat."""
    rows, run = convolution.rows, convolution.run
    n_places = len(rows) * run
    n_filters = len(out) // n_places
    is_group = n_filters > 1
    group, lanes = (ROWS, TILE_BYTES // out.itemsize) if is_group else (1, ROW_BYTES // out.itemsize)
    for first in range(0, n_filters, group):
        n_here, start = min(group, n_filters - first), first * len(convolution.offsets)
        for row in range(len(rows)):
            for s in range(0, run, lanes):
                target, n_valid = first * n_places + row * run + s, min(lanes, run - s)
                if n_here == group and n_valid == lanes:
                    multiply(out, target, n_places, convolution, start, padded, rows[row] + s, is_group)
                    continue
                multiply(spare, 0, lanes, convolution, start, padded, rows[row] + s, is_group)
                for r in range(n_here):
                    for lane in range(n_valid):
                        out[target + r * n_places + lane] = spare[r * lanes + lane]
        if rule != KEEP:
            apply_rule(out[first * n_places : (first + n_here) * n_places], rule, threshold)


@compiled
def filters_in_lanes(out, padded, convolution, spare, rule, threshold):
    """As `positions_in_lanes`, for few positions along the last axis and many filters."""
    weights, f_offsets, offsets, rows, run, _ = convolution
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
def correlate_trial(out, padded, convolution, spare, rule, threshold):
    """Correlate one trial in the layout that fills the lanes, with the help of a spare tile."""
    if convolution.in_lanes:
        filters_in_lanes(out, padded, convolution, spare, rule, threshold)
    else:
        positions_in_lanes(out, padded, convolution, spare, rule, threshold)


@compiled
def correlate_trials(out, padded, convolution, rule, thresholds):
    """Correlate consecutive trials and threshold them; out (trial, filter * place)."""
    spare = np.empty(SPARE_BYTES // out.itemsize, out.dtype)
    for trial in range(len(out)):
        threshold = thresholds[min(trial, len(thresholds) - 1)]
        correlate_trial(out[trial], padded[trial], convolution, spare, rule, threshold)


@inlined
def find_nonzeros(code, start, stop, atoms):
    """
    Write where a part of a code is not 0, ascending, with `SPARE_PLACES` of the list left; returns how many.

    Numbers are written a few at a time, however many there are: which entries are not 0 cannot be foretold, and a
    branch on it takes longer than they do.
    """
    n_found = 0
    whole = start + (stop - start) // MASK * MASK
    for first in range(start, whole, MASK):
        mask = nonzero_mask(code, first)
        n_after = n_found + number_of_bits(mask)
        mask = write_places(atoms, n_found, mask, first)
        while mask != 0:
            n_found += WRITTEN
            mask = write_places(atoms, n_found, mask, first)
        n_found = n_after
    for place in range(whole, stop):
        atoms[n_found] = place
        n_found += code[place] != 0
    return n_found


@compiled
def count_nonzeros(code, start):
    """Count the entries of a code from one on that are not 0."""
    n_found = 0
    whole = start + (len(code) - start) // MASK * MASK
    for first in range(start, whole, MASK):
        n_found += number_of_bits(nonzero_mask(code, first))
    for place in range(whole, len(code)):
        n_found += code[place] != 0
    return n_found


@compiled
def margins_of(values, atoms, signs, one_sided, out):
    """Extremes of correlations (filter * place) on and off a support; spoils those on the support."""
    out[0] = out[2] = np.inf
    for k in range(len(atoms)):
        take_from_support(values, atoms[k], signs[k], one_sided, out)
    out[1] = largest(values, one_sided)


@compiled
def correlations_of(values, padded, convolution, spare, trial):
    """Correlations of one of some trials: those at hand, or, where a padded source is given, new ones."""
    here = values[min(trial, len(values) - 1)]
    if len(padded):
        correlate_trial(here, padded[trial], convolution, spare, KEEP, values[0, 0])
    return here


@compiled
def trial_margins(values, padded, convolution, codes, one_sided, out):
    """Margins of consecutive trials: out (trial, 3); values (trial, filter * place), or one row to reuse."""
    spare = np.empty(SPARE_BYTES // values.itemsize, values.dtype)
    for trial in range(len(out)):
        here = slice(codes.starts[trial], codes.starts[trial + 1])
        correlations = correlations_of(values, padded, convolution, spare, trial)
        margins_of(correlations, codes.atom[here], codes.value[here], one_sided, out[trial])


@compiled
def trial_supports(values, padded, convolution, rule, work, found, out):
    """One-step thresholding of consecutive trials; returns the entries needed, also beyond those `out` can hold."""
    spare, needed = np.empty(SPARE_BYTES // values.itemsize, values.dtype), 0
    for trial in range(len(out.size)):
        here, before = correlations_of(values, padded, convolution, spare, trial), needed
        n_found, threshold, ties_left = candidates(here, rule, trial, work, found)
        for k in range(n_found):
            entry = here[found[k]]
            if rule.number == TOP_K and abs(entry) == threshold:
                ties_left -= 1
                if ties_left < 0:
                    continue
            needed = write_entry(out, needed, found[k], shrunk(entry, rule.number, threshold))
        out.size[trial] = needed - before
    return needed


@compiled
def are_finite(values):
    """Tell whether all values are finite."""
    found = True
    for k in range(len(values)):
        found &= abs(values[k]) < np.inf
    return found


@compiled
def scatter_code(scratch, pattern, runs, code, most, atoms):
    """
    Add up a code of at most so many non-zeros, a part at a time, while it is in the cache; returns whether it has few.

    All are counted when their part is larger than that of the entries read, so that hardly any are added in vain.
    """
    n_found, is_counted = 0, False
    for start in range(0, len(code), PART):
        stop = min(start + PART, len(code))
        n_here = find_nonzeros(code, start, stop, atoms)
        n_found += n_here
        if not is_counted and n_found * len(code) > most * stop:
            if n_found + count_nonzeros(code, stop) > most:
                return False
            is_counted = True
        add_runs(scratch, pattern, runs, atoms, code, True, 0, n_here)
    return True


@compiled
def scatter_trials(out, scratch, pattern, runs, codes, most, left):
    """Synthesize the codes of at most so many non-zeros, and say which are left; returns whether they are finite."""
    atoms = np.empty(PART + SPARE_PLACES, np.int32)
    for trial in range(len(codes)):
        scratch[:] = 0
        if scatter_code(scratch, pattern, runs, codes[trial], most, atoms):
            if not are_finite(scratch) and not are_finite(codes[trial]):
                return False
            fold_runs(out[trial], scratch, runs)
            left[trial] = False
    return True


@compiled
def scatter_integers(out, patterns, codes, atoms, values):
    """Synthesize codes of integers, exactly."""
    for trial in range(len(codes)):
        n_found = find_nonzeros(codes[trial], 0, codes.shape[1], atoms)
        for k in range(n_found):
            values[k] = codes[trial, atoms[k]]
        add_code(out[trial], patterns, atoms[:n_found], values)
