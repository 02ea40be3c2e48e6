"""
The failure bound of a layer with sharper tails than Hoeffding's.

All atoms have closed tails; the dear ones, which need the list of what reaches an atom, are computed for those atoms
whose closed tails matter. Every atom counts with a bound of its own, so the sum remains one.

==========  ====================  ======================================================================
array       axes                  meaning
==========  ====================  ======================================================================
listing     (4, atom)             variance, bound, floor |x_i| + d_i and filter; active atoms come first
thresholds  (threshold, filter)   candidates, ascending or descending for every filter
terms       (threshold, atom)     tails of all atoms
totals      (threshold, filter)   their sums over the atoms of a filter
lattice     (2, entry)            counts, written over
work        (3, atom)             written over by rough sums
=====================================================================================================
"""

# ruff: noqa: ANN001, ANN201, SIM110 - numba infers the types

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dcsc.kernels.arguments import Patterns, Scratch, Sums
from dcsc.kernels.compile import compiled
from dcsc.kernels.gather import by_position, gather_code
from dcsc.kernels.interference import LANES, all_tiles, code_interference
from dcsc.kernels.lists import longest_of
from dcsc.kernels.rademacher import (
    CHERNOFF,
    EXACT,
    GAUSSIAN,
    LONGEST,
    closed_tail,
    lower_by_chernoff,
    lower_by_lattice,
)
from dcsc.kernels.scatter import coordinates
from dcsc.kernels.sorting import copy, entries_at, order_of, places_where, smallest_of, sort, total_of
from dcsc.kernels.tails import LANES as VECTOR
from dcsc.kernels.tails import ROUGH, rough_tails
from dcsc.kernels.tiles import ROW_BYTES, VECTOR_BYTES

PADDING = ROW_BYTES // 8
"""Zeros at both ends of a pattern."""
SHARE = 0.03
"""Share of a bound that atoms may have whose tails stay closed, and share of the rest that need not be exact."""
COARSE, COARSE_WIDTH = 7, 0.15
"""Thresholds that are tried beside the first one, and how far from it, relative to it."""
FINE, FINE_WIDTH = 5, 0.04
"""The same with exact tails, which cost as much for a few thresholds as for one."""
MOST_COUNTED = 200
"""Terms of a sum that is counted on a lattice: of longer ones it costs too much, and Chernoff's bound is near."""
HOPELESS = 100.0, 50.0
"""Sums of closed tails, and of Chernoff's, from which on sharper ones are not tried: their sum is seldom below 1."""
FIRST_GRID = 24
"""Thresholds of a filter that are tried when there is none to begin with."""
ROUGHLY = -1
"""Kind of tail: the Gaussian one or a little more, at the threshold that is given, many atoms at a time."""
SMALLEST = 1e-290
"""Rough sums below are not compared."""
CHOOSING = 1 / 3
"""Share of the drawn atoms that only say which threshold is best."""

# Below, constants are handed on as np.int64 or np.bool_: numba compiles what it is given a literal for once a literal.


class Source(NamedTuple):
    """
    Where the lists of what reaches atoms come from.

    Parameters
    ----------
    scratch : Scratch
        For a code, as its interference left it.
    patterns : Patterns
        Rows of the Gram kernel.
    atom, value : ndarray, shape (non-zero,)
        The code, of magnitudes; or columns whose entries share a sign.
    firsts : ndarray of int64, shape (column + 1,)
        Where each column starts, and where the last one ends.
    by_columns : bool
        Whether there are columns.
    """

    scratch: Scratch
    patterns: Patterns
    atom: NDArray
    value: NDArray
    firsts: NDArray
    by_columns: bool


@compiled
def margin_at(listing, i, n_on, thresholds, g, eps):
    """Margin of an atom at a threshold of its filter."""
    beta = thresholds[g, np.int64(listing[3, i])]
    return listing[2, i] - beta - eps if i < n_on else beta - eps


@compiled
def closed_term(kind, listing, i, n_on, margin, slack, noise):
    """Closed tail of an atom at a margin."""
    factor = 1.0 if i < n_on else 2.0
    bound = listing[1, i] if noise == 0 else np.inf
    return closed_tail(kind, margin, listing[0, i] + noise, bound, factor, slack)


@compiled
def closed_terms(kind, listing, n_on, n, thresholds, eps, slack, noise, terms, totals):
    """Closed tails of all atoms at all thresholds, and their sums by filter."""
    totals[:] = 0.0
    for g in range(len(thresholds)):
        for i in range(n):
            margin = margin_at(listing, i, n_on, thresholds, g, eps)
            terms[g, i] = closed_term(kind, listing, i, n_on, margin, slack, noise)
            totals[g, np.int64(listing[3, i])] += terms[g, i]


@compiled
def rough_sum(listing, n_on, n, thresholds, g, eps, slack, noise, work):
    """Sum of the closed Gaussian tails of all atoms at a threshold of each filter, but for a share of `ROUGH`."""
    margins, bounds, tails = work[0], work[1], work[2]
    for i in range(n):
        margins[i] = margin_at(listing, i, n_on, thresholds, g, eps) - slack
        bounds[i] = listing[1, i] if noise == 0 else np.inf
    rough_tails(tails, margins, listing[0], bounds, noise, n)
    total = 0.0
    for i in range(n_on):
        total += tails[i]
    for i in range(n_on, n):
        total += min(1.0, 2 * tails[i])
    return total


@compiled
def roughly_best(listing, n_on, n, grid, eps, slack, noise, work):
    """Number the threshold of a grid with the smallest closed sum over all filters; -1 if rough sums do not tell."""
    sums, best = np.empty(len(grid)), 0
    for g in range(len(grid)):
        sums[g] = rough_sum(listing, n_on, n, grid, g, eps, slack, noise, work)
        best = g if sums[g] < sums[best] else best
    for g in range(len(grid)):
        if g != best and not sums[g] > max(sums[best], SMALLEST) * (1 + 3 * ROUGH):
            return -1
    return best


@compiled
def choose(terms, chosen, n, share, fresh):
    """Choose more atoms, the largest, so that those not chosen make up at most a share of the sum; returns how many."""
    sums, total, left, exponent, count = np.zeros(1100), 0.0, 0.0, 1099, 0
    for i in range(n):
        total += terms[i]
        if terms[i] > 0 and not chosen[i]:
            sums[10 - math.frexp(terms[i])[1]] += terms[i]
    while exponent > 0 and left + sums[exponent] <= share * total:
        left += sums[exponent]
        exponent -= 1
    for i in range(n):
        fresh[i] = terms[i] > 0 and not chosen[i] and 10 - math.frexp(terms[i])[1] <= exponent
        chosen[i] |= fresh[i]
        count += fresh[i]
    return count


@compiled
def best_of(totals, by_filter, best):
    """Number the threshold of each filter whose sum is smallest, or the one that is best for all filters together."""
    for f in range(totals.shape[1]):
        best[f] = 0
        for g in range(1, len(totals)):
            if by_filter:
                best[f] = g if totals[g, f] < totals[best[f], f] else best[f]
            else:
                best[f] = g if total_of(totals[g]) < total_of(totals[best[f]]) else best[f]
        if not by_filter:
            best[:] = best[f]
            break


@compiled
def sharpen(kind, members, coefficients, starts, listing, n_on, thresholds, at, eps, slack, noise, terms, lattice):
    """
    Lower the tails of atoms whose lists come one after another.

    Before the lattice, Chernoff's bound is computed at threshold number `at` only, or at all if that is negative. The
    lattice is used from the largest tail on until the rest hardly matters there, or no threshold is left that may do.
    """
    n_thresholds = len(thresholds)
    margins, values, done = np.empty(n_thresholds), np.empty(n_thresholds), np.zeros(n_thresholds)
    largest, falling = np.empty(len(members)), np.empty(len(members))
    here, longest = slice(0, n_thresholds) if at < 0 else slice(at, at + 1), 0
    for m in range(len(members)):
        longest = max(longest, starts[m + 1] - starts[m])
    listed, powers = np.zeros(longest + VECTOR), np.zeros(longest + VECTOR)
    for m in range(len(members)):
        i = members[m]
        for g in range(n_thresholds):
            margins[g], values[g] = margin_at(listing, i, n_on, thresholds, g, eps), terms[g, i]
        a = coefficients[starts[m] : starts[m + 1]]
        factor = 1.0 if i < n_on else 2.0
        lower_by_chernoff(a, listing[0, i], margins[here], factor, slack, noise, values[here], listed, powers)
        for g in range(n_thresholds):
            terms[g, i] = values[g]
        largest[m] = values[max(at, 0)]
        falling[m] = -largest[m]
    rest, sharpened = total_of(largest), 0.0
    if kind < EXACT or rest > HOPELESS[1]:
        return
    order = order_of(falling, np.bool_(False))
    for rank in range(len(order)):
        m = order[rank]
        i = members[m]
        if rest <= SHARE * sharpened or smallest_of(done) >= 1:
            break
        for g in range(n_thresholds):
            margins[g], values[g] = margin_at(listing, i, n_on, thresholds, g, eps), terms[g, i]
        a = coefficients[starts[m] : starts[m + 1]]
        if len(a) > MOST_COUNTED:
            continue
        lower_by_lattice(a, margins, 1.0 if i < n_on else 2.0, slack, noise, 0.0, values, lattice)
        for g in range(n_thresholds):
            terms[g, i] = values[g]
            done[g] += values[g]
        rest -= largest[m]
        sharpened += values[max(at, 0)]


@compiled
def sum_by_filter(listing, n, terms, totals):
    """Sum tails over the atoms of each filter."""
    totals[:] = 0.0
    for g in range(len(terms)):
        for i in range(n):
            totals[g, np.int64(listing[3, i])] += terms[g, i]


@compiled
def list_code(source, places):
    """What reaches the atoms at some places, |x_j| |g_ij| in ascending order without zeros: one list, and starts."""
    scratch, layout, magnitude = source.scratch, source.patterns.layout, source.value
    counts, order, of_nonzero = scratch.counts, scratch.order, scratch.places
    q1, q2, flat, n_filters = layout[0, 1], layout[0, 2], source.patterns.pattern.ravel(), layout[3, 2]
    _, _, n0, n1, n2 = source.patterns.pattern.shape
    reach = (n2 - 2 * PADDING) // n_filters // 2
    starts, coefficients = np.zeros(len(places) + 1, np.int64), np.empty(0)
    for filling in range(2):
        written = 0
        for m in range(len(places)):
            position, f = divmod(places[m], n_filters)
            p0, p1, p2 = coordinates(position, layout[0])
            for d2 in range(-reach, reach + 1):
                there = p2 - d2
                there += q2 if there < 0 else (-q2 if there >= q2 else 0)
                for at in range(counts[there - 1] if there > 0 else 0, counts[there]):
                    k = order[at]
                    k0, k1 = divmod(of_nonzero[1, k], q1)
                    d0, d1 = (p0 - k0) - layout[2, 0], (p1 - k1) - layout[2, 1]
                    d0 += layout[0, 0] if d0 < 0 else (-layout[0, 0] if d0 >= layout[0, 0] else 0)
                    d1 += q1 if d1 < 0 else (-q1 if d1 >= q1 else 0)
                    if d0 >= n0 or d1 >= n1:
                        continue
                    here = ((of_nonzero[0, k] * n0 + d0) * n1 + d1) * n2 + PADDING + (d2 + reach) * n_filters + f
                    if flat[here] != 0:
                        if filling:
                            coefficients[written] = magnitude[k] * flat[here]
                        written += 1
            starts[m + 1] = written
        if not filling:
            coefficients = np.empty(written)
    for m in range(len(places)):
        sort(coefficients[starts[m] : starts[m + 1]])
    return coefficients, starts


@compiled
def list_columns(source, places):
    """What reaches atoms from columns whose entries share a sign, as `list_code`; a column's own entries get 0."""
    scratch, patterns, atom, value, firsts, _ = source
    flat, found = by_position(scratch, patterns), np.empty((len(places), len(firsts) - 1))
    for column in range(len(firsts) - 1):
        first, last = firsts[column], firsts[column + 1]
        gather_code(scratch, patterns, atom[first:last], value[first:last])
        for k in range(first, last):
            i, position = divmod(np.int64(atom[k]), len(flat))
            flat[position, i] = 0.0
        for m in range(len(places)):
            found[m, column] = abs(scratch.target[places[m]])
    starts, coefficients, written = np.zeros(len(places) + 1, np.int64), np.empty(found.size), 0
    for m in range(len(places)):
        sort(found[m])
        for column in range(len(firsts) - 1):
            if found[m, column] > 0:
                coefficients[written] = found[m, column]
                written += 1
        starts[m + 1] = written
    return coefficients[:written], starts


@compiled
def list_atoms(scratch, most, patterns, atom, magnitude, on, kept, listing, places):
    """Variance, bound, floor and filter of all atoms of a code, active ones first; returns their number."""
    code_interference(scratch, most, patterns, atom, magnitude, 0.0, -np.inf, on, kept)  # tiles of active atoms, too
    of_nonzero, layout, n_filters = scratch.places, patterns.layout, patterns.layout[3, 2]
    size = layout[0, 2] * n_filters
    for k in range(len(atom)):
        listing[0, k], listing[1, k], listing[2, k] = on.variance[k], on.bound[k], magnitude[k]
        listing[3, k] = of_nonzero[0, k]
        places[k] = of_nonzero[1, k] * size + of_nonzero[2, k] * n_filters + of_nonzero[0, k]
    n, here = len(atom), 0
    for row in range(layout[0, 0] * layout[0, 1]):
        for t in range(0, size, LANES):
            for lane in range(min(LANES, size - t)):
                if kept.bound[here + lane] >= 0:
                    listing[0, n], listing[1, n] = kept.variance[here + lane], kept.bound[here + lane]
                    listing[2, n] = 0.0
                    places[n] = row * size + t + lane
                    listing[3, n] = (t + lane) % n_filters
                    n += 1
            here += LANES
    return n


@compiled
def list_interference(active, magnitude, locked, variance, bound, n_filters, listing, places):
    """As `list_atoms`, from the interference at every atom; returns the number of active ones."""
    n, n_on, size = 0, 0, len(active) // n_filters
    for wanted in (True, False):
        for atom in range(len(active)):
            if active[atom] == wanted:
                f, position = divmod(atom, size)
                listing[0, n], listing[1, n], listing[2, n] = variance[atom], bound[atom], 0.0
                if wanted:
                    listing[2, n] = magnitude[atom] + locked[atom]
                    n_on += 1
                listing[3, n], places[n] = f, position * n_filters + f
                n += 1
    return n_on


@compiled
def first_thresholds(listing, n_on, n, eps, slack, noise, out):
    """
    A threshold of each filter to begin with.

    The best for closed tails of a few between the input error and the smallest floor, or one that no inactive atom
    exceeds where none is active.
    """
    grid = np.empty((FIRST_GRID, len(out)))
    terms, totals, best = np.empty((FIRST_GRID, n)), np.empty((FIRST_GRID, len(out))), np.empty(len(out), np.int64)
    floor, above = np.full(len(out), np.inf), np.zeros(len(out))
    for i in range(n):
        f = np.int64(listing[3, i])
        if i < n_on:
            floor[f] = min(floor[f], listing[2, i])
        else:
            above[f] = max(above[f], listing[1, i] if noise == 0 else 40 * math.sqrt(listing[0, i] + noise))
    for g in range(FIRST_GRID):
        for f in range(len(out)):
            if floor[f] < np.inf:
                grid[g, f] = eps + (g + 1) / (FIRST_GRID + 1) * max(floor[f] - 2 * eps, 0.0)
            else:
                grid[g, f] = eps + above[f] * (1 + 1e-9) + 16 * slack
    closed_terms(np.int64(GAUSSIAN), listing, n_on, n, grid, eps, slack, noise, terms, totals)
    best_of(totals, np.bool_(True), best)
    for f in range(len(out)):
        out[f] = grid[best[f], f]


@compiled
def grid_around(centre, width, eps, grid):
    """Write thresholds about the given ones, a width relative to them to both sides, the given ones in the middle."""
    middle = len(grid) // 2
    for g in range(len(grid)):
        for f in range(len(centre)):
            grid[g, f] = max(centre[f] * (1 + width * (g - middle) / middle), eps if g != middle else centre[f])


@compiled
def keep_better(totals, grid, by_filter, thresholds, sums):
    """
    Take over thresholds and sums of filters, or of all together, where they are smaller than known ones.

    Returns whether no best one lies at an end of the grid.
    """
    best = np.empty(len(sums), np.int64)
    best_of(totals, by_filter, best)
    if by_filter or total_of(totals[best[0]]) < total_of(sums):
        for f in range(len(best)):
            if not by_filter or totals[best[f], f] < sums[f]:
                thresholds[f], sums[f] = grid[best[f], f], totals[best[f], f]
    for f in range(len(best)):
        if best[f] == 0 or best[f] == len(grid) - 1:
            return False
    return True


@compiled
def list_members(source, places):
    """Lists of what reaches atoms, from a code or from columns."""
    return list_columns(source, places) if source.by_columns else list_code(source, places)


@compiled
def least_of(totals, by_filter):
    """The smallest sum of all filters that the thresholds of a grid give."""
    least, best = np.inf, 0.0
    for g in range(len(totals)):
        least = min(least, total_of(totals[g]))
    if by_filter:
        for f in range(totals.shape[1]):
            smallest = totals[0, f]
            for g in range(1, len(totals)):
                smallest = min(smallest, totals[g, f])
            best += smallest
        least = min(least, best)
    return least


@compiled
def evaluate(kind, share, source, atoms, grid, by_filter, law, terms, totals, lattice):
    """Sums of the tails at all thresholds of a grid, as sharp as asked for but for a share."""
    (listing, places, n_on, n, _), (eps, slack, noise) = atoms, law
    best = np.empty(totals.shape[1], np.int64)
    closed_terms(min(kind, GAUSSIAN), listing, n_on, n, grid, eps, slack, noise, terms, totals)
    if kind < CHERNOFF or least_of(totals, by_filter) > HOPELESS[0]:
        return
    chosen, fresh, reference = np.zeros(n, np.bool_), np.empty(n, np.bool_), np.empty(n)
    while True:
        best_of(totals, by_filter, best)
        for i in range(n):
            g = best[np.int64(listing[3, i])] if kind < EXACT else len(grid) // 2
            reference[i] = terms[g, i]
        if choose(reference, chosen, n, share, fresh) == 0:
            return
        members = places_where(fresh)
        coefficients, starts = list_members(source, entries_at(places, members))
        at = -1 if kind < EXACT else len(grid) // 2
        sharpen(kind, members, coefficients, starts, listing, n_on, grid, at, eps, slack, noise, terms, lattice)
        sum_by_filter(listing, n, terms, totals)


@compiled
def search(kind, source, atoms, by_filter, law, thresholds, sums, lattice):
    """Lower sums by better thresholds: beside the given ones with ever sharper tails, then closer to what is best."""
    coarse, fine, one = np.empty((COARSE, len(sums))), np.empty((FINE, len(sums))), np.empty((1, len(sums)))
    terms, totals = np.empty((COARSE, atoms[3])), np.empty((COARSE, len(sums)))
    listing, _, n_on, n, work = atoms
    for _ in range(2):
        grid_around(thresholds, COARSE_WIDTH, law[0], coarse)
        best = np.int64(-1) if by_filter else roughly_best(listing, n_on, n, coarse, *law, work)
        if best < 0:
            evaluate(np.int64(GAUSSIAN), SHARE, source, atoms, coarse, by_filter, law, terms, totals, lattice)
            if keep_better(totals, coarse, by_filter, thresholds, sums):
                break
        else:
            if best != COARSE // 2:  # whose sums are those that are known
                copy(coarse[best], thresholds)
                copy(coarse[best], one[0])
                closed_terms(np.int64(GAUSSIAN), listing, n_on, n, one, *law, terms[:1], totals[:1])
                copy(totals[0], sums)
            if 0 < best < COARSE - 1:
                break
    if kind == CHERNOFF:
        copy(thresholds, one[0])
        evaluate(np.int64(CHERNOFF), SHARE, source, atoms, one, by_filter, law, terms[:1], totals[:1], lattice)
        keep_better(totals[:1], one, by_filter, thresholds, sums)
    if kind >= EXACT:
        for _ in range(2):
            grid_around(thresholds, FINE_WIDTH, law[0], fine)
            evaluate(np.int64(EXACT), SHARE, source, atoms, fine, by_filter, law, terms[:FINE], totals[:FINE], lattice)
            if keep_better(totals[:FINE], fine, by_filter, thresholds, sums):
                break


@compiled
def search_by_filter(kind, source, atoms, law, thresholds, sums, lattice):
    """Lower the sum of each filter by a threshold of its own where that is better."""
    own, least = np.empty(len(sums)), np.full(len(sums), np.inf)
    first_thresholds(atoms[0], atoms[2], atoms[3], *law, own)
    search(kind, source, atoms, np.bool_(True), law, own, least, lattice)
    for f in range(len(sums)):
        if least[f] < sums[f]:
            thresholds[f], sums[f] = own[f], least[f]


@compiled
def draw_members(terms, n, uniforms):
    """Draw atoms with probabilities in proportion to their terms: one from each of equal parts of the sum."""
    members, total, last = np.empty(len(uniforms), np.int64), 0.0, 0
    for i in range(n):
        total += terms[i]
        last = i if terms[i] > 0 else last
    at, before = 0, 0.0
    for k in range(len(uniforms)):
        wanted = (k + uniforms[k]) / len(uniforms) * total
        while at < last and before + terms[at] <= wanted:
            before += terms[at]
            at += 1
        members[k] = at
    return members


@compiled
def mean_ratios(kind, uniforms, source, atoms, grid, law, terms, lattice):
    """
    Sharp tails at the thresholds of a grid over the closed one at its middle: their means over atoms drawn by it.

    `terms` are the closed ones at the middle.
    """
    (listing, places, n_on, n, _), (eps, slack, noise) = atoms, law
    members = draw_members(terms, n, uniforms)
    coefficients, starts = list_members(source, entries_at(places, members))
    closed = np.empty((len(grid), len(members)))
    for g in range(len(grid)):
        for m in range(len(members)):
            margin = margin_at(listing, members[m], n_on, grid, g, eps)
            closed[g, m] = closed_term(np.int64(GAUSSIAN), listing, members[m], n_on, margin, slack, noise)
    return ratios_of(kind, members, coefficients, starts, listing, n_on, grid, law, closed, lattice)


@compiled
def ratios_of(kind, members, coefficients, starts, listing, n_on, grid, law, closed, lattice):
    """As `mean_ratios`, for drawn atoms whose lists come one after another, from closed tails (threshold, member)."""
    (eps, slack, noise), n_thresholds, middle, longest = law, len(grid), len(grid) // 2, 0
    margins, values, ratios = np.empty(n_thresholds), np.empty(n_thresholds), np.zeros(n_thresholds)
    for m in range(len(members)):
        longest = max(longest, starts[m + 1] - starts[m])
    listed, powers = np.zeros(longest + VECTOR), np.zeros(longest + VECTOR)
    for m in range(len(members)):
        i = members[m]
        for g in range(n_thresholds):
            margins[g], values[g] = margin_at(listing, i, n_on, grid, g, eps), closed[g, m]
        a = coefficients[starts[m] : starts[m + 1]]
        factor = 1.0 if i < n_on else 2.0
        lower_by_chernoff(a, listing[0, i], margins, factor, slack, noise, values, listed, powers)
        if kind >= EXACT and len(a) <= MOST_COUNTED:
            lower_by_lattice(a, margins, factor, slack, noise, 0.0, values, lattice)
        for g in range(n_thresholds):
            ratios[g] += values[g] / (closed[middle, m] * len(members))
    return ratios


@compiled
def is_at_most(most, atoms, law, thresholds, terms, totals):
    """Whether the closed sum at thresholds is at most a number; terms and totals may be written over."""
    listing, _, n_on, n, work = atoms
    rough = rough_sum(listing, n_on, n, thresholds, 0, *law, work)
    if abs(rough - most) > 2 * ROUGH * most:
        return rough < most
    closed_terms(np.int64(GAUSSIAN), listing, n_on, n, thresholds, *law, terms, totals)
    return total_of(totals[0]) <= most


@compiled
def drawn_bound(kind, seeking, room, uniforms, source, atoms, law, thresholds, lattice):
    """
    Draw a number whose mean is the bound with sharp tails: that with closed ones, times what they are too large by.

    The latter is a mean over drawn atoms. A threshold that other ones of them chose may raise the closed bound up to
    `room`. Where that with closed tails exceeds 1 it is returned.
    """
    (listing, _, n_on, n, _), n_filters = atoms, len(thresholds)
    grid, one, sums = np.empty((FINE, n_filters)), np.empty((1, n_filters)), np.empty((1, n_filters))
    terms, others, of_others = np.empty((1, n)), np.empty((1, n)), np.empty((1, n_filters))
    copy(thresholds, one[0])
    closed_terms(np.int64(GAUSSIAN), listing, n_on, n, one, *law, terms, sums)
    if seeking and total_of(sums[0]) > 0:
        search(np.int64(GAUSSIAN), source, atoms, np.bool_(False), law, thresholds, sums[0], lattice)
        if thresholds[0] != one[0, 0]:
            copy(thresholds, one[0])
            closed_terms(np.int64(GAUSSIAN), listing, n_on, n, one, *law, terms, sums)
    bound, n_choosing = total_of(sums[0]), np.int64(math.ceil(CHOOSING * len(uniforms))) if seeking else 0
    if kind < CHERNOFF or bound == 0 or bound > 1:
        return bound
    if seeking and room > 0:
        grid_around(thresholds, FINE_WIDTH, law[0], grid)
        ratios = mean_ratios(kind, uniforms[:n_choosing], source, atoms, grid, law, terms[0], lattice)
        best, most = FINE // 2, max(bound, min(room, 1.0))
        for g in range(FINE):
            copy(grid[g], one[0])
            if ratios[g] < ratios[best] and is_at_most(most, atoms, law, one, others, of_others):
                best = g
        copy(grid[best], thresholds)
        copy(thresholds, one[0])
        if best != FINE // 2:
            closed_terms(np.int64(GAUSSIAN), listing, n_on, n, one, *law, terms, sums)
    ratio = mean_ratios(kind, uniforms[n_choosing:], source, atoms, one, law, terms[0], lattice)[0]
    return total_of(sums[0]) * min(1.0, ratio * (1 + 1e-12))


@compiled
def code_bound(kind, seeking, by_filter, room, uniforms, source, atoms, law, thresholds, lattice):
    """Bound, or a draw of it, at the thresholds of all filters or at better ones, which are written over them."""
    grid = np.empty((1, len(thresholds)))
    copy(thresholds, grid[0])
    if kind == ROUGHLY:
        listing, _, n_on, n, work = atoms
        return min(1.0, rough_sum(listing, n_on, n, grid, 0, *law, work) * (1 + ROUGH))
    if len(uniforms):
        bound = drawn_bound(kind, seeking, room, uniforms, source, atoms, law, thresholds, lattice)
        if bound <= 1:
            return bound
    sums, terms, totals = np.empty(len(thresholds)), np.empty((1, atoms[3])), np.empty((1, len(thresholds)))
    now = np.int64(GAUSSIAN) if seeking else kind
    evaluate(now, SHARE, source, atoms, grid, np.bool_(False), law, terms, totals, lattice)
    copy(totals[0], sums)
    if seeking and total_of(sums) > 0:
        search(kind, source, atoms, np.bool_(False), law, thresholds, sums, lattice)
        if by_filter and total_of(sums) > 0:
            search_by_filter(kind, source, atoms, law, thresholds, sums, lattice)
    return min(1.0, total_of(sums))


@compiled
def sharpened_layer(
    kind, seeking, by_filter, room, scratch, patterns, codes, noise, eps, guard, uniforms, thresholds, probabilities
):
    """
    Bounds of consecutive codes whose signs are independent, at thresholds (code, filter) or better ones.

    With uniform numbers (code, drawn atom) draws of them, see `drawn_bound`.
    """
    longest, size = longest_of(codes.starts), all_tiles(patterns.layout)
    kept, on = Sums(np.empty(size), np.empty(size)), Sums(np.empty(longest), np.empty(longest))
    places, lattice = np.empty(size + longest, np.int64), np.empty((2, LONGEST))
    listing, work = np.empty((4, size + longest + VECTOR)), np.empty((3, size + longest + VECTOR))
    most, none = np.empty(3 * VECTOR_BYTES // 8), np.zeros(0, np.int64)
    for code in range(len(codes.starts) - 1):
        here = slice(codes.starts[code], codes.starts[code + 1])
        atom, magnitude = codes.atom[here], codes.value[here]
        n = list_atoms(scratch, most, patterns, atom, magnitude, on, kept, listing, places)
        source = Source(scratch, patterns, atom, magnitude, none, False)
        atoms = (listing, places, len(atom), n, work)
        law = (eps[code], guard[code] / 2, noise)
        probabilities[code] = code_bound(
            kind, seeking, by_filter, room, uniforms[code], source, atoms, law, thresholds[code], lattice
        )


@compiled
def sharpened_columns(
    kind, seeking, by_filter, room, scratch, patterns, columns, starts, noise, eps, guard, uniforms, everywhere,
    thresholds, probabilities,
):  # fmt: skip
    """
    As `sharpened_layer`, for codes whose non-zeros share signs, those of a column one.

    Columns of code c are starts[c]..starts[c + 1]. The interference at every atom is given as arrays (code, atom):
    whether it is active, |x_i|, what is locked to its sign, variance and bound.
    """
    active, magnitude, locked, variance, bound = everywhere
    n, n_filters = active.shape[1], patterns.layout[3, 2]
    listing, work = np.empty((4, n + VECTOR)), np.empty((3, n + VECTOR))
    places, lattice = np.empty(n, np.int64), np.empty((2, LONGEST))
    for code in range(len(starts) - 1):
        n_on = list_interference(
            active[code], magnitude[code], locked[code], variance[code], bound[code], n_filters, listing, places
        )
        firsts = columns.starts[starts[code] : starts[code + 1] + 1]
        source = Source(scratch, patterns, columns.atom, columns.value, firsts, True)
        atoms, law = (listing, places, n_on, n, work), (eps[code], guard[code] / 2, noise)
        probabilities[code] = code_bound(
            kind, seeking, by_filter, room, uniforms[code], source, atoms, law, thresholds[code], lattice
        )
