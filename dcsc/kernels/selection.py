"""
What one-step thresholding needs of the correlations of a code: extremes, exceedances, the k largest.

Correlations lie as (position, filter), as `gather` leaves them; atoms are numbered in C order of
(filter, position).
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.gather import gather_code, list_rows, place_in_row, run_at, sort_by_last_axis
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
def code_correlations(room, pattern, atom, value, layout, n_filters, addition):
    """Correlations of one code, with an addition (filter, position) unless it is empty, as (position, filter)."""
    gather_code(room, pattern, atom, value, layout)
    size = layout[0, 0] * layout[0, 1] * layout[0, 2]
    flat = room[0][: size * n_filters].reshape(size, n_filters)
    if addition.size:
        add_transposed(flat, addition)
    return flat


@compiled
def code_margins(room, pattern, atom, value, starts, layout, n_filters, addition, one_sided, out):
    """Extremes of the correlations of each code: out (code, 3) of on-support, off-support and signed margins."""
    for trial in range(len(starts) - 1):
        first, last = starts[trial], starts[trial + 1]
        here, weights, found = atom[first:last], value[first:last], out[trial]
        found[0] = found[2] = np.inf
        if not addition.size:
            margins_by_tile(room, pattern, here, weights, layout, n_filters, one_sided, found)
            continue
        flat = code_correlations(room, pattern, here, weights, layout, n_filters, addition[trial])
        for k in range(len(here)):
            i, position = divmod(np.int64(here[k]), len(flat))
            take_from_support(flat[position], i, weights[k], one_sided, found)
        found[1] = largest(flat.ravel(), one_sided)


@compiled
def take_from_support(correlations, index, value, one_sided, out):
    """Count one active atom's correlation among those on the support, and take it out of the others."""
    correlation = correlations[index]
    out[0] = min(out[0], abs(correlation))
    out[2] = min(out[2], correlation if value > 0 else -correlation)
    correlations[index] = -np.inf if one_sided else 0.0


@compiled
def margins_by_tile(room, pattern, atom, value, layout, n_filters, one_sided, out):
    """Margins of one code; the correlations of a tile without active atoms never leave the registers."""
    target, counts, order, places, firsts, begins, offsets, weights, numbers, inner, inner_firsts = room
    lanes = ROW_BYTES // target.itemsize
    length = pattern.shape[4] - 2 * lanes
    size, patterns = layout[0, 2] * n_filters, pattern.ravel()
    sort_by_last_axis(atom, layout, counts, order[: len(atom)], places)
    list_rows(room, pattern, value, layout)
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
                multiply_row(tile, 0, 0, weights, 0, 0, run, patterns, t, sources)
                while place < t + lanes:
                    take_from_support(tile, place - t, value[inner[k]], one_sided, out)
                    k += 1
                    place = place_in_row(inner, k, stop, places, n_filters)
                tile[size - t :] = most
                most = max(most, largest_in_row(tile, not one_sided))
            elif one_sided:
                most = max(most, largest_value_of_row(weights, 0, 0, run, patterns, t, sources))
            else:
                most = max(most, largest_magnitude_of_row(weights, 0, 0, run, patterns, t, sources))
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
def code_supports(
    room,
    work,
    found,
    ordered,
    per_filter,
    pattern,
    atom,
    value,
    starts,
    layout,
    addition,
    rule,
    thresholds,
    lowest,
    sizes,
    out_atom,
    out_value,
    out_size,
):
    """
    One-step thresholding of consecutive codes; returns the entries needed, also beyond the room for them.

    `lowest` holds the number after each threshold, so that reaching it means to exceed the threshold.
    """
    n_filters = len(per_filter)
    needed = 0
    for trial in range(len(starts) - 1):
        first, last = starts[trial], starts[trial + 1]
        added = addition[min(trial, len(addition) - 1)]
        flat = code_correlations(room, pattern, atom[first:last], value[first:last], layout, n_filters, added)
        values = flat.ravel()
        threshold = thresholds[trial]
        ties_left = np.int64(0)
        n_found = 0
        if rule == TOP_K:
            if sizes[trial] > 0:
                threshold = kth_largest_magnitude(values, sizes[trial], work)
                n_found = reaching(values, threshold, False, found)
                above = 0
                for k in range(n_found):
                    above += abs(values[found[k]]) > threshold
                ties_left = sizes[trial] - above
        else:
            n_found = reaching(values, lowest[trial], rule == RELU, found)
        in_atom_order(found, n_found, n_filters, len(flat), per_filter, ordered)
        before = needed
        for k in range(n_found):
            i, position = divmod(ordered[k], len(flat))
            entry = flat[position, i]
            if rule == TOP_K:
                if abs(entry) == threshold:
                    ties_left -= 1
                    if ties_left < 0:
                        continue
            elif rule != HARD:
                entry = entry - threshold if entry > 0 or rule == RELU else entry + threshold
            if entry == 0:  # an exact zero is in no support
                continue
            if needed < len(out_atom):
                out_atom[needed] = ordered[k]
                out_value[needed] = entry
            needed += 1
        out_size[trial] = needed - before
    return needed
