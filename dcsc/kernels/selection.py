"""
What one-step thresholding needs of the correlations of a code: extremes, exceedances, the k largest.

Correlations lie as (position, filter), as `gather` leaves them; atoms are numbered in C order of
(filter, position).
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.gather import by_position, gather_code, list_rows, place_in_row, run_at, sort_by_last_axis
from dcsc.kernels.scatter import add_transposed
from dcsc.kernels.tiles import (
    ROW_BYTES,
    largest_in_row,
    largest_magnitude_of_row,
    largest_value_of_row,
    multiply_row,
)

CHUNK = 64
HARD, SOFT, RELU, TOP_K = 0, 1, 2, 3


@compiled
def largest(values, one_sided):
    """Largest magnitude, or largest value; lanes of their own, because one running maximum would not vectorise."""
    lanes = np.full(CHUNK, -np.inf, values.dtype)
    whole = len(values) // CHUNK * CHUNK
    for start in range(0, whole, CHUNK):
        chunk = values[start : start + CHUNK]
        for lane in range(CHUNK):
            entry = chunk[lane] if one_sided else abs(chunk[lane])
            lanes[lane] = entry if entry > lanes[lane] else lanes[lane]
    found = lanes[0]
    for lane in range(1, CHUNK):
        found = max(found, lanes[lane])
    for k in range(whole, len(values)):
        found = max(found, values[k] if one_sided else abs(values[k]))
    return found


@compiled
def code_correlations(scratch, patterns, atom, value, addition):
    """Correlations of one code, with an addition (filter, position) unless it is empty, as (position, filter)."""
    gather_code(scratch, patterns, atom, value)
    flat = by_position(scratch, patterns)
    if addition.size:
        add_transposed(flat, addition)
    return flat


@compiled
def code_margins(scratch, patterns, codes, addition, one_sided, out):
    """Extremes of the correlations of each code: out (code, 3) of on-support, off-support and signed margins."""
    for trial in range(len(out)):
        here = slice(codes.starts[trial], codes.starts[trial + 1])
        atom, value, found = codes.atom[here], codes.value[here], out[trial]
        found[0] = found[2] = np.inf
        if not addition.size:
            margins_by_tile(scratch, patterns, atom, value, one_sided, found)
            continue
        flat = code_correlations(scratch, patterns, atom, value, addition[trial])
        for k in range(len(atom)):
            i, position = divmod(np.int64(atom[k]), len(flat))
            take_from_support(flat[position], i, value[k], one_sided, found)
        found[1] = largest(flat.ravel(), one_sided)


@compiled
def take_from_support(correlations, index, value, one_sided, out):
    """Count one active atom's correlation among those on the support, and take it out of the others."""
    correlation = correlations[index]
    out[0] = min(out[0], abs(correlation))
    out[2] = min(out[2], correlation if value > 0 else -correlation)
    correlations[index] = -np.inf if one_sided else 0.0


@compiled
def margins_by_tile(scratch, patterns, atom, value, one_sided, out):
    """Margins of one code; the correlations of a tile without active atoms never leave the registers."""
    target, _, _, places, firsts, begins, offsets, weights, numbers, inner, inner_firsts = scratch
    layout, pattern, n_filters = patterns.layout, patterns.pattern.ravel(), patterns.layout[3, 2]
    lanes = ROW_BYTES // target.itemsize
    length, size = patterns.pattern.shape[4] - 2 * lanes, layout[0, 2] * n_filters
    sort_by_last_axis(scratch, layout, atom)
    list_rows(scratch, patterns, value)
    tile = target[:lanes]
    most = tile.dtype.type(-np.inf if one_sided else 0.0)
    for row in range(layout[0, 0] * layout[0, 1]):
        first = last = firsts[row]
        k, stop = inner_firsts[row], inner_firsts[row + 1]
        place = place_in_row(inner, k, stop, places, n_filters)
        for t in range(0, size, lanes):
            first, last = run_at(t, lanes, length, begins, first, last, firsts[row + 1])
            run, sources = numbers[first:last], offsets[first:last]
            if place < t + lanes or t + lanes > size:
                multiply_row(tile, 0, 0, weights, 0, 0, run, pattern, t, sources)
                while place < t + lanes:
                    take_from_support(tile, place - t, value[inner[k]], one_sided, out)
                    k += 1
                    place = place_in_row(inner, k, stop, places, n_filters)
                tile[size - t :] = most
                most = max(most, largest_in_row(tile, not one_sided))
            elif one_sided:
                most = max(most, largest_value_of_row(weights, 0, 0, run, pattern, t, sources))
            else:
                most = max(most, largest_magnitude_of_row(weights, 0, 0, run, pattern, t, sources))
    out[1] = most


@compiled
def in_atom_order(found, n_found, n_filters, n_positions, per_filter, atoms):
    """Order indices into (position, filter), ascending, by their atom number: one counting pass over the filters."""
    per_filter[:] = 0
    for k in range(n_found):
        per_filter[found[k] % n_filters] += 1
    total = 0
    for i in range(n_filters):
        count = per_filter[i]
        per_filter[i] = total
        total += count
    for k in range(n_found):
        position, i = divmod(found[k], n_filters)
        atoms[per_filter[i]] = i * n_positions + position
        per_filter[i] += 1


@compiled
def reaching(values, lowest, one_sided, found):
    """Write where the magnitudes (or values) reach a level, and one entry more; returns how many do."""
    n_found = 0
    for start in range(0, len(values), CHUNK):
        chunk = values[start : start + CHUNK]
        any_here = 0
        if one_sided:
            for lane in range(len(chunk)):  # counting vectorises; few chunks have anything to write
                any_here += chunk[lane] >= lowest
        else:
            for lane in range(len(chunk)):
                any_here += abs(chunk[lane]) >= lowest
        if any_here:
            for lane in range(len(chunk)):
                found[n_found] = start + lane  # overwritten unless it counts: a branch would be mispredicted
                n_found += (chunk[lane] if one_sided else abs(chunk[lane])) >= lowest
    return n_found


@compiled
def kth_largest(values, k):
    """Value of the k-th largest entry, k from 1, by quickselect; reorders the values."""
    low, high = 0, len(values) - 1
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if k - 1 <= right:
            high = right
        elif k - 1 >= left:
            low = left
        else:
            break
    return values[k - 1]


@compiled
def kth_largest_magnitude(values, k, work):
    """
    The k-th largest magnitude of an array that is left as it is.

    The k-th largest of the maxima of chunks bounds it from below, which leaves few candidates.
    """
    n_chunks = (len(values) + CHUNK - 1) // CHUNK
    bound = values.dtype.type(0)
    if k <= n_chunks:
        for c in range(n_chunks):
            work[c] = largest_of_chunk(values[c * CHUNK : (c + 1) * CHUNK])
        bound = kth_largest(work[:n_chunks], k)
    n_candidates = 0
    for start in range(0, len(values), CHUNK):
        chunk = values[start : start + CHUNK]
        any_here = 0
        for lane in range(len(chunk)):
            any_here += abs(chunk[lane]) >= bound
        if any_here:
            for lane in range(len(chunk)):
                entry = abs(chunk[lane])
                if entry >= bound:
                    work[n_candidates] = entry
                    n_candidates += 1
    return kth_largest(work[:n_candidates], k)


@compiled
def largest_of_chunk(chunk):
    """Largest magnitude of a short array."""
    found = abs(chunk[0])
    for lane in range(1, len(chunk)):
        found = max(found, abs(chunk[lane]))
    return found


@compiled
def candidates(values, rule, trial, work, found):
    """
    Write where a rule may keep correlations; returns how many, and the threshold of top-k with its places for ties.

    Those that reach `rule.lowest` exceed the threshold. Top-k needs `work`, an array as long as the correlations.
    """
    threshold = rule.thresholds[trial]
    if rule.number != TOP_K:
        return reaching(values, rule.lowest[trial], rule.number == RELU, found), threshold, np.int64(0)
    size = rule.sizes[trial]
    if size == 0:
        return 0, threshold, np.int64(0)
    threshold = kth_largest_magnitude(values, size, work)
    n_found, above = reaching(values, threshold, False, found), 0
    for k in range(n_found):
        above += abs(values[found[k]]) > threshold
    return n_found, threshold, np.int64(size - above)


@compiled
def shrunk(entry, number, threshold):
    """What soft thresholding or ReLU leaves of a correlation beyond the threshold; other rules leave it all."""
    if number in (HARD, TOP_K):
        return entry
    return entry - threshold if entry > 0 or number == RELU else entry + threshold


@compiled
def code_supports(scratch, work, found, ordered, per_filter, patterns, codes, addition, rule, out):
    """One-step thresholding of consecutive codes; returns the entries needed, also beyond those that `out` can hold."""
    needed = 0
    for trial in range(len(out.size)):
        here, before = slice(codes.starts[trial], codes.starts[trial + 1]), needed
        added = addition[min(trial, len(addition) - 1)]
        flat = code_correlations(scratch, patterns, codes.atom[here], codes.value[here], added)
        n_found, threshold, ties_left = candidates(flat.ravel(), rule, trial, work, found)
        in_atom_order(found, n_found, len(per_filter), len(flat), per_filter, ordered)
        for k in range(n_found):
            i, position = divmod(ordered[k], len(flat))
            entry = flat[position, i]
            if rule.number == TOP_K and abs(entry) == threshold:
                ties_left -= 1
                if ties_left < 0:
                    continue
            needed = write_entry(out, needed, ordered[k], shrunk(entry, rule.number, threshold))
        out.size[trial] = needed - before
    return needed


@compiled
def write_entry(out, written, atom, entry):
    """Write an entry behind the others if it fits; returns how many there are. An exact zero is in no support."""
    if entry == 0:
        return written
    if written < len(out.atom):
        out.atom[written], out.value[written] = atom, entry
    return written + 1
