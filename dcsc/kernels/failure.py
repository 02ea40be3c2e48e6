"""
The threshold at which a layer fails least likely, from its interference.

The bound is evaluated exactly at the threshold that is chosen, so that only the choice is approximate: it is sought
among all atoms if they are few, else among representatives of them. A list of atoms is an array (3, atom) of variance,
bound and, on the support, floor |x_i| plus what is locked to it, filled up as `dcsc.kernels.tails` takes it.

==========  ===============================================================================
argument    meaning
==========  ===============================================================================
support     list of the active atoms
others      list of other atoms; those left out have bounds below the smallest margin sought
few         two lists of representatives of these: the worst of each group, and a sample
limits      numbers of a code, see the names of its entries below
==========  ===============================================================================
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.arguments import Sums
from dcsc.kernels.compile import compiled
from dcsc.kernels.interference import ACTIVE, add_noise, all_tiles, code_interference, extremes_of, part_of
from dcsc.kernels.lists import longest_of
from dcsc.kernels.tails import (
    ROUGH,
    STEP,
    largest_of,
    rough_off_support,
    rough_on_support,
    sum_off_support,
    sum_on_support,
)
from dcsc.kernels.tiles import VECTOR_BYTES

EPS, GUARD, SMALLEST, LOWEST, TOP, ON, OFF, INACTIVE = range(8)
"""Bound on the input error; margin against rounding; X_min; smallest margin sought off the support; smallest floor;
smallest floor - bound on the support, largest bound off it (infinite with Gaussian noise); whether there are others."""

PART = 2048
"""Atoms between two looks at whether a sum has grown too large to matter."""
PICKED = 2048
"""Atoms that are looked at one by one while the threshold is sought; more have representatives."""
VARIANCES = 8
"""How far below the largest a variance counts for nothing in the search."""
REPRESENTATIVES = 128
"""Groups of atoms that stand for a long list in the search."""
FIRST = 0.45
"""Smallest threshold that is tried at first over X_min: there are more atoms off the support than on it."""
GRID, SHRINKS = 24, 12
"""Thresholds that are tried on a grid, and steps of the golden section beside the best of them."""
STEPS = 64
"""Thresholds that are tried because a tail just vanishes there."""
GOLDEN = 0.6180339887498949
NEGLIGIBLE = 0.01
"""Share of the bound that smaller thresholds could save at most when they are not tried."""


@compiled
def filled_up(listed, n):
    """Fill a list up to a whole step with atoms that do not count; returns its new length."""
    stop = -(-n // STEP) * STEP
    for k in range(n, stop):
        listed[0, k], listed[1, k] = 0.0, ACTIVE
    return stop


@compiled
def on_support(support, n_on, threshold, limits):
    """Sum of the tails of missing an active atom."""
    return sum_on_support(support[0], support[1], support[2], 0, n_on, threshold + limits[EPS], limits[GUARD] / 2)


@compiled
def off_support(others, n_off, threshold, limits, enough):
    """Sum of the tails of a false alarm, or a part of it that is enough."""
    margin, slack = threshold - limits[EPS], limits[GUARD] / 2
    if margin <= slack:
        return limits[INACTIVE]  # no margin: an atom that nothing reaches fails as well
    variance, bound, total = others[0], others[1], 0.0
    for start in range(0, n_off, PART):
        if total >= enough:
            break
        total += sum_off_support(variance, bound, bound, start, min(start + PART, n_off), margin, slack)
    return total


@compiled
def failure(support, n_on, others, n_off, threshold, limits, enough):
    """The bound at a threshold, at most 1, or a part of it that is enough."""
    missed = on_support(support, n_on, threshold, limits)
    if missed >= enough:
        return min(1.0, missed)
    return min(1.0, missed + off_support(others, n_off, threshold, limits, enough - missed))


@compiled
def rough_failure(support, n_on, others, n_off, threshold, limits):
    """The bound at a threshold by Gaussian tails, at most 1, or a little more than that."""
    slack = limits[GUARD] / 2
    margin, total = threshold - limits[EPS], limits[INACTIVE]
    if margin > slack:
        total = rough_off_support(others[0], others[1], others[1], 0, n_off, margin, slack)
    total += rough_on_support(support[0], support[1], support[2], 0, n_on, threshold + limits[EPS], slack)
    return min(1.0, total * (1 + ROUGH))


@compiled
def pick(others, n_off, limits, picked):
    """List the atoms whose tails count for anything; returns their number, or one too many when they are too many."""
    variance, bound = others[0], others[1]
    smallest, lowest = largest_of(variance, 0, n_off) / VARIANCES, limits[LOWEST] - limits[GUARD] / 2
    n_picked = 0
    for k in range(n_off):
        if variance[k] >= smallest and bound[k] >= lowest:
            if n_picked == PICKED:
                return PICKED + 1
            picked[0, n_picked], picked[1, n_picked] = variance[k], bound[k]
            n_picked += 1
    return n_picked


@compiled
def represent(others, n_off, few):
    """Stand for a long list by the largest variance and bound of each group, and by a sample; gives their lengths."""
    group = -(-n_off // (REPRESENTATIVES * STEP)) * STEP
    variance, bound, worst, sample = others[0], others[1], few[0], few[1]
    n_groups = -(-n_off // group)
    for g in range(n_groups):
        start = g * group
        stop, middle = min(start + group, n_off), min(start + group // 2, n_off - 1)
        worst[0, g], worst[1, g] = largest_of(variance, start, stop), largest_of(bound, start, stop)
        sample[0, g], sample[1, g] = variance[middle], bound[middle]
    filled_up(sample, n_groups)
    return filled_up(worst, n_groups), group - 1


@compiled
def about_failure(support, n_on, few, n_few, share, threshold, limits):
    """About the bound at a threshold, from a list, and a second one as long that stands for `share` times as many."""
    found = on_support(support, n_on, threshold, limits)
    found += off_support(few[0], n_few, threshold, limits, np.inf)
    if share > 0:
        found += share * off_support(few[1], n_few, threshold, limits, np.inf)
    return found


@compiled
def at_steps(support, n_on, few, n_few, left, right, best, lowest, limits):
    """Try thresholds at which a tail just vanishes, some of those in an interval; returns the best and its bound."""
    n_tried = 0
    for k in range(n_few + n_on):
        bound = few[0, 1, k] if k < n_few else support[1, k - n_few]
        if bound < 0 or n_tried == STEPS:
            continue
        threshold = bound + limits[EPS] + 16 * limits[GUARD]  # clear of rounding, however the sums are formed
        if k >= n_few:
            threshold = support[2, k - n_few] - threshold
        if left < threshold < right:
            n_tried += 1
            value = about_failure(support, n_on, few, n_few, 0, threshold, limits)
            if value < lowest:
                best, lowest = threshold, value
    return best, lowest


@compiled
def sought_threshold(support, n_on, few, n_few, share, limits):
    """Minimise about the bound: on a grid, then by the golden section beside the best of it."""
    low, high = limits[LOWEST] + limits[EPS], limits[TOP] - limits[EPS]
    step = (high - low) / GRID
    best, lowest = low, np.inf
    for k in range(GRID + 1):
        value = about_failure(support, n_on, few, n_few, share, low + k * step, limits)
        if value < lowest:
            best, lowest = low + k * step, value
    left, right = max(low, best - step), min(high, best + step)
    if share == 0:
        best, lowest = at_steps(support, n_on, few, n_few, left, right, best, lowest, limits)
    inner, outer = right - GOLDEN * (right - left), left + GOLDEN * (right - left)
    at_inner = about_failure(support, n_on, few, n_few, share, inner, limits)
    at_outer = about_failure(support, n_on, few, n_few, share, outer, limits)
    for _ in range(SHRINKS):
        if at_inner < at_outer:
            right, outer, at_outer = outer, inner, at_inner
            inner = right - GOLDEN * (right - left)
            at_inner = about_failure(support, n_on, few, n_few, share, inner, limits)
        else:
            left, inner, at_inner = inner, outer, at_outer
            outer = left + GOLDEN * (right - left)
            at_outer = about_failure(support, n_on, few, n_few, share, outer, limits)
    for threshold, value in ((inner, at_inner), (outer, at_outer)):
        if value < lowest:
            best, lowest = threshold, value
    return best


@compiled
def best_threshold(support, n_on, others, n_off, few, limits, out):
    """
    Write the best of a few thresholds and its bound to out; returns whether a smaller one could be much better.

    They are X_min/2, the middle and both ends of the instance-uniform interval, and what a search finds.
    """
    eps, guard, lowest = limits[EPS], limits[GUARD], limits[LOWEST] + limits[EPS]
    out[0], out[1] = limits[SMALLEST] / 2, 1.0
    if not np.isfinite(limits[TOP]):  # without active atoms any threshold above the input error will do
        out[0] = limits[SMALLEST]
        out[1] = failure(support, n_on, others, n_off, out[0], limits, 1.0)
        return False
    middle = (limits[ON] + limits[OFF]) / 2
    if middle - limits[OFF] - eps > guard:  # no signs do any harm
        out[0], out[1] = middle, 0.0
        return False
    if on_support(support, n_on, out[0], limits) >= 1 and off_support(others, n_off, out[0], limits, 1.0) >= 1:
        return False  # every other threshold makes one of the two larger
    for candidate in range(4):
        if candidate < 2:
            threshold = limits[OFF] + eps + 16 * guard if candidate == 0 else limits[ON] - eps - 16 * guard
            if threshold < lowest and limits[OFF] < limits[ON]:
                return True
        elif candidate == 3:  # comes last, because it is seldom the best and then soon given up
            threshold = limits[SMALLEST] / 2
        elif limits[TOP] - eps <= lowest:
            continue
        else:
            n_few, share = PICKED + 1, 0
            if n_off <= 4 * PICKED:
                n_few = pick(others, n_off, limits, few[0])
            if n_few <= PICKED:
                n_few = filled_up(few[0], n_few)
            else:
                n_few, share = represent(others, n_off, few)
            threshold = sought_threshold(support, n_on, few, n_few, share, limits)
        if threshold >= lowest:  # below, atoms would count that were left out
            bound = failure(support, n_on, others, n_off, threshold, limits, out[1])
            if bound < out[1]:
                out[0], out[1] = threshold, bound
    if on_support(support, n_on, lowest, limits) <= NEGLIGIBLE * out[1]:
        return False
    return off_support(others, n_off, lowest, limits, out[1]) < out[1]


@compiled
def set_limits(support, n_on, eps, guard, smallest, lowest, off, inactive, limits):
    """Write the limits of a code."""
    limits[EPS], limits[GUARD], limits[SMALLEST], limits[LOWEST] = eps, guard, smallest, lowest
    limits[OFF], limits[INACTIVE] = off, inactive
    limits[TOP] = limits[ON] = np.inf
    for k in range(n_on):
        limits[TOP] = min(limits[TOP], support[2, k])
        limits[ON] = min(limits[ON], support[2, k] - support[1, k])


@compiled
def smallest_of(magnitudes, eps, noise):
    """X_min; for a code without non-zeros a threshold that suits it, above the input error."""
    found = np.inf
    for magnitude in magnitudes:
        found = min(found, magnitude)
    return found if len(magnitudes) else eps + 1.0 + 40 * np.sqrt(noise)


@compiled
def code_failure(
    scratch, most, patterns, atom, magnitude, growth, noise, eps, guard, lowest, given, gaussian, on, extremes, lists,
    limits, out,
):  # fmt: skip
    """
    The best threshold of one code among margins from `lowest` on; returns whether a smaller one could be better.

    A `given` threshold, unless NaN, is the only one that is looked at. The bound there may be by `gaussian` tails.
    """
    (support, others, few), n_on, kept = lists, len(atom), Sums(lists[1][1], lists[1][0])
    reaching = 0.0 if noise > 0 else max(lowest - guard / 2, 5e-324)
    n_off, _ = code_interference(scratch, most, patterns, atom, magnitude, growth, reaching, on, kept)
    extremes_of(most, extremes)
    for k in range(n_on):
        support[0, k], support[2, k] = on.variance[k] + noise, magnitude[k]
        support[1, k] = on.bound[k] if noise == 0 else np.inf
    n_atoms = patterns.target_shape[1] * patterns.target_shape[2] * patterns.target_shape[3]
    smallest = smallest_of(magnitude, eps, noise)
    off = extremes[0] if noise == 0 else np.inf
    set_limits(support, n_on, eps, guard, smallest, lowest, off, n_on < n_atoms, limits)
    if noise > 0:
        add_noise(kept, n_off, noise, growth, extremes)
    n_on, n_off = filled_up(support, n_on), filled_up(others, n_off)
    smaller = False
    if np.isnan(given):
        smaller = best_threshold(support, n_on, others, n_off, few, limits, out)
    else:
        out[0], out[1] = given, 1.0 if gaussian else failure(support, n_on, others, n_off, given, limits, 1.0)
    if gaussian:
        out[1] = min(out[1], rough_failure(support, n_on, others, n_off, out[0], limits))
    return smaller


@compiled
def new_lists(n_on, n_off):
    """Arrays for the support, the others and representatives of these, for limits and for what is found."""
    lists = np.empty((3, n_on + STEP)), np.empty((2, n_off + STEP)), np.empty((2, 2, PICKED + STEP))
    return lists, np.empty(8), np.empty(2)


@compiled
def layer_failure(
    scratch, patterns, codes, growth, noise, on, extremes, eps, guard, given, gaussian, thresholds, probabilities
):
    """
    As `layer_interference`, with the threshold of each code, the best one where none is given, and its bound.

    Thresholds are the best ones for Hoeffding's tails in any case; with `gaussian` the bounds there are by
    `rough_failure`.
    """
    lists, limits, out = new_lists(longest_of(codes.starts), all_tiles(patterns.layout))
    most = np.empty(3 * VECTOR_BYTES // 8)
    for code in range(len(codes.starts) - 1):
        here = slice(codes.starts[code], codes.starts[code + 1])
        atom, magnitude = codes.atom[here], codes.value[here]
        lowest = FIRST * max(0.0, smallest_of(magnitude, eps[code], noise) - 2 * eps[code])
        if not np.isnan(given[code]):
            lowest = max(0.0, given[code] - eps[code])
        for _ in range(2):
            smaller = code_failure(
                scratch, most, patterns, atom, magnitude, growth, noise, eps[code], guard[code], lowest, given[code],
                gaussian, part_of(on, here), extremes[code], lists, limits, out,
            )  # fmt: skip
            if not smaller or lowest == 0:
                break
            lowest = 0.0
        thresholds[code], probabilities[code] = out[0], out[1]


@compiled
def listed_failure(active, magnitude, locked, variance, bound, noise, eps, guard, thresholds, probabilities):
    """The best threshold of each code and its bound, from the interference at every atom (code, atom)."""
    n_atoms = active.shape[1]
    (support, others, few), limits, out = new_lists(n_atoms, n_atoms)
    for code in range(len(active)):
        n_on, n_off, off = 0, 0, 0.0
        for i in range(n_atoms):
            if active[code, i]:
                support[0, n_on], support[2, n_on] = variance[code, i] + noise, magnitude[code, i] + locked[code, i]
                support[1, n_on] = bound[code, i] if noise == 0 else np.inf
                n_on += 1
            elif noise > 0 or bound[code, i] > 0:
                others[0, n_off] = variance[code, i] + noise
                others[1, n_off] = bound[code, i] if noise == 0 else np.inf
                off = max(off, others[1, n_off])
                n_off += 1
        smallest = smallest_of(magnitude[code][active[code]], eps[code], noise)
        set_limits(support, n_on, eps[code], guard[code], smallest, 0.0, off, n_on < n_atoms, limits)
        best_threshold(support, filled_up(support, n_on), others, filled_up(others, n_off), few, limits, out)
        thresholds[code], probabilities[code] = out[0], out[1]
