"""Exponentials of many numbers at once: numba's own takes one at a time."""

# ruff: noqa: ANN001, ANN201, ANN202 - numba infers the types

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from dcsc.kernels import tails
from dcsc.kernels.tiles import copied, pointer_to

LANES = tails.LANES
"""Numbers at once: arrays are read and written up to a whole multiple of them."""


@intrinsic
def exponentials(typing, out, source, scale, n):
    """
    Write exp(scale * source), for exponents up to 0; those below -700 are raised to it.

    Takes contiguous arrays of float64 with room for a whole multiple of `LANES` entries, and checks no bounds.
    """

    def generate(context, builder, signature, arguments):
        target, numbers = (make_array(signature.args[i])(context, builder, arguments[i]) for i in range(2))
        lowest, step = tails.constant(tails.LOWEST), ir.Constant(ir.IntType(64), LANES)
        factor = copied(builder, lowest.type, arguments[2])
        start = ir.Constant(ir.IntType(64), 0)
        with cgutils.for_range_slice(builder, start, arguments[3], step, inc=True) as (index, _):
            exponent = builder.fmul(factor, tails.load(builder, numbers, index))
            exponent = builder.select(builder.fcmp_ordered(">", exponent, lowest), exponent, lowest)
            place = pointer_to(builder, lowest.type, target, index)
            builder.store(tails.exponential(builder, exponent), place, align=8)
        return context.get_dummy_value()

    return types.void(out, source, types.float64, types.int64), generate
