"""
Codes through the layers of a cascade: sparse synthesis with exact supports, and sequential insertion.

For insertion the codes of all layers lie one after another in flat arrays:

=============  ==============  ==================================================================
array          shape           meaning
=============  ==============  ==================================================================
offset         (layer + 1,)    where the code of each layer starts, X^(1) first
geometry       (layer, 3, 3)   positions of a layer's code; steps, and grid they act on (layer 0 unused)
filter_offset  (layer,)        row of `tap_start` of a layer's first filter
tap_start      (filter + 1,)   where the non-zero taps of each filter start
tap_index      (tap, 4)        channel and three coordinates of a tap
tap_value      (tap,)          its value
=============  ==============  ==================================================================
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.drawing import shuffle_step


@compiled
def add_taps(target, weight, tap_start, tap_index, tap_value, atom, value, geometry):
    """Add the taps of one sparse code to flat targets, signed and by magnitude, in the order of its non-zeros."""
    q1, q2, g0, g1, g2 = geometry[0, 1], geometry[0, 2], geometry[2, 0], geometry[2, 1], geometry[2, 2]
    per_filter = geometry[0, 0] * q1 * q2
    for k in range(len(atom)):
        i, position = divmod(np.int64(atom[k]), per_filter)
        p01, p2 = divmod(position, q2)
        p0, p1 = divmod(p01, q1)
        s0, s1, s2 = p0 * geometry[1, 0], p1 * geometry[1, 1], p2 * geometry[1, 2]
        for tap in range(tap_start[i], tap_start[i + 1]):
            x0, x1, x2 = s0 + tap_index[tap, 1], s1 + tap_index[tap, 2], s2 + tap_index[tap, 3]
            x0 = x0 - g0 if x0 >= g0 else x0
            x1 = x1 - g1 if x1 >= g1 else x1
            x2 = x2 - g2 if x2 >= g2 else x2
            here = ((tap_index[tap, 0] * g0 + x0) * g1 + x1) * g2 + x2
            target[here] += value[k] * tap_value[tap]
            weight[here] += abs(value[k]) * abs(tap_value[tap])


@compiled
def synthesize_supports(
    target, weight, tap_start, tap_index, tap_value, atom, value, starts, geometry, share,
    out_atom, out_value, out_size, out_lost,
):  # fmt: skip
    """
    Signals of consecutive codes in sparse form; returns the number of their entries.

    An entry counts if it exceeds a share of the sum of its summands' magnitudes, so that what
    rounding leaves of a cancellation does not; `out_lost` counts the cancellations. Targets are 0, and left so.
    """
    needed = 0
    for trial in range(len(starts) - 1):
        here = slice(starts[trial], starts[trial + 1])
        add_taps(target, weight, tap_start, tap_index, tap_value, atom[here], value[here], geometry)
        before, lost = needed, 0
        for k in range(len(target)):
            if weight[k] > 0:
                if abs(target[k]) > share * weight[k]:
                    out_atom[needed], out_value[needed] = k, target[k]
                    needed += 1
                else:
                    lost += 1
                target[k], weight[k] = 0, 0
        out_size[trial], out_lost[trial] = needed - before, lost
    return needed


@compiled
def insert_sequentially(
    rng, atom, value, starts, signs, keep, floor, share, disjoint,
    offset, geometry, filter_offset, tap_start, tap_index, tap_value, accepted, refused,
):  # fmt: skip
    """
    Insert proposed deepest atoms in random order, skipping those that break a constraint at any layer.

    With `disjoint` no two active atoms of a layer may write to one entry of the code above; else the
    contrast of every layer must stay at the floor. Stops a code at `keep` atoms.
    """
    depth = len(offset) - 1
    total = offset[depth]
    code, weight = np.zeros(total), np.zeros(total)
    delta, delta_weight, stamp = np.zeros(total), np.zeros(total), np.zeros(total, np.int64)
    touched, active = np.empty(total, np.int64), np.empty(total, np.int64)
    saved, saved_weight = np.empty(total), np.empty(total)
    n_touched, n_active, n_before = (
        np.zeros(depth, np.int64),
        np.zeros(depth, np.int64),
        np.zeros(depth, np.int64),
    )
    longest = 0
    for trial in range(len(starts) - 1):
        longest = max(longest, starts[trial + 1] - starts[trial])
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
            touched[offset[layer]] = here
            n_touched[layer] = 1
            delta[here], delta_weight[here] = value[proposal], abs(value[proposal])
            fits = True
            while True:
                fits = fits and add_delta(
                    layer, floor, share, disjoint, offset, code, weight, delta, delta_weight,
                    touched, n_touched, active, n_active, n_before, saved, saved_weight,
                )  # fmt: skip
                if not fits or layer == 0:
                    break
                fits = pass_delta_up(
                    layer, trial, insertion, signs, disjoint, offset, geometry, filter_offset, tap_start, tap_index,
                    tap_value, delta, delta_weight, stamp, touched, n_touched,
                )  # fmt: skip
                if not fits:
                    break
                layer -= 1
            if fits:
                accepted[proposal] = True
                n_kept += 1
            else:
                refused[trial] += 1
                for undone in range(layer, depth):
                    for t in range(n_touched[undone]):
                        here = touched[offset[undone] + t]
                        code[here], weight[here] = saved[here], saved_weight[here]
                    n_active[undone] = n_before[undone]
        for layer in range(depth):
            for t in range(n_active[layer]):
                here = active[offset[layer] + t]
                code[here], weight[here] = 0.0, 0.0
            n_active[layer] = 0


@compiled
def add_delta(
    layer, floor, share, disjoint, offset, code, weight, delta, delta_weight,
    touched, n_touched, active, n_active, n_before, saved, saved_weight,
):  # fmt: skip
    """Add a change to the code of one layer; returns whether the layer still meets the constraint."""
    base = offset[layer]
    n_before[layer] = n_active[layer]
    fits = True
    for t in range(n_touched[layer]):
        here = touched[base + t]
        saved[here], saved_weight[here] = code[here], weight[here]
        if weight[here] == 0:
            active[base + n_active[layer]] = here
            n_active[layer] += 1
        elif disjoint:
            fits = False
        code[here] += delta[here]
        weight[here] += delta_weight[here]
    if disjoint:
        return fits
    smallest, largest = np.inf, 0.0
    for t in range(n_active[layer]):
        here = active[base + t]
        magnitude = abs(code[here])
        if magnitude > share * weight[here]:  # what cancels is in no support
            smallest = min(smallest, magnitude)
            largest = max(largest, magnitude)
    return largest == 0 or smallest >= floor * largest


@compiled
def pass_delta_up(
    layer, trial, insertion, signs, disjoint, offset, geometry, filter_offset, tap_start, tap_index,
    tap_value, delta, delta_weight, stamp, touched, n_touched,
):  # fmt: skip
    """Synthesize the change of the code above from that of a layer; returns False if its atoms overlap and may not."""
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
        p01, p2 = divmod(p, positions[2])
        p0, p1 = divmod(p01, positions[1])
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
            elif disjoint:
                return False
            delta[above] += signed * tap_value[tap]
            delta_weight[above] += delta_weight[here] * abs(tap_value[tap])
    n_touched[layer - 1] = n_found
    return True
