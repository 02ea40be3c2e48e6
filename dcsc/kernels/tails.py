"""
Sums of the tails of Hoeffding's inequality over lists of atoms, many at a time.

Off the support a tail is min(1, 2 exp(-t^2 / (2 v))), on the support min(1, exp(-m^2 / (2 v))), with t and m the
margins and v the variance of an atom's interference; it is 0 where the margin exceeds the bound of the interference,
else 1 where v is 0. Lists are filled up to whole `STEP`s with atoms of bound -1. numba's own exponential takes one
number at a time, and all the time would go to it, hence the few lines of LLVM.
"""

# ruff: noqa: ANN001, ANN201, ANN202 - numba infers the types

from __future__ import annotations

import math

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from dcsc.kernels.tiles import copied, intrinsic_of, pointer_to

LANES = 8
VECTORS = 2
STEP = LANES * VECTORS
"""Entries that are summed at once."""

LOWEST = -700.0
"""Exponents below are raised to it: the tail stays a bound, and no subnormal number slows the sum down."""
ROUNDING = 1.5 * 2.0**52
"""Added to a number, it leaves the nearest integer in the lowest bits."""
LOG2 = (0.693147180369123816490, 1.90821492927058770002e-10)
"""Natural logarithm of 2, in two parts: any integer in question times the first one is exact."""
SERIES = [1 / 479001600, 1 / 39916800, 1 / 3628800, 1 / 362880, 1 / 40320, 1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6]
SERIES += [0.5, 1.0, 1.0]

COMPLEMENT = [0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807]
COMPLEMENT += [-0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223]
"""erfc(x) is about t exp(-x^2 + p(t)) with t = 1 / (1 + x / 2) and this polynomial p, for all x >= 0."""
ROUGH = 1e-6
"""Relative error of it, which is 1.2e-7 (Press et al., Numerical Recipes, 6.2), with all rounding."""
GAUSSIAN_FACTOR = 0.25 / math.erfc(1.0)
"""Half of 1 / (4 Q(sqrt 2)): with it P(sum >= t) <= GAUSSIAN_FACTOR erfc(t / sqrt(2 v))."""

_REAL = ir.DoubleType()
_VECTOR = ir.VectorType(_REAL, LANES)
_INTEGERS = ir.VectorType(ir.IntType(64), LANES)


def constant(value):
    """A number in every lane."""
    return ir.Constant(_VECTOR, [value] * LANES)


def exponential(builder, exponent):
    """Exponentials of a vector of numbers from `LOWEST` to 0: 2^n times a series of the rest."""
    fused = intrinsic_of(builder, _VECTOR, "fmuladd", 3)
    shifted = builder.call(fused, [exponent, constant(1 / math.log(2)), constant(ROUNDING)])
    whole = builder.fsub(shifted, constant(ROUNDING))
    rest = builder.call(fused, [whole, constant(-LOG2[0]), exponent])
    rest = builder.call(fused, [whole, constant(-LOG2[1]), rest])
    value = constant(SERIES[0])
    for coefficient in SERIES[1:]:
        value = builder.call(fused, [value, rest, constant(coefficient)])
    power = builder.shl(builder.bitcast(shifted, _INTEGERS), ir.Constant(_INTEGERS, [52] * LANES))
    power = builder.add(power, ir.Constant(_INTEGERS, [1023 << 52] * LANES))
    return builder.fmul(value, builder.bitcast(power, _VECTOR))


def load(builder, array, index, v=0):
    """The v-th vector of an array from an index on."""
    return builder.load(pointer_to(builder, _VECTOR, array, index, v), align=8)


def _tail(builder, margin, variance, bound, slack, on_support):
    """Tails of a vector of atoms."""
    nothing, one, lowest = constant(0.0), constant(1.0), constant(LOWEST)
    margin = builder.select(builder.fcmp_ordered(">", margin, nothing), margin, nothing)
    exponent = builder.fdiv(builder.fmul(builder.fmul(margin, constant(-0.5)), margin), variance)
    exponent = builder.select(builder.fcmp_ordered(">", variance, nothing), exponent, nothing)
    tail = exponential(builder, builder.select(builder.fcmp_ordered(">", exponent, lowest), exponent, lowest))
    tail = tail if on_support else builder.fadd(tail, tail)
    tail = builder.select(builder.fcmp_ordered("<", tail, one), tail, one)
    return builder.select(builder.fcmp_ordered(">", margin, builder.fadd(bound, slack)), nothing, tail)


def _rough_tail(builder, margin, variance, bound):
    """The smaller one of Hoeffding's tail and the Gaussian one, about, of a vector of atoms."""
    nothing, one, lowest = constant(0.0), constant(1.0), constant(LOWEST)
    fused = intrinsic_of(builder, _VECTOR, "fmuladd", 3)

    def raised(exponent):
        return builder.select(builder.fcmp_ordered(">", exponent, lowest), exponent, lowest)

    positive = builder.select(builder.fcmp_ordered(">", margin, nothing), margin, nothing)  # of NaN as well
    exponent = builder.fdiv(builder.fmul(builder.fmul(positive, constant(0.5)), positive), variance)
    root = builder.call(intrinsic_of(builder, _VECTOR, "sqrt", 1), [exponent])
    t = builder.fdiv(one, builder.call(fused, [root, constant(0.5), one]))
    series = constant(COMPLEMENT[0])
    for coefficient in COMPLEMENT[1:]:
        series = builder.call(fused, [series, t, constant(coefficient)])
    hoeffding = exponential(builder, raised(builder.fsub(nothing, exponent)))
    gaussian = exponential(builder, raised(builder.fsub(series, exponent)))
    gaussian = builder.fmul(builder.fmul(gaussian, t), constant(GAUSSIAN_FACTOR))
    tail = builder.select(builder.fcmp_ordered("<", gaussian, hoeffding), gaussian, hoeffding)
    has_tail = builder.and_(builder.fcmp_ordered(">", margin, nothing), builder.fcmp_ordered(">", variance, nothing))
    tail = builder.select(has_tail, tail, one)
    return builder.select(builder.fcmp_ordered(">", positive, bound), nothing, tail)


def _total(builder, sums):
    """Add the lanes of a few vectors, in one order."""
    total = builder.load(sums[0])
    for other in sums[1:]:
        total = builder.fadd(total, builder.load(other))
    found = ir.Constant(_REAL, 0.0)
    for lane in range(LANES):
        found = builder.fadd(found, builder.extract_element(total, ir.Constant(ir.IntType(32), lane)))
    return found


def _sum_of_tails(on_support, rough=False):
    """Compile the sum over a part of a list, which begins at a whole step."""

    @intrinsic
    def add(typing, variance, bound, floor, start, stop, level, slack):
        number, real = types.int64, types.float64
        signature = types.float64(variance, bound, floor, number, number, real, real)

        def generate(context, builder, signature, arguments):
            variances, bounds, floors = (
                make_array(signature.args[i])(context, builder, arguments[i]) for i in range(3)
            )
            level, slack = (copied(builder, _VECTOR, argument) for argument in arguments[5:])
            sums = [cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, None)) for _ in range(VECTORS)]
            step = ir.Constant(ir.IntType(64), STEP)
            with cgutils.for_range_slice(builder, arguments[3], arguments[4], step, inc=True) as (index, _):
                for v in range(VECTORS):
                    margin = builder.fsub(load(builder, floors, index, v), level) if on_support else level
                    variance, bound = (load(builder, array, index, v) for array in (variances, bounds))
                    if rough:  # a bound that is clear of rounding
                        bound = builder.fadd(builder.fmul(bound, constant(1 + 1e-12)), slack)
                        tail = _rough_tail(builder, builder.fsub(margin, slack), variance, bound)
                        tail = tail if on_support else builder.fadd(tail, tail)
                        tail = builder.select(builder.fcmp_ordered("<", tail, constant(1.0)), tail, constant(1.0))
                    else:
                        tail = _tail(builder, margin, variance, bound, slack, on_support)
                    builder.store(builder.fadd(builder.load(sums[v]), tail), sums[v])
            return _total(builder, sums)

        return signature, generate

    return add


sum_off_support = _sum_of_tails(False)
"""Sum of tails at the margin `level`; takes contiguous arrays (floors are not read) and checks no bounds."""

sum_on_support = _sum_of_tails(True)
"""Sum of tails at the margins floor - level; takes contiguous arrays and checks no bounds."""

rough_off_support = _sum_of_tails(False, rough=True)
"""As `sum_off_support` of the smaller one of this tail and the Gaussian one at level - slack, but for `ROUGH`."""

rough_on_support = _sum_of_tails(True, rough=True)
"""The same as `sum_on_support`."""


@intrinsic
def largest_of(typing, values, start, stop):
    """Largest of a part of a list that begins and ends at whole steps, without checks."""

    def generate(context, builder, signature, arguments):
        array = make_array(signature.args[0])(context, builder, arguments[0])
        most = [cgutils.alloca_once_value(builder, constant(float("-inf"))) for _ in range(VECTORS)]
        step = ir.Constant(ir.IntType(64), STEP)
        with cgutils.for_range_slice(builder, arguments[1], arguments[2], step, inc=True) as (index, _):
            for v in range(VECTORS):
                here, before = load(builder, array, index, v), builder.load(most[v])
                builder.store(builder.select(builder.fcmp_ordered(">", here, before), here, before), most[v])
        found = ir.Constant(_REAL, float("-inf"))
        for vector in most:
            for lane in range(LANES):
                here = builder.extract_element(builder.load(vector), ir.Constant(ir.IntType(32), lane))
                found = builder.select(builder.fcmp_ordered(">", here, found), here, found)
        return found

    return types.float64(values, types.int64, types.int64), generate


@intrinsic
def exponentials(typing, out, source, scale, n):
    """
    Write exp(scale * source), for exponents up to 0; those below -700 are raised to it.

    Takes contiguous arrays of float64 as long as a whole multiple of `LANES`, and checks no bounds.
    """

    def generate(context, builder, signature, arguments):
        target, numbers = (make_array(signature.args[i])(context, builder, arguments[i]) for i in range(2))
        lowest, step = constant(LOWEST), ir.Constant(ir.IntType(64), LANES)
        factor = copied(builder, _VECTOR, arguments[2])
        start = ir.Constant(ir.IntType(64), 0)
        with cgutils.for_range_slice(builder, start, arguments[3], step, inc=True) as (index, _):
            exponent = builder.fmul(factor, load(builder, numbers, index))
            exponent = builder.select(builder.fcmp_ordered(">", exponent, lowest), exponent, lowest)
            place = pointer_to(builder, _VECTOR, target, index)
            builder.store(exponential(builder, exponent), place, align=8)
        return context.get_dummy_value()

    return types.void(out, source, types.float64, types.int64), generate


@intrinsic
def rough_tails(typing, out, margin, variance, bound, noise, n):
    """
    Write the smaller one of Hoeffding's tail and the Gaussian one of atoms, but for a share of `ROUGH`.

    Tails below exp(-700) are raised to about that. Takes contiguous arrays of float64 as long as a whole multiple of
    `LANES`, and checks no bounds.
    """

    def generate(context, builder, signature, arguments):
        target, *arrays = (make_array(signature.args[i])(context, builder, arguments[i]) for i in range(4))
        more, start, step = copied(builder, _VECTOR, arguments[4]), ir.IntType(64)(0), ir.IntType(64)(LANES)
        with cgutils.for_range_slice(builder, start, arguments[5], step, inc=True) as (index, _):
            margins, variances, bounds = (load(builder, array, index) for array in arrays)
            tail = _rough_tail(builder, margins, builder.fadd(variances, more), bounds)
            builder.store(tail, pointer_to(builder, _VECTOR, target, index), align=8)
        return context.get_dummy_value()

    return types.void(out, margin, variance, bound, types.float64, types.int64), generate
