"""
Codes through the layers of a cascade: sparse synthesis with exact supports, and sequential insertion.

For insertion the codes of all layers lie one after another in flat arrays.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dcsc.kernels.compile import compiled
from dcsc.kernels.drawing import shuffle_step
from dcsc.kernels.lists import longest_of
from dcsc.kernels.scatter import coordinates
from dcsc.kernels.selection import write_entry
from dcsc.kernels.taps import points_for, points_of_atom


class Layers(NamedTuple):
    """
    The layers of a cascade as `insert_sequentially` takes them.

    Parameters
    ----------
    offset : ndarray of int64, shape (layer + 1,)
        Where the code of each layer starts, X^(1) first.
    geometry : ndarray of int64, shape (layer, 3, 3)
        Positions of a layer's code; steps, and grid they act on (layer 0 unused).
    filter_offset : ndarray of int64, shape (layer,)
        Row of `tap_start` of a layer's first filter.
    tap_start : ndarray of int64, shape (filter + 1,)
        Where the non-zero taps of each filter start.
    tap_index : ndarray of int64, shape (tap, 4)
        Channel and three coordinates of a tap.
    tap_value : ndarray, shape (tap,)
        Its value.
    """

    offset: NDArray
    geometry: NDArray
    filter_offset: NDArray
    tap_start: NDArray
    tap_index: NDArray
    tap_value: NDArray


class Reached(NamedTuple):
    """
    The entries of X^(1) that single deepest atoms write to, as `insert_disjoint` takes them.

    Parameters
    ----------
    fits : ndarray of bool, shape (filter,)
        Whether an atom of a deepest filter writes to every entry of every layer at most once.
    start : ndarray of int64, shape (filter + 1,)
        Where the entries of each filter start; none are listed of one that does not fit.
    entry : ndarray of int64, shape (entry, 4)
        Filter and three coordinates of an entry, for the atom at the origin.
    geometry : ndarray of int64, shape (3, 3)
        Positions of the deepest code; how far a step of them moves entries; positions of X^(1).
    n_atoms : int
        Of X^(1).
    """

    fits: NDArray
    start: NDArray
    entry: NDArray
    geometry: NDArray
    n_atoms: int


class Insertion(NamedTuple):
    """
    Codes of all layers while atoms are inserted, and what the last proposal changes.

    Parameters
    ----------
    code, weight : ndarray, shape (entry,)
        Entries, and the sums of their summands' magnitudes.
    delta, delta_weight : ndarray, shape (entry,)
        What the proposal adds to both.
    saved, saved_weight : ndarray, shape (entry,)
        Both without the proposal.
    stamp : ndarray of int64, shape (entry,)
        The last proposal that wrote to an entry.
    touched, active : ndarray of int64, shape (entry,)
        Entries that the proposal writes to, and those written to before or now, from each layer's offset on.
    n_touched, n_active, n_before : ndarray of int64, shape (layer,)
        How many; `n_before` are the active ones without the proposal.
    """

    code: NDArray
    weight: NDArray
    delta: NDArray
    delta_weight: NDArray
    saved: NDArray
    saved_weight: NDArray
    stamp: NDArray
    touched: NDArray
    active: NDArray
    n_touched: NDArray
    n_active: NDArray
    n_before: NDArray


@compiled
def new_insertion(total, depth):
    """Begin with codes of zeros."""
    touched, active, stamp = np.empty(total, np.int64), np.empty(total, np.int64), np.zeros(total, np.int64)
    return Insertion(
        np.zeros(total), np.zeros(total), np.zeros(total), np.zeros(total), np.empty(total), np.empty(total),
        stamp, touched, active, np.zeros(depth, np.int64), np.zeros(depth, np.int64), np.zeros(depth, np.int64),
    )  # fmt: skip


@compiled
def add_taps(target, weight, taps, points, atom, value):
    """Add the taps of one sparse code to flat targets, signed and by magnitude, in the order of its non-zeros."""
    positions, steps, _ = taps.geometry
    per_filter = positions[0] * positions[1] * positions[2]
    for k in range(len(atom)):
        i, position = divmod(np.int64(atom[k]), per_filter)
        p0, p1, p2 = coordinates(position, positions)
        n_points = points_of_atom(i, p0 * steps[0], p1 * steps[1], p2 * steps[2], taps, points)
        for n in range(n_points):
            tap = taps.value[taps.start[i] + n]
            target[points[n]] += value[k] * tap
            weight[points[n]] += abs(value[k]) * abs(tap)


@compiled
def synthesize_supports(target, weight, taps, codes, share, out, lost):
    """
    Signals of consecutive codes in sparse form; returns the entries needed, also beyond those that `out` can hold.

    An entry counts if it exceeds a share of the sum of its summands' magnitudes, so that what
    rounding leaves of a cancellation does not; `lost` counts the cancellations. Targets are 0, and left so.
    """
    needed, points = 0, points_for(taps)
    for trial in range(len(lost)):
        here, before = slice(codes.starts[trial], codes.starts[trial + 1]), needed
        add_taps(target, weight, taps, points, codes.atom[here], codes.value[here])
        lost[trial] = 0
        for k in range(len(target)):
            if weight[k] > 0:
                if abs(target[k]) > share * weight[k]:
                    needed = write_entry(out, needed, k, target[k])
                else:
                    lost[trial] += 1
                target[k], weight[k] = 0, 0
        out.size[trial] = needed - before
    return needed


@compiled
def insert_disjoint(rng, proposals, keep, reached, accepted, refused):
    """
    Insert proposed deepest atoms in random order, skipping those that make two active atoms write to one entry.

    Where two atoms of one layer share an entry of the code above, all that this one writes to is shared as well, up to
    X^(1): it is enough to look there. Stops a code at `keep` atoms.
    """
    (atom, value, starts), (fits, start, entry, geometry, n_atoms) = proposals, reached
    positions, moves, ends = geometry[0], geometry[1], geometry[2]
    per_filter, longest = positions[0] * positions[1] * positions[2], longest_of(starts)
    order, swaps, written = np.empty(longest, np.int64), np.empty(longest, np.int64), np.zeros(n_atoms, np.int64)
    places, size = np.empty(len(entry), np.int64), ends[0] * ends[1] * ends[2]
    for trial in range(len(starts) - 1):
        first, n_proposed = starts[trial], starts[trial + 1] - starts[trial]
        for k in range(n_proposed):
            order[k] = k
        n_kept = 0
        for k in range(n_proposed):
            if n_kept == keep:
                break
            proposal = first + shuffle_step(rng, order, k, n_proposed, swaps)
            i, position = divmod(np.int64(atom[proposal]), per_filter)
            p0, p1, p2 = coordinates(position, positions)
            s0, s1, s2 = p0 * moves[0], p1 * moves[1], p2 * moves[2]
            is_free, n_places = fits[i], start[i + 1] - start[i]
            for n in range(n_places):
                at = start[i] + n
                x0, x1, x2 = entry[at, 1] + s0, entry[at, 2] + s1, entry[at, 3] + s2
                x0 = x0 - ends[0] if x0 >= ends[0] else x0
                x1 = x1 - ends[1] if x1 >= ends[1] else x1
                x2 = x2 - ends[2] if x2 >= ends[2] else x2
                places[n] = entry[at, 0] * size + (x0 * ends[1] + x1) * ends[2] + x2
                if written[places[n]] == trial + 1:
                    is_free = False
                    break
            if not is_free:
                refused[trial] += 1
                continue
            accepted[proposal] = True
            n_kept += 1
            if value[proposal] != 0:
                for n in range(n_places):
                    written[places[n]] = trial + 1


@compiled
def insert_sequentially(rng, proposals, signs, keep, floor, share, layers, accepted, refused):
    """
    Insert proposed deepest atoms in random order, skipping those that take the contrast of any layer below the floor.

    Stops a code at `keep` atoms.
    """
    (atom, value, starts), offset = proposals, layers.offset
    depth, longest = len(offset) - 1, longest_of(starts)
    state = new_insertion(offset[depth], depth)
    order, swaps = np.empty(longest, np.int64), np.empty(longest, np.int64)
    insertion = 0
    for trial in range(len(starts) - 1):
        first, n_proposed = starts[trial], starts[trial + 1] - starts[trial]
        for k in range(n_proposed):
            order[k] = k
        n_kept = 0
        for k in range(n_proposed):
            if n_kept == keep:
                break
            proposal = first + shuffle_step(rng, order, k, n_proposed, swaps)
            insertion += 1
            layer = depth - 1
            here = offset[layer] + atom[proposal]
            state.touched[offset[layer]] = here
            state.n_touched[layer] = 1
            state.delta[here], state.delta_weight[here] = value[proposal], abs(value[proposal])
            while True:
                fits = add_delta(layer, offset[layer], floor, share, state)
                if not fits or layer == 0:
                    break
                pass_delta_up(layer, trial, insertion, signs, layers, state)
                layer -= 1
            if fits:
                accepted[proposal] = True
                n_kept += 1
            else:
                refused[trial] += 1
                for undone in range(layer, depth):
                    for t in range(state.n_touched[undone]):
                        here = state.touched[offset[undone] + t]
                        state.code[here], state.weight[here] = state.saved[here], state.saved_weight[here]
                    state.n_active[undone] = state.n_before[undone]
        for layer in range(depth):
            for t in range(state.n_active[layer]):
                here = state.active[offset[layer] + t]
                state.code[here], state.weight[here] = 0.0, 0.0
            state.n_active[layer] = 0


@compiled
def add_delta(layer, base, floor, share, state):
    """Add a change to the code of one layer; returns whether its contrast is still at the floor."""
    code, weight, delta, delta_weight, saved, saved_weight, _, touched, active, n_touched, n_active, n_before = state
    n_before[layer] = n_active[layer]
    for t in range(n_touched[layer]):
        here = touched[base + t]
        saved[here], saved_weight[here] = code[here], weight[here]
        if weight[here] == 0:
            active[base + n_active[layer]] = here
            n_active[layer] += 1
        code[here] += delta[here]
        weight[here] += delta_weight[here]
    smallest, largest = np.inf, 0.0
    for t in range(n_active[layer]):
        here = active[base + t]
        magnitude = abs(code[here])
        if magnitude > share * weight[here]:  # what cancels is in no support
            smallest = min(smallest, magnitude)
            largest = max(largest, magnitude)
    return largest == 0 or smallest >= floor * largest


@compiled
def pass_delta_up(layer, trial, insertion, signs, layers, state):
    """Synthesize the change of the code above from that of a layer."""
    offset, geometry, filter_offset, tap_start, tap_index, tap_value = layers
    _, _, delta, delta_weight, _, _, stamp, touched, _, n_touched, _, _ = state
    positions, step, grid = geometry[layer, 0], geometry[layer, 1], geometry[layer, 2]
    per_filter = positions[0] * positions[1] * positions[2]
    base = offset[layer - 1]
    n_found = 0
    for t in range(n_touched[layer]):
        here = touched[offset[layer] + t]
        signed = delta[here]
        if signs.size:
            signed *= signs[trial, here]
        i, p = divmod(here - offset[layer], per_filter)
        p0, p1, p2 = coordinates(p, positions)
        for tap in range(tap_start[filter_offset[layer] + i], tap_start[filter_offset[layer] + i + 1]):
            x0 = p0 * step[0] + tap_index[tap, 1]
            x1 = p1 * step[1] + tap_index[tap, 2]
            x2 = p2 * step[2] + tap_index[tap, 3]
            x0 = x0 - grid[0] if x0 >= grid[0] else x0
            x1 = x1 - grid[1] if x1 >= grid[1] else x1
            x2 = x2 - grid[2] if x2 >= grid[2] else x2
            above = base + ((tap_index[tap, 0] * grid[0] + x0) * grid[1] + x1) * grid[2] + x2
            if stamp[above] != insertion:
                stamp[above] = insertion
                delta[above], delta_weight[above] = 0.0, 0.0
                touched[base + n_found] = above
                n_found += 1
            delta[above] += signed * tap_value[tap]
            delta_weight[above] += delta_weight[here] * abs(tap_value[tap])
    n_touched[layer - 1] = n_found
