"""
Worst signs for one-step thresholding, from single entries of the Gram matrix of the active atoms.

Atoms come with their `places`, an array (atom, 4) of filter and three coordinates, and the Gram kernel
as (filter, filter, lag, lag, lag), as `ConvolutionalDictionary.gram` gives it.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.selection import largest


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
    """Filters and coordinates of atoms."""
    places = np.empty((len(atoms), 4), np.int64)
    for k in range(len(atoms)):
        place(atoms[k], positions, places[k])
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
def gram_among(gram, positions, places, magnitude, among):
    """Fill the Gram matrix of some atoms, unless it is empty; returns their largest |x_j g_ij| over i != j."""
    size = len(places)
    axis = np.argmax(positions)
    period, reach = positions[axis], gram.shape[2 + axis] // 2
    coordinate = places[:, 1 + axis].copy()
    order = np.argsort(coordinate)
    found = 0.0
    among[:] = 0
    for r in range(size):
        i = order[r]
        if len(among):
            among[i, i] = gram_entry(gram, positions, places, i, places, i)
        for step in range(1, size):  # along the longest axis, only what follows within reach
            j = order[r + step - size if r + step >= size else r + step]
            ahead = coordinate[j] - coordinate[i]
            if (ahead + period if ahead < 0 else ahead) > reach:
                break
            entry = gram_entry(gram, positions, places, i, places, j)
            found = max(found, abs(entry) * max(magnitude[i], magnitude[j]))
            if len(among):
                among[i, j] = among[j, i] = entry
    return found


@compiled
def separate(bound, atom, own, starts, extremes, where):
    """
    Worst cases of each code's active and inactive atoms: smallest own - bound, and largest bound.

    Writes them to `extremes` and their atoms, -1 if there are none, to `where`. Marks the active atoms by
    a bound of -1 - bound.
    """
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
def attack_threshold(gram, positions, atom, magnitude, starts, threshold, extremes, where, supports, out):
    """
    Choose the atom of the worst case at a threshold; out (code, 4) is atom, margin, breaks and a flag.

    An active atom that only meets the threshold is lost, an inactive one is not. The flag tells
    whether no single active atom interferes with another by more than the threshold, if `supports` asks for it.
    """
    for trial in range(len(starts) - 1):
        first, last = starts[trial], starts[trial + 1]
        beta = threshold[trial]
        on = extremes[trial, 0] - beta
        off = beta - extremes[trial, 1] if where[trial, 1] >= 0 else np.inf
        lost, found = where[trial, 0] >= 0 and on <= 0, off < 0
        active_is_worse = on < off or (on == off and where[trial, 0] < where[trial, 1])
        on_support = where[trial, 0] >= 0 and (active_is_worse if lost == found else lost)
        single = np.inf
        if supports:  # looks at all pairs of active atoms, which costs more than all the rest
            places = places_of(atom[first:last], positions)
            single = gram_among(gram, positions, places, magnitude[first:last], np.empty((0, 0)))
        out[trial, 0] = where[trial, 0] if on_support else where[trial, 1]
        out[trial, 1] = on if on_support else off
        out[trial, 2] = lost or found
        out[trial, 3] = single <= beta


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
    gram_among(gram, positions, places, magnitude, among)
    for i in range(size):
        lead[i] = -1 - bound[atom[i]] - own[i]
    order = np.argsort(-lead)
    most = lead[order[0]] + 1e-12 * (abs(lead[order[0]]) + bound[first_j] + 1.0)  # rounding must not cut the best off
    best, best_i, best_j, best_sign = -np.inf, -1, -1, 1.0
    candidates = np.full(1, first_j, np.int64)
    for sweep in range(2):
        if sweep == 1:
            candidates = np.flatnonzero(bound > max(best - most, -0.5))
            candidates = candidates[np.argsort(-bound[candidates])]
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
