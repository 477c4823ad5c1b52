"""SIMD vectors of sixteen numbers in compiled functions.

The cells of an anti-diagonal are independent of each other, but compilers do not
vectorise the recurrence of dynamic time warping along it; nor do they keep the rows of
short matrices in registers. A `Vector` holds WIDTH numbers of one type; LLVM maps
operations on it to the vector instructions of the processor.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import config, extending, types
from numba.core.cgutils import get_or_insert_function
from numba.core.cpu import CPUContext
from numba.core.datamodel import DataModelManager
from numba.core.typing import Context, Signature
from numba.extending import models, overload, register_model

Values = Sequence[ir.Value]

WIDTH = 16

# callers omit the typing context, the first argument, which numba passes itself
intrinsic: Any = extending.intrinsic

_FASTMATH = ("nnan", "nsz", "contract")  # as `_compilation.jit`
_INDEX = ir.IntType(32)


class Vector(types.Type):
    """Numba type of a SIMD vector of numbers.

    Parameters
    ----------
    dtype : numba type
        Type of the elements: float32 or float64.
    """

    def __init__(self, dtype: types.Type) -> None:
        self.dtype = dtype
        super().__init__(f"Vector({dtype})")


class BooleanVector(types.Type):
    """Numba type of a SIMD vector of truth values."""

    def __init__(self) -> None:
        super().__init__("BooleanVector")


def _vector_type(dtype: types.Type) -> ir.VectorType:
    """Return the LLVM type of a vector."""
    return ir.VectorType(
        ir.DoubleType() if dtype == types.float64 else ir.FloatType(), WIDTH
    )


def _constants(values: list[int], bits: int = 32) -> ir.Constant:
    return ir.Constant(ir.VectorType(ir.IntType(bits), len(values)), values)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: DataModelManager, kind: Vector) -> None:
        super().__init__(manager, kind, _vector_type(kind.dtype))


@register_model(BooleanVector)
class _BooleanVectorModel(models.PrimitiveModel):
    def __init__(self, manager: DataModelManager, kind: BooleanVector) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.IntType(1), WIDTH))


def _address(
    context: CPUContext,
    builder: ir.IRBuilder,
    kind: types.Array,
    array: ir.Value,
    i: ir.Value,
) -> ir.Value:
    """Return the address of the vector at index i of a contiguous 1-d array."""
    struct = context.make_array(kind)(context, builder, array)
    if getattr(config, "BOUNDSCHECK", False):  # numba adds it when it is imported
        _check_bounds(context, builder, builder.extract_value(struct.shape, 0), i)
    start = builder.gep(struct.data, [i])
    return builder.bitcast(start, _vector_type(kind.dtype).as_pointer())


def _item_bytes(dtype: Any) -> int:
    return dtype.bitwidth // 8


def _check_bounds(
    context: CPUContext, builder: ir.IRBuilder, size: ir.Value, i: ir.Value
) -> None:
    """Raise an IndexError where a vector is not within its array."""
    zero, width = ir.Constant(i.type, 0), ir.Constant(i.type, WIDTH)
    outside = builder.or_(
        builder.icmp_signed("<", i, zero),
        builder.icmp_signed(">", builder.add(i, width), size),
    )
    with builder.if_then(outside, likely=False):
        context.call_conv.return_user_exc(
            builder, IndexError, ("a vector lies outside of its array",)
        )


@intrinsic
def load(typing: Context, array: types.Array, i: types.Type) -> Any:
    """Load WIDTH numbers of a contiguous array, from index i on.

    As in `store`, bounds are checked only where numba does so (NUMBA_BOUNDSCHECK).
    """

    def generate(
        context: CPUContext,
        builder: ir.IRBuilder,
        signature: Signature,
        values: Values,
    ) -> ir.Value:
        # only aligned to items: vectors start anywhere in an array
        where = _address(context, builder, signature.args[0], *values)
        return builder.load(where, align=_item_bytes(array.dtype))

    return Vector(array.dtype)(array, types.intp), generate


@intrinsic
def store(typing: Context, array: types.Array, i: types.Type, vector: Vector) -> Any:
    """Store a vector in a contiguous array, from index i on."""

    def generate(
        context: CPUContext,
        builder: ir.IRBuilder,
        signature: Signature,
        values: Values,
    ) -> ir.Value:
        where = _address(context, builder, signature.args[0], *values[:2])
        builder.store(values[2], where, align=_item_bytes(array.dtype))
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@intrinsic
def load_skewed(typing: Context, array: types.Array, i: types.Type) -> Any:
    """Load element k of row i - k, for every k, of rows of WIDTH numbers each."""

    def generate(
        context: CPUContext,
        builder: ir.IRBuilder,
        signature: Signature,
        values: Values,
    ) -> ir.Value:
        index = values[1]

        def row(k: int) -> ir.Value:
            start = builder.mul(
                builder.sub(index, ir.Constant(index.type, k)),
                ir.Constant(index.type, WIDTH),
            )
            where = _address(context, builder, signature.args[0], values[0], start)
            return builder.load(where, align=_item_bytes(array.dtype))

        # rows are loaded whole and blended, which is faster than WIDTH single loads
        vector = row(0)
        for k in range(1, WIDTH):
            only_k = _constants([int(element == k) for element in range(WIDTH)], bits=1)
            vector = builder.select(only_k, row(k), vector)
        return vector

    return Vector(array.dtype)(array, types.intp), generate


@intrinsic
def splat(typing: Context, number: types.Type) -> Any:
    """Return a vector all of whose elements are one number."""

    def generate(
        context: CPUContext,
        builder: ir.IRBuilder,
        signature: Signature,
        values: Values,
    ) -> ir.Value:
        one = ir.Constant(_vector_type(number), ir.Undefined)
        one = builder.insert_element(one, values[0], ir.Constant(_INDEX, 0))
        return builder.shuffle_vector(one, one, _constants([0] * WIDTH))

    return Vector(number)(number), generate


@intrinsic
def shift(typing: Context, vector: Vector, first: types.Type) -> Any:
    """Move every element up by one, drop the last and insert a first one."""

    def generate(
        context: CPUContext,
        builder: ir.IRBuilder,
        signature: Signature,
        values: Values,
    ) -> ir.Value:
        one = ir.Constant(_vector_type(vector.dtype), ir.Undefined)
        one = builder.insert_element(one, values[1], ir.Constant(_INDEX, 0))
        order = _constants([WIDTH, *range(WIDTH - 1)])
        return builder.shuffle_vector(values[0], one, order)

    return vector(vector, vector.dtype), generate


def _binary(generate: Callable[..., ir.Value], result: types.Type | None = None) -> Any:
    """Make an intrinsic of two vectors; the result has their type unless given."""

    @intrinsic
    def operation(typing: Context, left: Vector, right: Vector) -> Any:
        def code(
            context: CPUContext,
            builder: ir.IRBuilder,
            signature: Signature,
            values: Values,
        ) -> ir.Value:
            return generate(builder, *values)

        return (result or left)(left, right), code

    return operation


def _emit_minimum(builder: ir.IRBuilder, left: ir.Value, right: ir.Value) -> ir.Value:
    is_less = builder.fcmp_ordered("<", left, right, flags=("nnan", "nsz"))
    return builder.select(is_less, left, right)


def _emit_maximum(builder: ir.IRBuilder, left: ir.Value, right: ir.Value) -> ir.Value:
    is_more = builder.fcmp_ordered(">", left, right, flags=("nnan", "nsz"))
    return builder.select(is_more, left, right)


def _emit_sum(builder: ir.IRBuilder, left: ir.Value, right: ir.Value) -> ir.Value:
    return builder.fadd(left, right, flags=_FASTMATH)


_plus = _binary(_emit_sum)
_minus = _binary(lambda builder, *both: builder.fsub(*both, flags=_FASTMATH))
_times = _binary(lambda builder, *both: builder.fmul(*both, flags=_FASTMATH))
_quotient = _binary(lambda builder, *both: builder.fdiv(*both, flags=_FASTMATH))
_is_less = _binary(
    lambda builder, *both: builder.fcmp_ordered("<", *both), result=BooleanVector()
)
minimum = _binary(_emit_minimum)
maximum = _binary(_emit_maximum)


def _overload(operation: Callable[..., Any], of_vectors: Callable[..., Any]) -> None:
    """Let an operator of Python act on vectors in compiled functions."""

    def choose(left, right):  # numba reads the signature, and accepts no annotations
        if isinstance(left, Vector) and left == right:
            return lambda left, right: of_vectors(left, right)
        return None

    overload(operation)(choose)


_overload(operator.add, _plus)
_overload(operator.sub, _minus)
_overload(operator.mul, _times)
_overload(operator.truediv, _quotient)
_overload(operator.lt, _is_less)


@intrinsic
def square_root(typing: Context, vector: Vector) -> Any:
    """Compute the square root of every element."""

    def generate(
        context: CPUContext,
        builder: ir.IRBuilder,
        signature: Signature,
        values: Values,
    ) -> ir.Value:
        kind = _vector_type(vector.dtype)
        name = f"llvm.sqrt.v{WIDTH}f{8 * _item_bytes(vector.dtype)}"
        own = ir.FunctionType(kind, [kind])
        function = get_or_insert_function(builder.module, own, name)
        return builder.call(function, values)

    return vector(vector), generate


@intrinsic
def select(
    typing: Context, condition: BooleanVector, left: Vector, right: Vector
) -> Any:
    """Return elements of the left where a condition holds, else of the right."""

    def generate(
        context: CPUContext,
        builder: ir.IRBuilder,
        signature: Signature,
        values: Values,
    ) -> ir.Value:
        return builder.select(*values)

    return left(condition, left, right), generate


@intrinsic
def any_true(typing: Context, condition: BooleanVector) -> Any:
    """Return whether a condition holds for any element."""

    def generate(
        context: CPUContext,
        builder: ir.IRBuilder,
        signature: Signature,
        values: Values,
    ) -> ir.Value:
        # one bit per element, compared at once
        bits = builder.bitcast(values[0], ir.IntType(WIDTH))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(condition), generate


@intrinsic
def bits_of_condition(typing: Context, condition: BooleanVector) -> Any:
    """Return an integer of 16 bits, of which bit k is that of element k."""

    def generate(
        context: CPUContext,
        builder: ir.IRBuilder,
        signature: Signature,
        values: Values,
    ) -> ir.Value:
        return builder.bitcast(values[0], ir.IntType(WIDTH))

    return types.uint16(condition), generate


@intrinsic
def first_false(typing: Context, condition: BooleanVector) -> Any:
    """Return the index of the first element for which a condition does not hold.

    It is WIDTH if there is none.
    """

    def generate(
        context: CPUContext,
        builder: ir.IRBuilder,
        signature: Signature,
        values: Values,
    ) -> ir.Value:
        bits = builder.not_(builder.bitcast(values[0], ir.IntType(WIDTH)))
        is_zero_undefined = ir.Constant(ir.IntType(1), 0)
        index = builder.cttz(bits, is_zero_undefined)
        return builder.zext(index, ir.IntType(64))

    return types.int64(condition), generate


@intrinsic
def largest_element(typing: Context, vector: Vector) -> Any:
    """Return the largest element."""

    def generate(
        context: CPUContext,
        builder: ir.IRBuilder,
        signature: Signature,
        values: Values,
    ) -> ir.Value:
        return _emit_reduction(builder, values[0], _emit_maximum)

    return vector.dtype(vector), generate


def _emit_reduction(
    builder: ir.IRBuilder, part: ir.Value, combine: Callable[..., ir.Value]
) -> ir.Value:
    """Combine all elements in pairs."""
    width = WIDTH
    while width > 1:
        width //= 2
        halves = [
            builder.shuffle_vector(part, part, _constants([*range(at, at + width)]))
            for at in (0, width)
        ]
        part = combine(builder, *halves)
    return builder.extract_element(part, ir.Constant(_INDEX, 0))


@intrinsic
def sum_elements(typing: Context, vector: Vector) -> Any:
    """Return the sum of all elements, added in pairs."""

    def generate(
        context: CPUContext,
        builder: ir.IRBuilder,
        signature: Signature,
        values: Values,
    ) -> ir.Value:
        return _emit_reduction(builder, values[0], _emit_sum)

    return vector.dtype(vector), generate


@intrinsic
def no_inline(typing: Context) -> Any:
    """Prevent the enclosing function from being inlined into its callers."""

    def generate(
        context: CPUContext,
        builder: ir.IRBuilder,
        signature: Signature,
        values: Values,
    ) -> ir.Value:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def always_inline(typing: Context) -> Any:
    """Have the enclosing function inlined into its callers, however large they are."""

    def generate(
        context: CPUContext,
        builder: ir.IRBuilder,
        signature: Signature,
        values: Values,
    ) -> ir.Value:
        builder.function.attributes.add("alwaysinline")
        return context.get_dummy_value()

    return types.void(), generate
