"""
Tails of Rademacher sums: P(sum_j a_j s_j + sigma Z >= t) for independent signs s_j and a Gaussian Z.

Four bounds, each the smaller of itself and those before it: Hoeffding's, the Gaussian one of Bentkus and
Dzindzalieta, Chernoff's with the true moment generating function, and the tail itself on a lattice. A list holds the
magnitudes of the a_j in ascending order, none of them 0. `slack` is what rounding may have added to a margin.

=========  ============  ==================================================================
array      axes          meaning
=========  ============  ==================================================================
margins    (threshold,)  t; ascending or descending
values     (threshold,)  bounds found so far, lowered in place
factor     ()            2 for both sides of a sum, 1 for one
lattice    (2, entry)    written over by the lattice
=========  ============  ==================================================================
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import math

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.sorting import copy, first_from, sort
from dcsc.kernels.tails import GAUSSIAN_FACTOR, LANES, exponentials

HOEFFDING, GAUSSIAN, CHERNOFF, EXACT = range(4)

NEAR, FAR_OUT = 0.1, 0.5
"""Exponents up to which Hoeffding's tail is the smaller one, and from which on the Gaussian one is."""
UNIT = 2.0**-52
STEPS = 40
"""Newton steps at most; any tilt gives a bound."""
CLOSE = 3e-3
"""Newton stops when the exponent is as near to its minimum."""
FAR = 300.0
"""Largest product of a tilt and a term."""
COARSENESS, FEW = 0.005, 64
"""Share of the margin that the lattice may cost; less in proportion for fewer terms, which cost little."""
WHOLE = 52
"""Terms up to which counts are exact."""
REMAINDER = 2e-3
"""Share of a tail that is admitted for rounding errors larger than what the margin is lowered by."""
LONGEST = 2**15
"""Entries of the lattice at most."""
DOUBLINGS = 900
"""Terms after which counts are scaled down, so that they don't overflow."""
HALVED = 2.0**-DOUBLINGS
"""What they are scaled by."""
BERRY_ESSEEN = 0.56
"""Constant of the theorem for sums of independent terms that differ (Shevtsova 2010)."""
SMALLEST = 5e-324
"""The smallest positive number."""
CELLS = 64
"""Cells of the lattice a deviation of the Gaussian part."""


@compiled
def closed_tail(kind, margin, variance, bound, factor, slack):
    """Hoeffding's tail, or the smaller of it and the Gaussian one; 0 beyond the bound of the sum."""
    margin -= slack
    if margin > bound:
        return 0.0
    if margin <= 0 or variance <= 0:
        return 1.0
    exponent = margin * margin / (2 * variance)
    tail = 1.0
    if kind < GAUSSIAN or exponent < FAR_OUT:
        tail = math.exp(-exponent)
    if kind >= GAUSSIAN and exponent > NEAR:
        tail = min(tail, GAUSSIAN_FACTOR * math.erfc(math.sqrt(exponent)))
    return min(1.0, factor * tail * (1 + 8 * UNIT * (1 + exponent)))


@compiled
def tilted_exponent(a, k, margin, noise, tilt, powers):
    """
    Logarithm of Chernoff's bound from k terms, and the tilt that gives it, from a tilt that is not beyond the best one.

    The slope of the exponent is concave, so that Newton's steps from the left never go too far.
    """
    for _ in range(STEPS):
        exponentials(powers, a, -2 * tilt, k)
        slope, curvature = noise * tilt - margin, noise
        for j in range(k):
            q = a[j] / (1 + powers[j])
            slope += (1 - powers[j]) * q
            curvature += 4 * powers[j] * q * q
        if curvature <= 0 or slope >= 0 or slope * slope <= 2 * CLOSE * curvature:
            break
        tilt -= slope / curvature
        if noise == 0 and not tilt * a[k - 1] < FAR:  # the tilt of a margin at the very bound is infinite
            tilt = FAR / a[k - 1]
            break
    exponentials(powers, a, -2 * tilt, k)
    exponent, size, product = 0.5 * noise * tilt * tilt - tilt * margin, tilt * margin + noise * tilt * tilt, 1.0
    for j in range(k):
        exponent += tilt * a[j]
        product *= 0.5 * (1 + powers[j])
        if j % 64 == 63:
            exponent += math.log(product)
            product = 1.0
    exponent += math.log(product)
    for j in range(k):
        size += tilt * a[j] + 1
    return exponent + 8 * UNIT * (size + k), tilt


@compiled
def left_of_chernoff(a, k, margin, noise, tilt, powers):
    """
    What Chernoff's bound may be multiplied by: the mean of exp(-tilt (S - t)) above t under the tilted law of S.

    That law is near a normal one by the theorem of Berry and Esseen, twice its distance being added. `powers` are the
    exp(-2 tilt a_j).
    """
    mean, variance, third = noise * tilt, noise, 0.0
    for j in range(k):
        tangent = (1 - powers[j]) / (1 + powers[j])
        square = tangent * tangent
        mean += a[j] * tangent
        variance += a[j] * a[j] * (1 - square)
        third += a[j] * a[j] * a[j] * (1 - square * square)
    deviation, ahead = math.sqrt(variance), mean - margin
    steep = tilt * deviation
    if not 1e-3 < steep < 30:  # nothing to gain, or beyond what the exponential below can hold
        return 1.0
    normal = (
        math.exp(0.5 * steep * steep - tilt * ahead) * 0.5 * math.erfc((steep - ahead / deviation) / math.sqrt(2.0))
    )
    return min(1.0, (normal + 2 * BERRY_ESSEEN * third / (variance * deviation)) * (1 + 1e-9))


@compiled
def lower_by_chernoff(a, variance, margins, factor, slack, noise, values, listed, powers):
    """Lower bounds by Chernoff's, margin after margin from the smallest on."""
    n, k = len(margins), len(a)
    up, tilt = margins[0] <= margins[n - 1], 0.0
    if k == 0:
        return
    copy(a, listed)
    for step in range(n):
        g = step if up else n - 1 - step
        margin = margins[g] - slack
        if margin <= 0 or values[g] == 0 or variance + noise <= 0:
            continue
        exponent, tilt = tilted_exponent(listed, k, margin, noise, max(tilt, margin / (variance + noise)), powers)
        if exponent < 0:
            left = left_of_chernoff(listed, k, margin, noise, tilt, powers)
            values[g] = min(values[g], factor * left * math.exp(exponent))


@compiled
def deviations_of(margin, variance, value):
    """
    Standard deviations that rounding errors exceed, while the sum reaches a margin, with little probability.

    That of both is at most Hoeffding's tail times the errors' own exp(-L), for a tilt of t / v.
    """
    hoeffding_over_value = -margin * margin / (2 * variance) - math.log(value)
    return math.sqrt(2 * (max(0.0, hoeffding_over_value) - math.log(REMAINDER)))


@compiled
def lattice_step(a, margin, total, variance, value, noise):
    """Width of a lattice on which rounding costs about `COARSENESS` of a margin."""
    k = len(a)
    deviations = deviations_of(margin, variance, value)
    share = COARSENESS * min(1.0, k / FEW)
    step = share * margin / min(0.25 * k, deviations * math.sqrt(k / 12))
    step = max(step, (total - (0.9 * margin if noise == 0 else -total)) / (2.0 * (LONGEST - 2)))
    return a[k - 1] / math.ceil(a[k - 1] / step)  # equal terms lie on the lattice


@compiled
def add_two(after, before, one, other, reached):
    """Counts with two integers more, the first not above the second: after[b] sums four of before."""
    both = one + other
    copy(before[: min(one, reached + 1)], after)
    add_shifted(after[one : min(other, reached + 1)], before[one:], before)
    if reached >= other:
        add_shifted(after[other : min(both, reached + 1)], before[other:], before)
        add_run(after[other : min(both, reached + 1)], before[other - one :])
    if reached >= both:
        here, first, second, third = after[both : reached + 1], before[both:], before[other:], before[one:]
        for b in range(len(here)):
            here[b] = (first[b] + second[b]) + (third[b] + before[b])


@compiled
def add_shifted(out, one, other):
    """Add two runs."""
    for b in range(len(out)):
        out[b] = one[b] + other[b]


@compiled
def add_run(out, run):
    """Add a run to another one."""
    for b in range(len(out)):
        out[b] += run[b]


@compiled
def count_subsets(multiples, top, counts):
    """
    Count the subsets of integers, ascending, by their sums up to `top`; returns the row of `counts` that holds them.

    Counts are scaled down by the power of 2 that is returned.
    """
    now, scale, reached, n = 0, 0, 0, 0
    counts[:, : top + 1] = 0.0
    counts[0, 0] = 1.0
    first, last = first_from(multiples, len(multiples), np.int64(1)), first_from(multiples, len(multiples), top + 1)
    for j in range(first, last, 2):
        before, after = counts[now], counts[1 - now]
        if j + 1 < last:
            reached = min(top, reached + multiples[j] + multiples[j + 1])
            add_two(after, before, multiples[j], multiples[j + 1], reached)
        else:
            reached = min(top, reached + multiples[j])
            copy(before[: min(multiples[j], reached + 1)], after)
            add_shifted(after[multiples[j] : reached + 1], before[multiples[j] :], before)
        now, n = 1 - now, n + 2
        if n >= DOUBLINGS:
            for b in range(reached + 1):
                counts[now, b] *= HALVED
            scale, n = scale + DOUBLINGS, 0
    return now, scale


@compiled
def smoothed(counts, last, reach, scale, level, step, deviation, negligible):
    """
    Bound the mean of Q((level + 2 step b) / sigma) over the counts of a lattice, b = 0..reach, known up to `last`.

    Cells count as their first entry, where Q is largest; what lies beyond a negligible Q, or unknown, counts in full.
    """
    width = max(1, int(deviation / (CELLS * 2 * step)))
    spread = deviation * math.sqrt(2.0)
    found, b = 0.0, 0
    while b <= last:
        tail = 0.5 * math.erfc((level + 2 * step * b) / spread)
        if tail <= negligible:
            return found + tail
        stop, mass = min(last + 1, b + width), 0.0
        for c in range(b, stop):
            mass += counts[c]
        found += math.ldexp(mass, scale) * tail
        b = stop
    return found if last == reach else found + 0.5 * math.erfc((level + 2 * step * b) / spread)


@compiled
def lower_by_lattice(a, margins, factor, slack, noise, step, values, lattice):
    """
    Lower bounds by the tail on a lattice, whose width is chosen unless `step` is above 0.

    With the multiples n_j of the width h, errors e_j = a_j - h n_j, E = sum e_j s_j and any r >= 0,
    P(S >= t) <= P(sum h n_j s_j >= t - r) + P(E > r and S >= t); the last is 0 from r = sum |e_j| on.
    """
    total, variance, smallest, value = 0.0, noise, np.inf, 0.0
    for x in a:
        total += x
        variance += x * x
    for g in range(len(margins)):
        margin = margins[g] - slack
        if margin > 0 and values[g] > 0 and (margin <= total or noise > 0) and margin < smallest:
            smallest, value = margin, min(1.0, values[g] / factor)
    if len(a) == 0 or smallest == np.inf:
        return
    if step <= 0:
        step = lattice_step(a, smallest, total, variance, value, noise)
    multiples, reach, n_counted, errors, squares = np.empty(len(a), np.int64), np.int64(0), 0, 0.0, 0.0
    moved = 0.0
    for j in range(len(a)):
        multiples[j] = np.int64(math.floor(a[j] / step + 0.5))
        signed = a[j] - multiples[j] * step
        error = abs(signed) + 2 * UNIT * a[j]
        errors, squares = errors + error, squares + error * error
        moved += a[j] * (signed + 4 * UNIT * a[j])
        reach, n_counted = reach + multiples[j], n_counted + (multiples[j] > 0)
    deviation, negligible, top = math.sqrt(noise), 0.0, np.int64(-1)
    lasts, lowered, remainders = np.empty(len(margins), np.int64), np.empty(len(margins)), np.empty(len(margins))
    for g in range(len(margins)):
        lasts[g] = -2  # nothing to do
        margin = margins[g] - slack
        if margin <= 0 or values[g] == 0 or (margin > total and noise == 0):
            continue
        one_sided = min(1.0, values[g] / factor)
        remainders[g] = REMAINDER * one_sided * (1 + 1e-9)
        lowered[g] = max(0.0, margin / variance * moved)
        lowered[g] += deviations_of(margin, variance, one_sided) * math.sqrt(squares) * (1 + 1e-12)
        if lowered[g] >= errors:
            lowered[g], remainders[g] = errors, 0.0
        beyond = 0.0  # sums below the margin by more don't count
        if noise > 0:
            beyond = math.sqrt(2 * math.log(100 / (REMAINDER * min(1.0, values[g] / factor)))) * deviation
        last = 0.5 * (reach - (margin - lowered[g] - beyond) / step)
        lasts[g] = max(-1, min(reach, np.int64(math.floor(last + 1e-9 + 4 * UNIT * reach))))
        top = max(top, lasts[g])
    if top >= lattice.shape[1]:
        return
    now, scale = 0, 0
    if top >= 0:
        now, scale = count_subsets(multiples, top, lattice)
    counts, scale = lattice[now], scale - n_counted
    if noise == 0:
        for b in range(1, top + 1):
            counts[b] += counts[b - 1]
    for g in range(len(margins)):
        if lasts[g] == -2:
            continue
        found = 0.0
        if noise > 0:
            level = margins[g] - slack - lowered[g] - reach * step
            negligible = 0.01 * REMAINDER * min(1.0, values[g] / factor)
            found = smoothed(counts, lasts[g], reach, scale, level, step, deviation, negligible)
        elif lasts[g] >= 0:
            found = math.ldexp(counts[lasts[g]], scale)
        if n_counted > WHOLE or noise > 0:
            found *= 1 + 2 * UNIT * (len(a) + top + 8)
        found += remainders[g]
        values[g] = min(values[g], factor * found)


@compiled
def listed_tails(kind, coefficients, starts, margins, factors, noise, slack, step, out):
    """Tails of ragged lists of coefficients in any order, one margin each."""
    lattice, value, margin = np.empty((2, LONGEST)), np.empty(1), np.empty(1)
    for i in range(len(starts) - 1):
        a = np.empty(starts[i + 1] - starts[i])
        for j in range(len(a)):
            a[j] = abs(coefficients[starts[i] + j])
        sort(a)
        a = a[first_from(a, len(a), SMALLEST) :]
        bound, variance = 0.0, 0.0
        for x in a:
            bound, variance = bound + x, variance + x * x
        guard = slack[i] + 4 * UNIT * (len(a) + 1) * bound
        margin[0] = margins[i]
        value[0] = closed_tail(kind, margins[i], variance + noise, bound if noise == 0 else np.inf, factors[i], guard)
        if kind >= CHERNOFF:
            listed = np.zeros(len(a) + LANES)
            lower_by_chernoff(a, variance, margin, factors[i], guard, noise, value, listed, np.empty(len(listed)))
        if kind >= EXACT:
            lower_by_lattice(a, margin, factors[i], guard, noise, step, value, lattice)
        out[i] = value[0]
