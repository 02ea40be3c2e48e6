"""Worst signs for one-step thresholding, from single entries of the Gram matrix of the active atoms."""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled


@compiled
def lag(first, second, period, reach):
    """Signed periodic distance from one position to another as an index, -1 when out of reach."""
    distance = second - first
    if distance > reach:
        distance -= period
    elif distance < -reach:
        distance += period
    return distance + reach if -reach <= distance <= reach else -1


@compiled
def gram_entry(gram, positions, a, b):
    """Inner product of two atoms; gram (filter, filter, lag, lag, lag) as `ConvolutionalDictionary.gram`."""
    per_filter = positions[0] * positions[1] * positions[2]
    i, p = divmod(a, per_filter)
    j, q = divmod(b, per_filter)
    d2 = lag(p % positions[2], q % positions[2], positions[2], gram.shape[4] // 2)
    if d2 < 0:
        return 0.0
    p, q = p // positions[2], q // positions[2]
    d1 = lag(p % positions[1], q % positions[1], positions[1], gram.shape[3] // 2)
    if d1 < 0:
        return 0.0
    d0 = lag(p // positions[1], q // positions[1], positions[0], gram.shape[2] // 2)
    if d0 < 0:
        return 0.0
    return float(gram[i, j, d0, d1, d2])


@compiled
def signs_against(gram, positions, atom, starts, target, out):
    """Signs that drive a target atom of each code: down if it is active (itself +1), else up."""
    for trial in range(len(starts) - 1):
        first, last = starts[trial], starts[trial + 1]
        active = False
        for k in range(first, last):
            active |= atom[k] == target[trial]
        for k in range(first, last):
            entry = gram_entry(gram, positions, np.int64(target[trial]), np.int64(atom[k]))
            up = entry >= 0
            out[k] = 1 if up != active or atom[k] == target[trial] else -1


@compiled
def largest_single_interference(gram, positions, atom, magnitude, starts, out):
    """Largest |x_j g_ij| over two different active atoms of each code."""
    for trial in range(len(starts) - 1):
        found = 0.0
        for i in range(starts[trial], starts[trial + 1]):
            for j in range(starts[trial], starts[trial + 1]):
                if i != j:
                    entry = gram_entry(gram, positions, np.int64(atom[i]), np.int64(atom[j]))
                    found = max(found, abs(entry) * magnitude[j])
        out[trial] = found


@compiled
def worst_pair(gram, positions, atom, magnitude, bound, is_active, candidates, out_signs, out_pair):
    """
    Largest |c_j| - sign_i c_i over signs, active atoms i and inactive atoms j, of one code.

    `bound` holds sum |x_k| |g_ik| over k != i for every atom, and `candidates` the atoms by falling
    bound: no pair can exceed bound_i - |x_i| g_ii + bound_j, so that few pairs are evaluated.
    """
    size = len(atom)
    among = np.empty((size, size))
    for i in range(size):
        for k in range(size):
            among[i, k] = gram_entry(gram, positions, np.int64(atom[i]), np.int64(atom[k]))
    lead = np.empty(size)
    for i in range(size):
        lead[i] = bound[atom[i]] - magnitude[i] * among[i, i]
    order = np.argsort(-lead)
    largest_lead = lead[order[0]]
    slack = 1e-12 * (abs(largest_lead) + bound[candidates[0]] + 1.0)  # rounding must not cut the best pair off
    toward = np.empty(size)
    best, best_i, best_j, best_sign = -np.inf, -1, -1, 1.0
    for candidate in range(len(candidates)):
        j = candidates[candidate]
        if largest_lead + bound[j] + slack <= best:
            break
        if is_active[j]:
            continue
        for k in range(size):
            toward[k] = gram_entry(gram, positions, np.int64(j), np.int64(atom[k]))
        for rank in range(size):
            i = order[rank]
            if lead[i] + bound[j] + slack <= best:
                break
            plus, minus = 0.0, 0.0
            for k in range(size):
                plus += magnitude[k] * abs(toward[k] - among[i, k])
                minus += magnitude[k] * abs(toward[k] + among[i, k])
            # The active atom itself has its sign fixed to +1, which its term in the sums ignored.
            plus += magnitude[i] * (toward[i] - among[i, i] - abs(toward[i] - among[i, i]))
            minus += magnitude[i] * (-toward[i] - among[i, i] - abs(toward[i] + among[i, i]))
            if plus > best:
                best, best_i, best_j, best_sign = plus, i, j, 1.0
            if minus > best:
                best, best_i, best_j, best_sign = minus, i, j, -1.0
    if best_j >= 0:
        for k in range(size):
            entry = best_sign * gram_entry(gram, positions, np.int64(best_j), np.int64(atom[k])) - among[best_i, k]
            out_signs[k] = 1 if entry >= 0 or k == best_i else -1
        out_pair[0], out_pair[1] = atom[best_i], best_j
    else:
        out_signs[:] = 1
        out_pair[:] = -1
    return best
