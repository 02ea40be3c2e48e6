"""
Worst signs for one-step thresholding, from single entries of the Gram matrix of the active atoms.

Atoms come with their `places`, an array (atom, 4) of filter and three coordinates, and the Gram kernel
as (filter, filter, lag, lag, lag), as `ConvolutionalDictionary.gram` gives it.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.gather import list_rows, place_in_row, run_at, sort_by_last_axis
from dcsc.kernels.selection import largest
from dcsc.kernels.sorting import entries_at, order_of, place_of_most, places_where
from dcsc.kernels.tiles import ROW_BYTES, largest_in_row, largest_value_of_row, multiply_row


@compiled
def lag(distance, period, reach):
    """Index of a periodic distance, negative when out of reach."""
    distance = distance - period if distance > reach else distance
    distance = distance + period if distance < -reach else distance
    return distance + reach if distance <= reach else -1


@compiled
def place(atom, positions, out):
    """Filter and coordinates of an atom."""
    rest, out[3] = divmod(np.int64(atom), positions[2])
    rest, out[2] = divmod(rest, positions[1])
    out[0], out[1] = divmod(rest, positions[0])


@compiled
def places_of(atoms, positions):
    """Filters and coordinates of atoms, without divisions where an atom shares the filter of the last one on a line."""
    places = np.zeros((len(atoms), 4), np.int64)
    per_filter, filter_index, begin = positions[0] * positions[1] * positions[2], np.int64(0), np.int64(0)
    for k in range(len(atoms)):
        if atoms[k] < begin or atoms[k] >= begin + per_filter:
            filter_index = np.int64(atoms[k]) // per_filter
            begin = filter_index * per_filter
        rest = np.int64(atoms[k]) - begin
        if positions[0] * positions[1] > 1:
            rest, places[k, 3] = divmod(rest, positions[2])
            places[k, 1], places[k, 2] = divmod(rest, positions[1])
        else:
            places[k, 3] = rest
        places[k, 0] = filter_index
    return places


@compiled
def gram_entry(gram, positions, here, i, there, j):
    """Inner product of the i-th of some atoms and the j-th of others, by their places."""
    lag0 = lag(there[j, 1] - here[i, 1], positions[0], gram.shape[2] // 2)
    lag1 = lag(there[j, 2] - here[i, 2], positions[1], gram.shape[3] // 2)
    lag2 = lag(there[j, 3] - here[i, 3], positions[2], gram.shape[4] // 2)
    if lag0 < 0 or lag1 < 0 or lag2 < 0:
        return 0.0
    return float(gram[here[i, 0], there[j, 0], lag0, lag1, lag2])


@compiled
def signs_against(gram, positions, atom, starts, target, out):
    """Signs that drive a target atom of each code: down if it is active (itself +1), else up."""
    aim = np.empty((1, 4), np.int64)
    for trial in range(len(starts) - 1):
        first, last = starts[trial], starts[trial + 1]
        places = places_of(atom[first:last], positions)
        place(target[trial], positions, aim[0])
        active = False
        for k in range(first, last):
            active |= atom[k] == target[trial]
        for k in range(first, last):
            up = gram_entry(gram, positions, aim, 0, places, k - first) >= 0
            out[k] = 1 if up != active or atom[k] == target[trial] else -1


@compiled
def gram_among(gram, positions, places, among):
    """Fill the Gram matrix of some atoms."""
    size = len(places)
    axis = place_of_most(positions)
    period, reach = positions[axis], gram.shape[2 + axis] // 2
    coordinate = places[:, 1 + axis].copy()
    order = order_of(coordinate, np.bool_(False))
    among[:] = 0
    for r in range(size):
        i = order[r]
        among[i, i] = gram_entry(gram, positions, places, i, places, i)
        for step in range(1, size):  # along the longest axis, only what follows within reach
            j = order[r + step - size if r + step >= size else r + step]
            ahead = coordinate[j] - coordinate[i]
            if (ahead + period if ahead < 0 else ahead) > reach:
                break
            among[i, j] = among[j, i] = gram_entry(gram, positions, places, i, places, j)


@compiled
def atom_exceeds(gram, positions, places, magnitude, i, first, last, axis, low, high, beta):
    """Tell if the i-th atom and one of a run with a coordinate in low..high interfere with one another beyond beta."""
    while first < last:  # where such coordinates begin, as they ascend
        middle = (first + last) // 2
        if places[middle, axis] < low:
            first = middle + 1
        else:
            last = middle
    for j in range(first, len(places)):
        if places[j, 0] != places[first, 0] or places[j, axis] > high:
            break
        entry = abs(gram_entry(gram, positions, places, i, places, j))
        if j != i and entry * max(magnitude[i], magnitude[j]) > beta:
            return True
    return False


@compiled
def some_atom_exceeds(gram, peaks, positions, places, magnitude, beta):
    """
    Tell if some atom alone interferes with another one by more than beta; the atoms ascend.

    Two filters are looked at only if `peaks`, their largest inner product, leaves that open, and of their atoms only
    pairs within reach along the first axis.
    """
    size = len(places)
    axis = 1
    while axis < 3 and positions[axis - 1] == 1:
        axis += 1
    period, reach = positions[axis - 1], gram.shape[1 + axis] // 2
    begins, strongest = np.empty(size + 1, np.int64), np.zeros(size)
    n_runs = 0
    for k in range(size):
        if k == 0 or places[k, 0] != places[k - 1, 0]:
            begins[n_runs] = k
            n_runs += 1
        strongest[n_runs - 1] = max(strongest[n_runs - 1], magnitude[k])
    begins[n_runs] = size
    for a in range(n_runs):
        for b in range(a, n_runs):
            first, last = begins[b], begins[b + 1]
            peak = peaks[places[begins[a], 0], places[first, 0]]
            if peak * max(strongest[a], strongest[b]) <= beta:
                continue
            for i in range(begins[a], begins[a + 1]):
                here = places[i, axis]
                for turn in range(-1, 2):
                    low, high = here - reach + turn * period, here + reach + turn * period
                    if (
                        high >= 0
                        and low < period
                        and atom_exceeds(gram, positions, places, magnitude, i, first, last, axis, low, high, beta)
                    ):
                        return True
    return False


@compiled
def worst_of_code(scratch, patterns, atom, magnitude, own, extremes, where):
    """
    Smallest own - bound of the active atoms of a code, and largest bound of the others, with their atoms.

    The bounds sum |x_j| |g_ij| of a tile without active atoms leave the registers only if they hold the largest one.
    """
    target, _, _, places, firsts, begins, offsets, weights, numbers, inner, inner_firsts = scratch
    layout, pattern, n_filters = patterns.layout, patterns.pattern.ravel(), patterns.layout[3, 2]
    lanes = ROW_BYTES // target.itemsize
    length, tile = patterns.pattern.shape[4] - 2 * lanes, target[:lanes]
    n_rows, q2 = layout[0, 0] * layout[0, 1], layout[0, 2]
    size, per_filter = q2 * n_filters, n_rows * q2
    sort_by_last_axis(scratch, layout, atom)
    list_rows(scratch, patterns, magnitude)
    smallest, most, at_smallest, at_most = np.inf, -1.0, np.int64(-1), np.int64(-1)
    for row in range(n_rows):
        first = last = firsts[row]
        k, stop = inner_firsts[row], inner_firsts[row + 1]
        place = place_in_row(inner, k, stop, places, n_filters)
        for t in range(0, size, lanes):
            first, last = run_at(t, lanes, length, begins, first, last, firsts[row + 1])
            run, sources = numbers[first:last], offsets[first:last]
            stored = place < t + lanes or t + lanes > size
            if stored:
                multiply_row(tile, 0, 0, weights, 0, 0, run, pattern, t, sources)
                while place < t + lanes:
                    left, here = own[inner[k]] - tile[place - t], np.int64(atom[inner[k]])
                    if left < smallest or (left == smallest and here < at_smallest):
                        smallest, at_smallest = left, here
                    tile[place - t] = -1
                    k += 1
                    place = place_in_row(inner, k, stop, places, n_filters)
                tile[size - t :] = -1
                largest_here = largest_in_row(tile, False)
            else:
                largest_here = largest_value_of_row(weights, 0, 0, run, pattern, t, sources)
            if largest_here >= max(most, 0.0):
                if not stored:
                    multiply_row(tile, 0, 0, weights, 0, 0, run, pattern, t, sources)
                for lane in range(lanes):
                    if tile[lane] == largest_here:
                        position, i = divmod(t + lane, n_filters)
                        here = i * per_filter + row * q2 + position
                        if largest_here > most or here < at_most:
                            most, at_most = largest_here, here
    extremes[0], where[0] = smallest, at_smallest
    extremes[1], where[1] = max(most, 0.0), at_most


@compiled
def worst_of_codes(scratch, patterns, codes, own, extremes, where):
    """As `worst_of_code` for consecutive codes of magnitudes; an atom is -1 where there is none."""
    atom, magnitude, starts = codes
    for code in range(len(starts) - 1):
        here = slice(starts[code], starts[code + 1])
        worst_of_code(scratch, patterns, atom[here], magnitude[here], own[here], extremes[code], where[code])


@compiled
def separate(bound, codes, own, extremes, where):
    """
    Worst cases of each code's active and inactive atoms: smallest own - bound, and largest bound.

    Writes them to `extremes` and their atoms, -1 if there are none, to `where`. Marks the active atoms by
    a bound of -1 - bound.
    """
    atom, _, starts = codes
    for trial in range(len(starts) - 1):
        row = bound[trial]
        smallest, at = np.inf, np.int64(-1)
        for k in range(starts[trial], starts[trial + 1]):
            left = own[k] - row[atom[k]]
            if left < smallest:
                smallest, at = left, np.int64(atom[k])
            row[atom[k]] = -1 - row[atom[k]]
        extremes[trial, 0], where[trial, 0] = smallest, at
        most = largest(row, True)
        at = -1
        if most >= 0:
            at = 0
            while row[at] != most:
                at += 1
        extremes[trial, 1], where[trial, 1] = max(most, 0.0), at


@compiled
def attack_threshold(gram, peaks, positions, codes, threshold, extremes, where, out):
    """
    Choose the atom of the worst case at a threshold; out (code, 4) is atom, margin, breaks and a flag.

    An active atom that only meets the threshold is lost, an inactive one is not. The flag tells
    whether no single active atom interferes with another by more than the threshold.
    """
    for trial in range(len(out)):
        here, beta = slice(codes.starts[trial], codes.starts[trial + 1]), threshold[trial]
        on = extremes[trial, 0] - beta
        off = beta - extremes[trial, 1] if where[trial, 1] >= 0 else np.inf
        lost, found = where[trial, 0] >= 0 and on <= 0, off < 0
        active_is_worse = on < off or (on == off and where[trial, 0] < where[trial, 1])
        on_support = where[trial, 0] >= 0 and (active_is_worse if lost == found else lost)
        out[trial, 0] = where[trial, 0] if on_support else where[trial, 1]
        out[trial, 1] = on if on_support else off
        out[trial, 2] = lost or found
        places = places_of(codes.atom[here], positions)
        out[trial, 3] = not some_atom_exceeds(gram, peaks, positions, places, codes.value[here], beta)


@compiled
def pair_excess(magnitude, toward, among, i):
    """Largest s c_j - sign_i c_i over signs, for s = +1 and s = -1, of an active atom i and an inactive j."""
    plus, minus = 0.0, 0.0
    for k in range(len(magnitude)):
        plus += magnitude[k] * abs(toward[k] - among[i, k])
        minus += magnitude[k] * abs(toward[k] + among[i, k])
    # The active atom itself has its sign fixed to +1, which its term in the sums ignored.
    plus += magnitude[i] * (toward[i] - among[i, i] - abs(toward[i] - among[i, i]))
    minus += magnitude[i] * (-toward[i] - among[i, i] - abs(toward[i] + among[i, i]))
    return plus, minus


@compiled
def falling_order(values):
    """Order numbers, descending."""
    negative = np.empty(len(values))
    for k in range(len(values)):
        negative[k] = -values[k]
    return order_of(negative, np.bool_(False))


@compiled
def exceeding(values, level):
    """Where numbers exceed a level, ascending."""
    exceeds = np.empty(len(values), np.bool_)
    for k in range(len(values)):
        exceeds[k] = values[k] > level
    return places_where(exceeds)


@compiled
def worst_pair(gram, positions, atom, magnitude, own, bound, first_j, out_signs, out_pair):
    """
    Largest |c_j| - sign_i c_i over signs, active atoms i and inactive atoms j, of one code.

    `bound` holds sum |x_k| |g_ik| over k != i for every atom, marked by `separate`, and is largest at
    the inactive atom first_j. No pair can exceed bound_i - |x_i| g_ii + bound_j, so that few pairs have
    to be evaluated; those of first_j come first and rule most of the others out.
    """
    size = len(atom)
    places, aim = places_of(atom, positions), np.empty((1, 4), np.int64)
    among, toward, lead = np.empty((size, size)), np.empty(size), np.empty(size)
    gram_among(gram, positions, places, among)
    for i in range(size):
        lead[i] = -1 - bound[atom[i]] - own[i]
    order = falling_order(lead)
    most = lead[order[0]] + 1e-12 * (abs(lead[order[0]]) + bound[first_j] + 1.0)  # rounding must not cut the best off
    best, best_i, best_j, best_sign = -np.inf, -1, -1, 1.0
    candidates = np.full(1, first_j, np.int64)
    for sweep in range(2):
        if sweep == 1:
            candidates = exceeding(bound, max(best - most, -0.5))
            candidates = entries_at(candidates, falling_order(entries_at(bound, candidates)))
        for candidate in range(len(candidates)):
            j = candidates[candidate]
            if sweep == 1 and j == first_j:
                continue
            if most + bound[j] <= best:
                break
            place(j, positions, aim[0])
            for k in range(size):
                toward[k] = gram_entry(gram, positions, aim, 0, places, k)
            for rank in range(size):
                i = order[rank]
                if lead[i] + bound[j] + (most - lead[order[0]]) <= best:
                    break
                plus, minus = pair_excess(magnitude, toward, among, i)
                if plus > best:
                    best, best_i, best_j, best_sign = plus, i, j, 1.0
                if minus > best:
                    best, best_i, best_j, best_sign = minus, i, j, -1.0
    place(best_j, positions, aim[0])
    for k in range(size):
        entry = best_sign * gram_entry(gram, positions, aim, 0, places, k) - among[best_i, k]
        out_signs[k] = 1 if entry >= 0 or k == best_i else -1
    out_pair[0], out_pair[1] = atom[best_i], best_j
    return best
