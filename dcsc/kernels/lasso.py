"""
Sparse least squares of one trial, xi |x|_1 + |y - A x|^2 / 2, by a working set of atoms.

========  =======================  ==============================================================
array     axes                     meaning
========  =======================  ==============================================================
atom      (entry,)                 position * n_filters + filter, ascending: neighbours lie together
q         (position, filter)       correlations of the residual, A^T (y - A x)
gram      (filter, filter, l0..2)  inner products by lag, three spatial axes, padded with 1
sizes     (4, 3)                   an axis each: positions, step, taps, lags (2 * overlap - 1)
row, col  (entry + 1,), (pair,)    the Gram matrix of the working set, compressed by rows
========  =======================  ==============================================================

An orientation of +-1 an atom makes the problem one-sided (orientation * x >= 0); an empty one leaves it two-sided.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import math

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.gram_columns import columns_of, multiply
from dcsc.kernels.scatter import add_pattern, coordinates
from dcsc.kernels.sorting import copy, entries_at, places_where

TILE = 64
CHOSEN_PER_CELL = 4
MAX_SWEEPS = 4
MAX_ROUNDS = 50
MAX_HALVINGS = 8
MAX_CONJUGATE = 30
FORCING = 0.3
"""A Newton step on a face that will change soon need not be exact: relative residual, and iterations at most."""
MAX_STALLED = 20
"""Iterations without a better KKT distance, after which rounding forbids more."""
PRECISION = 0.3
"""KKT distance on the working set, over that on all atoms, at which new atoms are looked for."""
SMALL_FACE = 4
"""How many times fewer atoms a face has than the working set when products take its rows, one by one."""
GAP, KKT = 0, 1


@compiled
def extend(signal, extended):
    """Continue a periodic array (lead, g0, g1, g2) to the right, however far, so that no window leaves it."""
    for lead in range(signal.shape[0]):
        for x0 in range(extended.shape[1]):
            for x1 in range(extended.shape[2]):
                source = signal[lead, x0 % signal.shape[1], x1 % signal.shape[2]]
                target = extended[lead, x0, x1]
                n = len(source)
                for begin in range(0, len(target), n):
                    for k in range(min(n, len(target) - begin)):
                        target[begin + k] = source[k]


@compiled
def correlate(values, layout, space, q):
    """Correlate with every atom: windows times filters, in tiles small enough for one thread and one cache."""
    (extended, windows), sizes = space, layout.sizes
    extend(values, extended)
    n_lead = values.shape[0]
    a0, a1, a2 = sizes[2, 0], sizes[2, 1], sizes[2, 2]
    for first in range(0, len(q), TILE):
        last = min(first + TILE, len(q))
        for position in range(first, last):
            p0, p1, p2 = coordinates(position, sizes[0])
            x0, x1, x2 = p0 * sizes[1, 0], p1 * sizes[1, 1], p2 * sizes[1, 2]
            window = windows[position - first]
            k = 0
            for lead in range(n_lead):
                for t0 in range(a0):
                    for t1 in range(a1):
                        source = extended[lead, x0 + t0, x1 + t1, x2 : x2 + a2]
                        target = window[k : k + a2]
                        for t2 in range(a2):
                            target[t2] = source[t2]
                        k += a2
        np.dot(windows[: last - first], layout.by_tap, q[first:last])


@compiled
def new_window_space(signal, layout):
    """Space for the extended signal and for one tile of windows."""
    (n_lead, g0, g1, g2), taps = signal.shape, layout.sizes[2]
    extended = np.empty((n_lead, g0 + taps[0] - 1, g1 + taps[1] - 1, g2 + taps[2] - 1))
    return extended, np.empty((TILE, layout.by_tap.shape[0]))


@compiled
def new_correlations(layout):
    """An array (position, filter)."""
    positions = layout.sizes[0]
    return np.empty((positions[0] * positions[1] * positions[2], layout.by_tap.shape[1]))


@compiled
def subtract_atoms(signal, patterns, atom, value, residual):
    """Residual y - A x of a sparse code."""
    for lead in range(signal.shape[0]):
        for x0 in range(signal.shape[1]):
            for x1 in range(signal.shape[2]):
                copy(signal[lead, x0, x1], residual[lead, x0, x1])
    for k in range(len(atom)):
        if value[k] != 0:
            position, i = divmod(atom[k], len(patterns.pattern))
            p0, p1, p2 = coordinates(position, patterns.layout[0])
            add_pattern(residual, patterns, i, p0, p1, p2, -value[k])


@compiled
def distances(q, atom, value, xi, orientation):
    """Largest KKT distance of a code, and largest correlation that the dual constraint counts."""
    flat = q.ravel()
    one_sided = len(orientation) > 0
    largest = 0.0
    if one_sided:
        for a in range(len(flat)):
            largest = max(largest, flat[a] * orientation[a])
    else:
        for a in range(len(flat)):
            largest = max(largest, abs(flat[a]))
    distance = max(largest - xi, 0.0)
    for k in range(len(atom)):
        if value[k] != 0:
            distance = max(distance, abs(flat[atom[k]] - math.copysign(xi, value[k])))
    return distance, largest


@compiled
def largest_correlation(signal, layout, orientation):
    """Smallest penalty at which the solution is 0."""
    q = new_correlations(layout)
    correlate(signal, layout, new_window_space(signal, layout), q)
    return distances(q, np.empty(0, np.int64), np.empty(0), 0.0, orientation)[1]


@compiled
def duality_gap(signal, residual, largest, value, xi):
    """Primal objective and its distance from the dual objective of the scaled residual."""
    y, r = signal.ravel(), residual.ravel()
    square, product, l1 = 0.0, 0.0, 0.0
    for entry in value:
        l1 += abs(entry)
    for k in range(len(r)):
        square += r[k] * r[k]
        product += y[k] * r[k]
    scale = max(1.0, largest / xi)
    objective = 0.5 * square + xi * l1
    return objective, objective - (product / scale - 0.5 * square / (scale * scale))


@compiled
def choose(q, sizes, cell, xi, orientation, is_active, found):
    """Write the atoms that violate optimality most in each cell of positions; returns how many."""
    n_filters = q.shape[1]
    n0, n1, n2 = sizes[0, 0], sizes[0, 1], sizes[0, 2]
    one_sided = len(orientation) > 0
    best = np.empty(CHOSEN_PER_CELL)
    who = np.empty(CHOSEN_PER_CELL, np.int64)
    n_found = 0
    for c0 in range(0, n0, cell[0]):
        for c1 in range(0, n1, cell[1]):
            for c2 in range(0, n2, cell[2]):
                best[:] = xi
                who[:] = -1
                for p0 in range(c0, min(c0 + cell[0], n0)):
                    for p1 in range(c1, min(c1 + cell[1], n1)):
                        for p2 in range(c2, min(c2 + cell[2], n2)):
                            position = (p0 * n1 + p1) * n2 + p2
                            row = q[position]
                            for i in range(n_filters):
                                a = position * n_filters + i
                                size = row[i] * orientation[a] if one_sided else abs(row[i])
                                if size > best[CHOSEN_PER_CELL - 1] and not is_active[a]:
                                    k = CHOSEN_PER_CELL - 1
                                    while k > 0 and size > best[k - 1]:
                                        best[k], who[k] = best[k - 1], who[k - 1]
                                        k -= 1
                                    best[k], who[k] = size, a
                for k in range(CHOSEN_PER_CELL):
                    if who[k] >= 0:
                        found[n_found] = who[k]
                        n_found += 1
    return n_found


@compiled
def neighbours(atom, gram, sizes, n_filters, first_at, row, col, val):
    """
    Gram matrix of ascending atoms, compressed by rows; the diagonal is left out.

    Called with an empty col it only counts, into row.
    """
    n0, n1, n2 = sizes[0, 0], sizes[0, 1], sizes[0, 2]
    h0, h1, h2 = sizes[3, 0] // 2, sizes[3, 1] // 2, sizes[3, 2] // 2
    count_only = len(col) == 0
    position = 0
    for k in range(len(atom)):
        while position <= atom[k] // n_filters:
            first_at[position] = k
            position += 1
    first_at[position : n0 * n1 * n2 + 1] = len(atom)
    n_pairs = 0
    for k in range(len(atom)):
        row[k] = n_pairs
        here, i = divmod(atom[k], n_filters)
        p0, p1, p2 = coordinates(here, sizes[0])
        for d0 in range(-h0, h0 + 1):
            r0 = (p0 + d0) % n0
            for d1 in range(-h1, h1 + 1):
                r1 = (p1 + d1) % n1
                base = (r0 * n1 + r1) * n2
                for wrap in range(
                    -1, 2
                ):  # the run of lags in three pieces: beyond the left end, inside, beyond the right
                    low = max(p2 - h2 + wrap * n2, 0)
                    high = min(p2 + h2 + wrap * n2, n2 - 1)
                    if low > high:
                        continue
                    for j in range(first_at[base + low], first_at[base + high + 1]):
                        if j == k:
                            continue
                        if not count_only:
                            there, i_there = divmod(atom[j], n_filters)
                            lag = there - base - wrap * n2 - p2
                            col[n_pairs] = j
                            val[n_pairs] = gram[i, i_there, d0 + h0, d1 + h1, lag + h2]
                        n_pairs += 1
    row[len(atom)] = n_pairs
    return n_pairs


@compiled
def shrink(value, xi, orientation):
    """Proximal step of one coordinate; orientation 0 is two-sided."""
    if orientation != 0:
        return orientation * max(value * orientation - xi, 0.0)
    if value > xi:
        return value - xi
    if value < -xi:
        return value + xi
    return 0.0


@compiled
def descend(x, q, row, col, val, diagonal, side, xi):
    """One sweep of coordinate descent; returns the largest change and whether a sign changed."""
    largest, changed = 0.0, False
    for k in range(len(x)):
        old = x[k]
        if old == 0 and abs(q[k]) <= xi:
            continue
        new = shrink(q[k] + old * diagonal[k], xi, side[k]) / diagonal[k]
        step = new - old
        if step != 0:
            largest = max(largest, abs(step) * diagonal[k])
            changed |= (old > 0) != (new > 0) or (old < 0) != (new < 0)
            x[k] = new
            q[k] -= step * diagonal[k]
            for pair in range(row[k], row[k + 1]):
                q[col[pair]] -= step * val[pair]
    return largest, changed


@compiled
def face_product(direction, face, row, col, val, diagonal, columns, sums, out):
    """Gram matrix times a direction that vanishes off the face, at the face's atoms."""
    if len(columns.values) > 0 and SMALL_FACE * len(face) >= len(direction):
        multiply(columns, diagonal, direction, sums, out)
        return
    for k in face:
        first, last = row[k], row[k + 1]
        even, odd = diagonal[k] * direction[k], 0.0  # two sums, for one would wait for itself
        for pair in range(first, last - 1, 2):
            even += val[pair] * direction[col[pair]]
            odd += val[pair + 1] * direction[col[pair + 1]]
        if (last - first) % 2:
            even += val[last - 1] * direction[col[last - 1]]
        out[k] = even + odd


@compiled
def project_step(x, q, face, row, col, val, diagonal, columns, xi, step, change, product, sums):
    """
    Shorten a step until it decreases the objective when the entries that change sign are set to 0.

    Halves it a few times, and otherwise cuts it at the first change of sign, which always decreases. Writes
    the change.
    """
    fraction = 1.0
    for _ in range(MAX_HALVINGS):
        crossings = 0
        for k in face:
            moved = x[k] + fraction * step[k]
            change[k] = fraction * step[k]
            if moved * x[k] <= 0:
                change[k] = -x[k]
                crossings += 1
        if crossings == 0:
            return
        face_product(change, face, row, col, val, diagonal, columns, sums, product)
        gain = 0.0
        for k in face:
            gain += change[k] * (0.5 * product[k] - q[k]) + xi * (abs(x[k] + change[k]) - abs(x[k]))
        if gain < 0:
            return
        fraction *= 0.5
    first, crossing = 1.0, -1
    for k in face:
        if (x[k] + step[k]) * x[k] <= 0 and -x[k] / step[k] < first:
            first, crossing = -x[k] / step[k], k
    for k in face:
        change[k] = first * step[k]
    if crossing >= 0:
        change[crossing] = -x[crossing]


@compiled
def face_step(x, q, face, row, col, val, diagonal, columns, xi, tolerance, work):
    """
    Newton step on the face of the current signs, by conjugate gradients; returns its iterations.

    See `project_step` for what is kept of it.
    """
    step, direction, left, product, sums = work[0], work[1], work[2], work[3], work[4:6]
    step[:] = 0
    direction[:] = 0
    square = 0.0
    for k in face:
        left[k] = q[k] - math.copysign(xi, x[k])
        direction[k] = left[k]
        square += left[k] * left[k]
    bound = max(tolerance * tolerance, FORCING * FORCING * square)
    iterations = 0
    while square > bound and iterations < MAX_CONJUGATE:
        face_product(direction, face, row, col, val, diagonal, columns, sums, product)
        curvature, length = 0.0, 0.0
        for k in face:
            curvature += direction[k] * product[k]
            length += direction[k] * direction[k]
        if curvature <= 1e-13 * length:  # dependent atoms: along their null vector the l1 norm alone decides
            if iterations == 0:
                for k in face:
                    step[k] = direction[k]
            break
        alpha = square / curvature
        new_square = 0.0
        for k in face:
            step[k] += alpha * direction[k]
            left[k] -= alpha * product[k]
            new_square += left[k] * left[k]
        ratio = new_square / square
        for k in face:
            direction[k] = left[k] + ratio * direction[k]
        square = new_square
        iterations += 1
    project_step(x, q, face, row, col, val, diagonal, columns, xi, step, direction, product, sums)
    change = direction
    for k in face:
        move = change[k]
        if move != 0:
            x[k] = 0.0 if move == -x[k] else x[k] + move
            q[k] -= move * diagonal[k]
            for pair in range(row[k], row[k + 1]):
                q[col[pair]] -= move * val[pair]
    return iterations


@compiled
def solve_restricted(x, q, row, col, val, diagonal, side, xi, tolerance, max_rounds):
    """Minimise over the working set to a KKT distance; returns the rounds used."""
    work, columns = np.zeros((6, len(x))), columns_of(row, col, val)
    for rounds in range(max_rounds):
        largest = 0.0
        for _ in range(MAX_SWEEPS):
            largest, changed = descend(x, q, row, col, val, diagonal, side, xi)
            if largest <= tolerance or not changed:
                break
        if largest <= tolerance:
            return rounds
        face_step(x, q, places_where(x), row, col, val, diagonal, columns, xi, 0.3 * tolerance, work)
    return max_rounds


@compiled
def merged(atom, value, found, n_found, marked):
    """Active and found atoms in ascending order, with their values; marked is False everywhere before and after."""
    total = len(atom) + n_found
    for k in range(len(atom)):
        marked[atom[k]] = True
    for k in range(n_found):
        marked[found[k]] = True
    atoms, x = np.empty(total, np.int64), np.zeros(total)
    n_merged, known = 0, 0
    for a in range(len(marked)):
        if marked[a]:
            marked[a] = False
            atoms[n_merged] = a
            if known < len(atom) and atom[known] == a:
                x[n_merged] = value[known]
                known += 1
            n_merged += 1
    return atoms, x


@compiled
def without_zeros(atom, x):
    """The non-zero entries of a sparse code."""
    kept = places_where(x)
    return entries_at(atom, kept), entries_at(x, kept)


@compiled
def improve(atom, x, q, gram, sizes, orientation, xi, tolerance, first_at):
    """Minimise over given atoms, from their values x and correlations q; changes x."""
    n_filters = q.shape[1]
    flat = q.ravel()
    restricted, diagonal, side = np.empty(len(atom)), np.empty(len(atom)), np.zeros(len(atom))
    for k in range(len(atom)):
        i = atom[k] % n_filters
        restricted[k] = flat[atom[k]]
        diagonal[k] = gram[i, i, sizes[3, 0] // 2, sizes[3, 1] // 2, sizes[3, 2] // 2]
        if len(orientation) > 0:
            side[k] = orientation[atom[k]]
    row = np.empty(len(atom) + 1, np.int64)
    n_pairs = neighbours(atom, gram, sizes, n_filters, first_at, row, np.empty(0, np.int32), np.empty(0))
    col, val = np.empty(n_pairs, np.int32), np.empty(n_pairs)
    neighbours(atom, gram, sizes, n_filters, first_at, row, col, val)
    solve_restricted(x, restricted, row, col, val, diagonal, side, xi, tolerance, MAX_ROUNDS)


@compiled
def solve(signal, layout, orientation, xi, atom, value, stop, tolerance, max_iterations, most_active):
    """
    Minimise xi |x|_1 + |y - A x|^2 / 2 from a sparse start, for xi > 0.

    Each iteration correlates the residual with every atom, adds the atoms that violate optimality most to
    the active ones, and minimises over these. Stops when the duality gap is at most tolerance times the
    objective, or the KKT distance at most tolerance, and with more atoms than most_active. Returns atoms,
    values, iterations, gap over objective and KKT distance.
    """
    sizes, cell, space = layout.sizes, layout.cell, new_window_space(signal, layout)
    q, residual = new_correlations(layout), np.empty_like(signal)
    is_active, first_at = np.zeros(q.size, np.bool_), np.empty(len(q) + 1, np.int64)
    cells = 1
    for axis in range(3):
        cells *= (sizes[0, axis] + cell[axis] - 1) // cell[axis]
    found = np.empty(cells * CHOSEN_PER_CELL, np.int64)
    best_distance, iterations, stalled = np.inf, 0, 0
    while True:
        subtract_atoms(signal, layout.patterns, atom, value, residual)
        correlate(residual, layout, space, q)
        distance, largest = distances(q, atom, value, xi, orientation)
        objective, gap = duality_gap(signal, residual, largest, value, xi)
        relative_gap = gap / objective if objective > 0 else 0.0
        stalled = 0 if distance < 0.9 * best_distance else stalled + 1
        best_distance = min(best_distance, distance)
        if (
            (relative_gap if stop == GAP else distance) <= tolerance
            or iterations == max_iterations
            or stalled > MAX_STALLED
            or len(atom) > most_active
        ):
            break
        for k in range(len(atom)):
            is_active[atom[k]] = True
        n_found = choose(q, sizes, cell, xi, orientation, is_active, found)
        for k in range(len(atom)):
            is_active[atom[k]] = False
        candidates, x = merged(atom, value, found, n_found, is_active)
        wanted = PRECISION * distance
        if stop == KKT:
            wanted = max(wanted, 0.3 * tolerance)
        improve(candidates, x, q, layout.gram, sizes, orientation, xi, wanted, first_at)
        atom, value = without_zeros(candidates, x)
        iterations += 1
    return atom, value, iterations, relative_gap, distance
