"""Sixteen numbers at a time in compiled functions.

The recurrences of dynamic time warping run along anti-diagonals, which compilers do not
see by themselves. A `Lanes` is a vector of WIDTH numbers of one type; LLVM turns what
is done to it into whatever vector instructions the processor has.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import config, extending, types
from numba.core.cgutils import get_or_insert_function
from numba.extending import models, overload, register_model

WIDTH = 16

intrinsic: Any = extending.intrinsic  # callers give one argument less than is declared

_FAST = ("nnan", "nsz", "contract")
_INDEX = ir.IntType(32)


class Lanes(types.Type):
    """Type of a vector of numbers.

    Parameters
    ----------
    dtype : numba type
        float32 or float64.
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(f"Lanes({dtype})")


class Truths(types.Type):
    """Type of a vector of truth values."""

    def __init__(self) -> None:
        super().__init__("Truths")


def _vector(dtype: Any) -> ir.VectorType:
    return ir.VectorType(
        ir.DoubleType() if dtype == types.float64 else ir.FloatType(), WIDTH
    )


def _constants(values: list[int], bits: int = 32) -> ir.Constant:
    return ir.Constant(ir.VectorType(ir.IntType(bits), len(values)), values)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, _vector(kind.dtype))


@register_model(Truths)
class _TruthsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Truths) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.IntType(1), WIDTH))


def _address(context: Any, builder: Any, kind: Any, array: Any, i: Any) -> Any:
    """Where a vector begins in a contiguous array of one dimension."""
    struct = context.make_array(kind)(context, builder, array)
    if getattr(config, "BOUNDSCHECK", False):  # numba adds it when it is imported
        _check_bounds(context, builder, builder.extract_value(struct.shape, 0), i)
    start = builder.gep(struct.data, [i])
    return builder.bitcast(start, _vector(kind.dtype).as_pointer())


def _check_bounds(context: Any, builder: Any, size: Any, i: Any) -> None:
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
def load(typing: Any, array: Any, i: Any) -> Any:
    """Take WIDTH numbers of a contiguous array, from i on.

    Like `store`, it checks bounds only where numba does so (NUMBA_BOUNDSCHECK).
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        where = _address(context, builder, signature.args[0], *values)
        return builder.load(where, align=array.dtype.bitwidth // 8)

    return Lanes(array.dtype)(array, types.intp), generate


@intrinsic
def store(typing: Any, array: Any, i: Any, lanes: Any) -> Any:
    """Write to a contiguous array, from i on."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        where = _address(context, builder, signature.args[0], *values[:2])
        builder.store(values[2], where, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@intrinsic
def load_skewed(typing: Any, array: Any, i: Any) -> Any:
    """Take element k of row i - k, for every k, of rows of WIDTH numbers each."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        index = values[1]

        def row(k: int) -> Any:
            start = builder.mul(
                builder.sub(index, ir.Constant(index.type, k)),
                ir.Constant(index.type, WIDTH),
            )
            where = _address(context, builder, signature.args[0], values[0], start)
            return builder.load(where, align=array.dtype.bitwidth // 8)

        lanes = row(0)
        for k in range(1, WIDTH):
            only = _constants([int(lane == k) for lane in range(WIDTH)], bits=1)
            lanes = builder.select(only, row(k), lanes)
        return lanes

    return Lanes(array.dtype)(array, types.intp), generate


@intrinsic
def splat(typing: Any, number: Any) -> Any:
    """Repeat a number in all lanes."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        one = ir.Constant(_vector(number), ir.Undefined)
        one = builder.insert_element(one, values[0], ir.Constant(_INDEX, 0))
        return builder.shuffle_vector(one, one, _constants([0] * WIDTH))

    return Lanes(number)(number), generate


@intrinsic
def shift(typing: Any, lanes: Any, first: Any) -> Any:
    """Move every lane up by one; the last is lost, the first is given."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        one = ir.Constant(_vector(lanes.dtype), ir.Undefined)
        one = builder.insert_element(one, values[1], ir.Constant(_INDEX, 0))
        order = _constants([WIDTH, *range(WIDTH - 1)])
        return builder.shuffle_vector(values[0], one, order)

    return lanes(lanes, lanes.dtype), generate


def _of_two(generate: Callable[..., Any], result: Any = None) -> Any:
    @intrinsic
    def operation(typing: Any, left: Any, right: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return generate(builder, *values)

        return (result or left)(left, right), code

    return operation


def _least(builder: Any, left: Any, right: Any) -> Any:
    is_less = builder.fcmp_ordered("<", left, right, flags=("nnan", "nsz"))
    return builder.select(is_less, left, right)


def _most(builder: Any, left: Any, right: Any) -> Any:
    is_more = builder.fcmp_ordered(">", left, right, flags=("nnan", "nsz"))
    return builder.select(is_more, left, right)


_plus = _of_two(lambda builder, *both: builder.fadd(*both, flags=_FAST))
_minus = _of_two(lambda builder, *both: builder.fsub(*both, flags=_FAST))
_times = _of_two(lambda builder, *both: builder.fmul(*both, flags=_FAST))
_is_less = _of_two(
    lambda builder, *both: builder.fcmp_ordered("<", *both), result=Truths()
)
least = _of_two(_least)
most = _of_two(_most)


def _overload(operation: Any, meaning: Any) -> None:
    def choose(left, right):  # numba wants no annotations here
        if isinstance(left, Lanes) and left == right:
            return lambda left, right: meaning(left, right)
        return None

    overload(operation)(choose)


_overload(operator.add, _plus)
_overload(operator.sub, _minus)
_overload(operator.mul, _times)
_overload(operator.lt, _is_less)


@intrinsic
def square_root(typing: Any, lanes: Any) -> Any:
    """Take the square root of every lane."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = _vector(lanes.dtype)
        name = f"llvm.sqrt.v{WIDTH}f{lanes.dtype.bitwidth}"
        own = ir.FunctionType(kind, [kind])
        function = get_or_insert_function(builder.module, own, name)
        return builder.call(function, values)

    return lanes(lanes), generate


@intrinsic
def select(typing: Any, truths: Any, left: Any, right: Any) -> Any:
    """Take lanes of the left where it is true, of the right elsewhere."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.select(*values)

    return left(truths, left, right), generate


@intrinsic
def holds_any(typing: Any, truths: Any) -> Any:
    """Tell whether any lane is true."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        bits = builder.bitcast(values[0], ir.IntType(WIDTH))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(truths), generate


@intrinsic
def stay_apart(typing: Any) -> Any:
    """Keep the function where this stands from being compiled into its callers."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate
