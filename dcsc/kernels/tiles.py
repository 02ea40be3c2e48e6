"""
The inner loop of the dense path: a few rows times a few vectors of a product, kept in registers.

A tile is out[r, lane] = sum over k of factor[r, k] * source[k, lane]. The rows of `factor` and the runs
of `source` are found through tables of offsets, so that convolutions need no unfolded copy. numba cannot
keep such sums in registers, hence the few lines of LLVM. Terms are added in the order of k, one fused
multiplication and addition each, so the bits do not depend on the size of the tile.
"""

# ruff: noqa: ANN001, ANN201, ANN202 - numba infers the types

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

ROWS = 4
VECTORS, ROW_VECTORS = 2, 8  # eight sums: none waits for the one before
VECTOR_BYTES = 64 if binding.get_host_cpu_features().get("avx512vl", False) else 32
TILE_BYTES = VECTOR_BYTES * VECTORS
"""Bytes of a tile's row: its lanes are this over the size of an entry."""
ROW_BYTES = VECTOR_BYTES * ROW_VECTORS
"""Bytes of a tile that is a single row."""

MASK = 64
"""Entries that `nonzero_mask` looks at."""
RUN_BYTES = 32
"""Bytes of a vector of `add_run`, whose runs are short."""
WRITTEN = 4
"""Numbers that `write_places` writes."""


def intrinsic_of(builder, vector, name, n_arguments):
    """Declare a function of LLVM on vectors of float32 or float64."""
    size = 32 if isinstance(vector.element, ir.FloatType) else 64
    shape = ir.FunctionType(vector, [vector] * n_arguments)
    return cgutils.get_or_insert_function(builder.module, shape, f"llvm.{name}.v{vector.count}f{size}")


def copied(builder, vector, scalar):
    """Copy a number into all lanes."""
    undefined = ir.Constant(vector, ir.Undefined)
    index = ir.VectorType(ir.IntType(32), vector.count)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(index, None))


def _largest_of(builder, vectors, magnitude):
    """The largest entry of some vectors, or the largest magnitude."""
    vector = vectors[0].type
    if magnitude:
        vectors = [builder.call(intrinsic_of(builder, vector, "fabs", 1), [found]) for found in vectors]

    def larger(one, other):
        return builder.select(builder.fcmp_ordered(">", one, other), one, other)

    while len(vectors) > 1:  # in pairs, so that comparisons need not wait for one another
        pairs = [vectors[k : k + 2] for k in range(0, len(vectors), 2)]
        vectors = [larger(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    lanes = [builder.extract_element(vectors[0], ir.Constant(ir.IntType(32), lane)) for lane in range(vector.count)]
    most = lanes[0]
    for lane in lanes[1:]:
        most = larger(lane, most)
    return most


def pointer_to(builder, vector, array, index, v=0):
    """Where the v-th vector from an index on lies in an array."""
    place = builder.add(index, ir.Constant(index.type, v * vector.count))
    return builder.bitcast(builder.gep(array.data, [place]), vector.as_pointer())


def _sums_of_products(context, builder, types_, arguments, n_rows, n_vectors):
    """Sums of a tile as vectors [row][vector], of the arguments of a tile from `factor` on."""
    factor, f_offsets, source, s_offsets = (make_array(types_[i])(context, builder, arguments[i]) for i in (0, 3, 4, 6))
    f_start, f_step, s_start = (arguments[i] for i in (1, 2, 5))
    entry = context.get_data_type(types_[4].dtype)
    size = context.get_abi_sizeof(entry)
    vector = ir.VectorType(entry, VECTOR_BYTES // size)
    fused = intrinsic_of(builder, vector, "fmuladd", 3)
    sums = [
        [cgutils.alloca_once_value(builder, ir.Constant(vector, None)) for _ in range(n_vectors)] for _ in range(n_rows)
    ]
    with cgutils.for_range(builder, builder.extract_value(s_offsets.shape, 0)) as loop:
        f_offset = builder.load(builder.gep(f_offsets.data, [loop.index]))
        here = builder.add(s_start, builder.load(builder.gep(s_offsets.data, [loop.index])))
        runs = [builder.load(pointer_to(builder, vector, source, here, v), align=size) for v in range(n_vectors)]
        where = builder.add(f_start, f_offset)
        for r in range(n_rows):
            weight = copied(builder, vector, builder.load(builder.gep(factor.data, [where])))
            where = builder.add(where, f_step)
            for v in range(n_vectors):
                builder.store(builder.call(fused, [weight, runs[v], builder.load(sums[r][v])]), sums[r][v])
    return [[builder.load(found) for found in row] for row in sums]


def _tile_of(n_rows: int, n_vectors: int) -> Callable[..., Any]:
    """Compile a tile that stores its sums."""

    @intrinsic
    def multiply(typing, out, start, step, factor, f_start, f_step, f_offsets, source, s_start, s_offsets):
        number = types.int64
        signature = types.void(out, number, number, factor, number, number, f_offsets, source, number, s_offsets)

        def generate(context, builder, signature, arguments):
            target = make_array(signature.args[0])(context, builder, arguments[0])
            sums = _sums_of_products(context, builder, signature.args[3:], arguments[3:], n_rows, n_vectors)
            size = context.get_abi_sizeof(context.get_data_type(signature.args[0].dtype))
            there = arguments[1]
            for row in sums:
                for v, found in enumerate(row):
                    builder.store(found, pointer_to(builder, found.type, target, there, v), align=size)
                there = builder.add(there, arguments[2])
            return context.get_dummy_value()

        return signature, generate

    return multiply


def _largest_of_row(magnitude: bool) -> Callable[..., Any]:
    """Compile a tile of one row that keeps nothing but its largest sum."""

    @intrinsic
    def largest(typing, factor, f_start, f_step, f_offsets, source, s_start, s_offsets):
        number = types.int64
        signature = source.dtype(factor, number, number, f_offsets, source, number, s_offsets)

        def generate(context, builder, signature, arguments):
            (sums,) = _sums_of_products(context, builder, signature.args, arguments, 1, ROW_VECTORS)
            return _largest_of(builder, sums, magnitude)

        return signature, generate

    return largest


@intrinsic
def largest_in_row(typing, tile, magnitude):
    """The largest entry, or magnitude, of a tile of one row that is stored, without checks."""

    def generate(context, builder, signature, arguments):
        array = make_array(signature.args[0])(context, builder, arguments[0])
        entry = context.get_data_type(signature.return_type)
        size = context.get_abi_sizeof(entry)
        vector, start = ir.VectorType(entry, VECTOR_BYTES // size), ir.Constant(ir.IntType(64), 0)
        vectors = [builder.load(pointer_to(builder, vector, array, start, v), align=size) for v in range(ROW_VECTORS)]
        return builder.select(arguments[1], _largest_of(builder, vectors, True), _largest_of(builder, vectors, False))

    return tile.dtype(tile, types.boolean), generate


multiply_rows = _tile_of(ROWS, VECTORS)
"""A tile of `ROWS` rows; takes contiguous one-dimensional arrays and checks no bounds."""

multiply_row = _tile_of(1, ROW_VECTORS)
"""A tile of one row, for products that have only one."""

largest_value_of_row = _largest_of_row(False)
"""The largest sum of a tile of one row, which is not stored; takes contiguous arrays and checks no bounds."""

largest_magnitude_of_row = _largest_of_row(True)
"""As `largest_value_of_row`, the largest magnitude of a sum."""


@intrinsic
def sums_and_squares_of_row(typing, sums, squares, start, weight, source, s_start, s_offsets):
    """
    Sum the products of a tile of one row, half of `ROW_BYTES` long, and their squares, without checks.

    One reading of the source serves both: sums[lane] is the sum over k of weight[k] source[k, lane], squares[lane]
    that of their squares.
    """
    number = types.int64
    signature = types.void(sums, squares, number, weight, source, number, s_offsets)

    def generate(context, builder, signature, arguments):
        arrays = [make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 1, 3, 4, 6)]
        entry = context.get_data_type(signature.args[0].dtype)
        size = context.get_abi_sizeof(entry)
        vector = ir.VectorType(entry, VECTOR_BYTES // size)
        fused = intrinsic_of(builder, vector, "fmuladd", 3)
        found = [
            [cgutils.alloca_once_value(builder, ir.Constant(vector, None)) for _ in range(ROW_VECTORS // 2)]
            for _ in range(2)
        ]

        at = partial(pointer_to, builder, vector)
        with cgutils.for_range(builder, builder.extract_value(arrays[4].shape, 0)) as loop:
            offset = builder.load(builder.gep(arrays[4].data, [loop.index]))
            here = builder.add(arguments[5], offset)
            factor = copied(builder, vector, builder.load(builder.gep(arrays[2].data, [loop.index])))
            for v in range(ROW_VECTORS // 2):
                product = builder.fmul(factor, builder.load(at(arrays[3], here, v), align=size))
                builder.store(builder.fadd(builder.load(found[0][v]), product), found[0][v])
                builder.store(builder.call(fused, [product, product, builder.load(found[1][v])]), found[1][v])
        for array, values in zip(arrays, found, strict=False):
            for v, value in enumerate(values):
                builder.store(builder.load(value), at(array, arguments[2], v), align=size)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def raise_extremes(typing, most, sums, squares, start, growth):
    """
    Widen extremes by what `sums_and_squares_of_row` found; returns the largest sum of this tile, without checks.

    `most` holds a vector each of the largest sums, the largest squares, and the largest of the smaller of
    squares * growth and the square of the sum, as numbers of float64.
    """
    real = types.float64
    signature = real(most, sums, squares, types.int64, real)

    def generate(context, builder, signature, arguments):
        target, magnitudes, squared = (make_array(signature.args[i])(context, builder, arguments[i]) for i in range(3))
        lanes = VECTOR_BYTES // 8
        vector = ir.VectorType(ir.DoubleType(), lanes)
        factor = copied(builder, vector, arguments[4])

        at = partial(pointer_to, builder, vector)

        def choose(relation, one, other):
            return builder.select(builder.fcmp_ordered(relation, one, other), one, other)

        found = [None] * 3
        for v in range(ROW_VECTORS // 2):
            magnitude, square = (builder.load(at(array, arguments[3], v), align=8) for array in (magnitudes, squared))
            level = choose("<", builder.fmul(square, factor), builder.fmul(magnitude, magnitude))
            for k, values in enumerate((magnitude, square, level)):
                found[k] = values if found[k] is None else choose(">", values, found[k])
        for k, values in enumerate(found):
            place = at(target, ir.Constant(ir.IntType(64), 0), k)
            builder.store(choose(">", values, builder.load(place, align=8)), place, align=8)
        largest = None
        for lane in range(lanes):
            here = builder.extract_element(found[0], ir.Constant(ir.IntType(32), lane))
            largest = here if largest is None else choose(">", here, largest)
        return largest

    return signature, generate


@intrinsic
def add_run(typing, out, start, pattern, p_start, value, n_vectors):
    """
    Add a multiple of a run of a pattern to a run of out, some whole vectors long, without checks.

    The product is rounded before it is added: equal terms of opposite sign cancel to an exact zero.
    """
    number = types.int64
    signature = types.void(out, number, pattern, number, out.dtype, number)

    def generate(context, builder, signature, arguments):
        target, source = (make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 2))
        entry = context.get_data_type(signature.args[0].dtype)
        size = context.get_abi_sizeof(entry)
        vector = ir.VectorType(entry, RUN_BYTES // size)
        weight = copied(builder, vector, arguments[4])

        here, there = (cgutils.alloca_once_value(builder, arguments[k]) for k in (1, 3))

        def add(n):
            """Add some vectors, and go on to the next ones."""
            start, source_start = builder.load(here), builder.load(there)
            for v in range(n):
                place = pointer_to(builder, vector, target, start, v)
                entries = builder.load(pointer_to(builder, vector, source, source_start, v), align=size)
                total = builder.fadd(builder.load(place, align=size), builder.fmul(weight, entries))
                builder.store(total, place, align=size)
            step = ir.Constant(start.type, n * vector.count)
            builder.store(builder.add(start, step), here)
            builder.store(builder.add(source_start, step), there)

        # Straight code, of which the same parts run each time: a loop of a few steps takes longer than they do.
        zero = ir.Constant(arguments[5].type, 0)
        for n in (4, 2, 1):
            part = builder.and_(arguments[5], ir.Constant(arguments[5].type, n))
            with builder.if_then(builder.icmp_unsigned("!=", part, zero)):
                add(n)
        with cgutils.for_range(builder, builder.lshr(arguments[5], ir.Constant(arguments[5].type, 3))):
            add(8)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def nonzero_mask(typing, array, start):
    """Tell which of the `MASK` entries of an array from one on are not 0, as bits, without checks."""

    def generate(context, builder, signature, arguments):
        array_type = signature.args[0]
        array = make_array(array_type)(context, builder, arguments[0])
        entry = context.get_data_type(array_type.dtype)
        vector = ir.VectorType(entry, MASK)
        entries = builder.load(pointer_to(builder, vector, array, arguments[1]), align=context.get_abi_sizeof(entry))
        nothing = ir.Constant(vector, None)
        if isinstance(array_type.dtype, types.Float):
            found = builder.fcmp_unordered("!=", entries, nothing)
        else:
            found = builder.icmp_unsigned("!=", entries, nothing)
        return builder.bitcast(found, ir.IntType(MASK))

    return types.uint64(array, types.int64), generate


@intrinsic
def quotient(typing, dividend, divisor):
    """Divide a number by one > 0, both of which are at least 0, without checks."""

    def generate(context, builder, signature, arguments):
        return builder.udiv(*arguments)

    return types.int64(types.int64, types.int64), generate


@intrinsic
def number_of_bits(typing, mask):
    """Count the bits that are set in a mask."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@intrinsic
def write_places(typing, places, index, mask, start):
    """
    List the lowest `WRITTEN` bits of a mask, counted from a number on, and clear them; without checks.

    A mask of fewer bits leaves the rest of what is written without a meaning.
    """
    signature = types.uint64(places, types.int64, types.uint64, types.int64)

    def generate(context, builder, signature, arguments):
        target = make_array(signature.args[0])(context, builder, arguments[0])
        mask, one = arguments[2], ir.Constant(ir.IntType(64), 1)
        for k in range(WRITTEN):
            lowest = builder.cttz(mask, ir.Constant(ir.IntType(1), 0))
            place = builder.trunc(builder.add(arguments[3], lowest), ir.IntType(32))
            builder.store(place, builder.gep(target.data, [builder.add(arguments[1], ir.Constant(ir.IntType(64), k))]))
            mask = builder.and_(mask, builder.sub(mask, one))
        return mask

    return signature, generate
