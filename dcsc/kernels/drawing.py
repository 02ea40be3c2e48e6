"""
Random supports, drawn code by code from a numpy Generator.

Supports are written one after another into `out`, not yet in ascending order. `order` holds
0..n-1 between calls: a partial shuffle of it gives distinct numbers and is undone, so that a
draw costs what it draws and not the number of atoms.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.scatter import coordinates
from dcsc.kernels.sorting import copy


@compiled
def below(rng, n):
    """Whole number in 0..n-1."""
    return min(int(rng.random() * n), n - 1)


@compiled
def shuffle_step(rng, order, k, n, swaps):
    """Draw the k-th of distinct numbers below n, and note the swap that did it."""
    other = k + below(rng, n - k)
    order[k], order[other] = order[other], order[k]
    swaps[k] = other
    return order[k]


@compiled
def undo_shuffle(order, swaps, steps):
    """Put a partly shuffled order back."""
    for k in range(steps - 1, -1, -1):
        order[k], order[swaps[k]] = order[swaps[k]], order[k]


@compiled
def uniform_subsets(rng, sizes, n, order, swaps, out):
    """Uniform subsets of 0..n-1 of given sizes."""
    start = 0
    for trial in range(len(sizes)):
        for k in range(sizes[trial]):
            out[start + k] = shuffle_step(rng, order, k, n, swaps)
        undo_shuffle(order, swaps, sizes[trial])
        start += sizes[trial]


@compiled
def wrapped(coordinate, period):
    """Reduce a coordinate that is at most one period away."""
    if coordinate < 0:
        return coordinate + period
    return coordinate - period if coordinate >= period else coordinate


@compiled
def window_of(position, reach_back, length, positions, out):
    """List the positions of a periodic window around one; returns how many."""
    p0, p1, p2 = coordinates(position, positions)
    found = 0
    for t0 in range(length[0]):
        x0 = wrapped(p0 - reach_back[0] + t0, positions[0])
        for t1 in range(length[1]):
            x1 = wrapped(p1 - reach_back[1] + t1, positions[1])
            for t2 in range(length[2]):
                x2 = wrapped(p2 - reach_back[2] + t2, positions[2])
                out[found] = (x0 * positions[1] + x1) * positions[2] + x2
                found += 1
    return found


@compiled
def clustered_subsets(rng, sizes, n_clusters, width, positions, n_filters, order, swaps, out):
    """Uniform subsets of the atoms in windows around uniform centres."""
    n_positions = positions[0] * positions[1] * positions[2]
    marked, listed = np.full(n_positions, -1, np.int64), np.empty(n_positions, np.int64)
    window = np.empty(n_positions, np.int64)
    start = 0
    for trial in range(len(sizes)):
        n_listed = 0
        for _ in range(n_clusters):
            length = window_of(below(rng, n_positions), width // 2, width, positions, window)
            for k in range(length):
                if marked[window[k]] != trial:
                    marked[window[k]] = trial
                    listed[n_listed] = window[k]
                    n_listed += 1
        for k in range(sizes[trial]):
            position, i = divmod(shuffle_step(rng, order, k, n_listed * n_filters, swaps), n_filters)
            out[start + k] = i * n_positions + listed[position]
        undo_shuffle(order, swaps, sizes[trial])
        start += sizes[trial]


@compiled
def distant_subsets(rng, sizes, distance, positions, n_filters, attempts, out):
    """Atoms drawn one by one from positions that those before leave free; returns the trial that found none, or -1."""
    n_positions = positions[0] * positions[1] * positions[2]
    free, place = np.empty(n_positions, np.int64), np.empty(n_positions, np.int64)
    window = np.empty(n_positions, np.int64)
    start = 0
    for trial in range(len(sizes)):
        drawn = 0
        for _ in range(attempts):
            for p in range(n_positions):
                free[p], place[p] = p, p
            n_free, drawn = n_positions, 0
            while drawn < sizes[trial] and n_free > 0:
                position = free[below(rng, n_free)]
                out[start + drawn] = below(rng, n_filters) * n_positions + position
                drawn += 1
                near = window_of(position, distance - 1, np.minimum(2 * distance - 1, positions), positions, window)
                for k in range(near):
                    at = place[window[k]]
                    if at < n_free:
                        n_free -= 1
                        moved = free[n_free]
                        free[at], place[moved] = moved, at
                        free[n_free], place[window[k]] = window[k], n_free
            if drawn == sizes[trial]:
                break
        if drawn < sizes[trial]:
            return trial
        start += sizes[trial]
    return -1


@compiled
def insert_in_stripes(position, reach, positions, limit, counts, blocked, window, inner):
    """Count an atom in the stripes that hold it, and block what overlaps a stripe that is full."""
    near = window_of(position, reach, 2 * reach + 1, positions, window)
    for k in range(near):
        q = window[k]
        counts[q] += 1
        if counts[q] == limit:
            full = window_of(q, reach, 2 * reach + 1, positions, inner)
            for m in range(full):
                blocked[inner[m]] = True


@compiled
def stripe_subsets(rng, sizes, fill, limit, exact, reach, positions, n_filters, attempts, order, swaps, capacity, out):
    """
    Atoms drawn one by one among those that keep every stripe at a limit.

    With `exact`, one stripe drawn at random is filled to the limit first. With `fill`, goes on until
    no atom fits and writes the sizes. Returns the trial for which no atom was left, or -1.
    """
    n_positions = positions[0] * positions[1] * positions[2]
    n_atoms = n_positions * n_filters
    counts, blocked = np.empty(n_positions, np.int64), np.empty(n_positions, np.bool_)
    window, inner = np.empty(n_positions, np.int64), np.empty(n_positions, np.int64)
    active = np.zeros(n_atoms, np.bool_)
    start = 0
    for trial in range(len(sizes)):
        wanted = capacity if fill else sizes[trial]
        drawn = 0
        for _ in range(attempts):
            for k in range(drawn):
                active[out[start + k]] = False
            drawn = 0
            counts[:] = 0
            blocked[:] = limit == 0
            if exact:
                near = window_of(below(rng, n_positions), reach, 2 * reach + 1, positions, window)
                for k in range(limit):
                    position, i = divmod(shuffle_step(rng, order, k, near * n_filters, swaps), n_filters)
                    out[start + k] = i * n_positions + window[position]
                undo_shuffle(order, swaps, limit)
                for k in range(limit):
                    active[out[start + k]] = True
                    insert_in_stripes(
                        out[start + k] % n_positions, reach, positions, limit, counts, blocked, window, inner
                    )
                drawn = limit
            steps = 0
            while drawn < wanted and steps < n_atoms:
                atom = shuffle_step(rng, order, steps, n_atoms, swaps)
                steps += 1
                if not blocked[atom % n_positions] and not active[atom]:
                    out[start + drawn] = atom
                    active[atom] = True
                    drawn += 1
                    insert_in_stripes(atom % n_positions, reach, positions, limit, counts, blocked, window, inner)
            undo_shuffle(order, swaps, steps)
            if fill or drawn == wanted:
                break
        for k in range(drawn):
            active[out[start + k]] = False
        if fill:
            sizes[trial] = drawn
        elif drawn < wanted:
            return trial
        start += drawn
    return -1


@compiled
def spread_subsets(rng, sizes, positions, n_filters, increments, order, swaps, out):
    """Atoms as evenly over the positions as they go: a shifted lattice, and uniform filters at each position."""
    n_positions = positions[0] * positions[1] * positions[2]
    counts = np.empty(n_positions, np.int64)
    shift, increment, rotation = np.empty(3), np.empty(3), np.empty(3, np.int64)
    start = 0
    for trial in range(len(sizes)):
        everywhere, rest = divmod(sizes[trial], n_positions)
        counts[:] = everywhere
        copy(increments, increment)
        increment[2] = 1 / max(rest, 1)
        for axis in range(3):
            shift[axis] = rng.random()
        for k in range(rest):
            position = 0
            for axis in range(3):
                along = (shift[axis] * (increment[2] if axis == 2 else 1.0) + k * increment[axis]) % 1.0
                position = position * positions[axis] + min(int(along * positions[axis]), positions[axis] - 1)
            while counts[position] > everywhere:  # taken already: the next one in C order
                position = (position + 1) % n_positions
            counts[position] += 1
        for axis in range(3):
            rotation[axis] = below(rng, positions[axis])
        drawn = 0
        for position in range(n_positions):
            if counts[position] == 0:
                continue
            p0, p1, p2 = coordinates(position, positions)
            x0 = wrapped(p0 + rotation[0], positions[0])  # a random origin makes all positions equally likely
            x1 = wrapped(p1 + rotation[1], positions[1])
            x2 = wrapped(p2 + rotation[2], positions[2])
            for k in range(counts[position]):
                i = shuffle_step(rng, order, k, n_filters, swaps)
                out[start + drawn] = i * n_positions + (x0 * positions[1] + x1) * positions[2] + x2
                drawn += 1
            undo_shuffle(order, swaps, counts[position])
        start += drawn
