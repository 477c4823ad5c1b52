"""Exponentials in loops that are vectorised, and numbers with an exponent of their own.

A number is a mantissa in [1, 2) and an integer exponent, ``m 2**e``; 0 has the mantissa
0 and an exponent below all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.cpu import CPUContext
from numba.core.typing import Context, Signature

from mmfusion._compilation import jit
from mmfusion._simd import always_inline, intrinsic

# exponent of 0; sums of several remain far below all others, without overflow
EXPONENT_OF_ZERO = -(1 << 58)
LOG2_E = 1.4426950408889634
# ln 2 in two parts, the first of which has 32 bits: its multiples are exact
LN2_HIGH = 0.6931471803691238
LN2_LOW = 1.9082149292705877e-10
LN2 = 0.6931471805599453
SQRT2 = 1.4142135623730951
# added and subtracted, it rounds to an integer
ROUNDING = 6755399441055744.0
# log weights below are zero: their exponents would not fit
LEAST_LOG = -1e15
# bits of a positive float64: 52 of the fraction, then the exponent with this offset
FRACTION_BITS = 52
FRACTION_MASK = (1 << FRACTION_BITS) - 1
EXPONENT_OFFSET = 1023
# exponents of numbers that are not subnormal
LEAST_NORMAL_EXPONENT = -1021


@jit
def reduced_exponential(x, n):
    """Return ``exp(x) / 2**n``, where n is the integer next to ``x / ln 2``."""
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    # Taylor's series for |r| <= ln 2 / 2; the first term left out is below 2e-16
    p = 1 / 479001600.0
    p = p * r + 1 / 39916800.0
    p = p * r + 1 / 3628800.0
    p = p * r + 1 / 362880.0
    p = p * r + 1 / 40320.0
    p = p * r + 1 / 5040.0
    p = p * r + 1 / 720.0
    p = p * r + 1 / 120.0
    p = p * r + 1 / 24.0
    p = p * r + 1 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    return p * r + 1.0


@jit
def scaled_exponentials(logs, top, out):
    """Write ``exp(logs - top)``, for logs up to top, or 0 where it is subnormal."""
    bits = out.view(np.int64)
    for k in range(len(logs)):
        x = max(logs[k] - top, LEAST_LOG)
        n = (x * LOG2_E + ROUNDING) - ROUNDING
        out[k] = reduced_exponential(x, n)
        shift = np.int64(n)
        shifted = bits[k] + (shift << FRACTION_BITS)
        bits[k] = shifted if shift >= LEAST_NORMAL_EXPONENT else 0


@jit
def split_exponentials(logs, mantissas, exponents):
    """Write ``exp(logs)`` as mantissas in about [.7, 1.5] and exponents."""
    for k in range(len(logs)):
        x = max(logs[k], LEAST_LOG)
        n = (x * LOG2_E + ROUNDING) - ROUNDING
        positive = logs[k] > LEAST_LOG
        p = reduced_exponential(x, n)
        mantissas[k] = p if positive else 0.0
        exponents[k] = np.int64(n) if positive else EXPONENT_OF_ZERO


@jit
def normalize(mantissas, exponents):
    """Move the exponents of mantissas into the integers."""
    bits = mantissas.view(np.int64)
    for s in range(len(bits)):
        positive = bits[s] > 0
        shift = (bits[s] >> FRACTION_BITS) - EXPONENT_OFFSET
        exponents[s] = exponents[s] + shift if positive else EXPONENT_OF_ZERO
        fraction = (bits[s] & FRACTION_MASK) | (EXPONENT_OFFSET << FRACTION_BITS)
        bits[s] = fraction if positive else 0


@intrinsic
def bits_of(typing: Context, number: types.Type) -> Any:
    """Return the bits of a float64 as an integer."""

    def generate(
        context: CPUContext,
        builder: ir.IRBuilder,
        signature: Signature,
        values: Sequence[ir.Value],
    ) -> ir.Value:
        return builder.bitcast(values[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
def from_bits(typing: Context, bits: types.Type) -> Any:
    """Return the float64 with the bits of an integer."""

    def generate(
        context: CPUContext,
        builder: ir.IRBuilder,
        signature: Signature,
        values: Sequence[ir.Value],
    ) -> ir.Value:
        return builder.bitcast(values[0], ir.DoubleType())

    return types.float64(types.int64), generate


@jit
def power(exponent):
    """Return a power of 2, or 0 if it is subnormal; exponents are at most 1023."""
    always_inline()
    biased = min(max(exponent + EXPONENT_OFFSET, 0), 2 * EXPONENT_OFFSET)
    return from_bits(biased << FRACTION_BITS)


@jit
def exponent_of(number, exponent):
    """Return the exponent of ``number 2**exponent``, whose mantissa is in [1, 2)."""
    always_inline()
    own = (bits_of(number) >> FRACTION_BITS) - EXPONENT_OFFSET
    return exponent + own if number > 0 else EXPONENT_OF_ZERO


@jit
def mantissa_of(number):
    """Return the mantissa of a number in [1, 2), or 0."""
    always_inline()
    fraction = bits_of(number) & FRACTION_MASK
    mantissa = from_bits(fraction | (EXPONENT_OFFSET << FRACTION_BITS))
    return mantissa if number > 0 else 0.0


@jit
def logarithm(number):
    """Return the logarithm of a number that is not subnormal."""
    always_inline()
    bits = bits_of(number)
    mantissa = from_bits((bits & FRACTION_MASK) | (EXPONENT_OFFSET << FRACTION_BITS))
    exponent = float((bits >> FRACTION_BITS) - EXPONENT_OFFSET)
    is_large = mantissa > SQRT2
    mantissa = 0.5 * mantissa if is_large else mantissa
    exponent = exponent + 1.0 if is_large else exponent
    # unlike /, it does not test for 0, which would keep loops from being vectorised
    f = np.divide(mantissa - 1.0, mantissa + 1.0)
    s = f * f
    # series of 2 artanh(f) / f; s is at most .03, and the first term left out 1e-17
    p = 2 / 19.0
    p = p * s + 2 / 17.0
    p = p * s + 2 / 15.0
    p = p * s + 2 / 13.0
    p = p * s + 2 / 11.0
    p = p * s + 2 / 9.0
    p = p * s + 2 / 7.0
    p = p * s + 2 / 5.0
    p = p * s + 2 / 3.0
    p = p * s + 2.0
    return exponent * LN2_HIGH + (p * f + exponent * LN2_LOW)


def split(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``exp(logs)`` as normalised mantissas and exponents.

    Parameters
    ----------
    logs : ndarray of shape (n,)
        The logarithms.

    Returns
    -------
    mantissas : ndarray of shape (n,)
        Numbers in [1, 2), or 0.
    exponents : ndarray of int64 of shape (n,)
        Their exponents.
    """
    mantissas, exponents = np.empty(len(logs)), np.empty(len(logs), dtype=np.int64)
    split_exponentials(np.array(logs, dtype=float), mantissas, exponents)
    normalize(mantissas, exponents)
    return mantissas, exponents
