"""Elementary functions as LLVM IR on vectors (or scalars) of float32 and float64.

In: an IR builder and values. Out: values. Polynomials and rational functions are those of S. L.
Moshier's Cephes library; special values (NaN, infinities, signed zeros) come out right because no
fast-math flag but `contract` is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

FLAGS = ("contract",)


class Lanes:
    """IR for one kind of value: `n` lanes (0: a scalar) of `bits`-bit floats."""

    def __init__(self, builder: ir.IRBuilder, bits: int, n: int):
        self.builder, self.bits, self.n = builder, bits, n
        element = ir.FloatType() if bits == 32 else ir.DoubleType()
        integer = ir.IntType(bits)
        self.type = ir.VectorType(element, n) if n else element
        self.int_type = ir.VectorType(integer, n) if n else integer
        self.suffix = (f"v{n}" if n else "") + f"f{bits}"

    def const(self, x: float) -> ir.Constant:
        return ir.Constant(self.type, [x] * self.n if self.n else x)

    def int_const(self, x: int) -> ir.Constant:
        return ir.Constant(self.int_type, [x] * self.n if self.n else x)

    def call(self, name: str, *args: Any) -> Any:
        kind = ir.FunctionType(self.type, [self.type] * len(args))
        full = f"llvm.{name}.{self.suffix}"
        module = self.builder.module
        fn = module.globals.get(full) or ir.Function(module, kind, full)
        return self.builder.call(fn, args)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self.call("fma", a, b, c)

    def add(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b, flags=FLAGS)

    def sub(self, a: Any, b: Any) -> Any:
        return self.builder.fsub(a, b, flags=FLAGS)

    def mul(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b, flags=FLAGS)

    def div(self, a: Any, b: Any) -> Any:
        return self.builder.fdiv(a, b)

    def neg(self, a: Any) -> Any:
        return self.builder.fneg(a)

    def less(self, a: Any, b: Any) -> Any:
        return self.builder.fcmp_ordered("<", a, b)

    def select(self, c: Any, a: Any, b: Any) -> Any:
        return self.builder.select(c, a, b)

    def poly(self, x: Any, coefficients: Sequence[float]) -> Any:
        """Highest power first."""
        y = self.const(coefficients[0])
        for c in coefficients[1:]:
            y = self.fma(y, x, self.const(c))
        return y


EXP32 = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
EXP64_P = (1.26177193074810590878e-4, 3.02994407707441961300e-2, 9.99999999999999999910e-1)
EXP64_Q = (3.00198505138664455042e-6, 2.52448340349684104192e-3, 2.27265548208155028766e-1, 2.0)
TANH32 = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
TANH64_P = (-9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3)
TANH64_Q = (1.0, 1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3)


def exp(v: Lanes, x: Any) -> Any:
    """e**x: x = n log 2 + r, exp(r) by a polynomial, 2**n put into the exponent in two halves."""
    single = v.bits == 32
    high, low = (88.8, -104.0) if single else (709.9, -745.2)
    # NaN passes through both selects because a comparison with it is false
    x = v.select(v.less(v.const(high), x), v.const(math.inf), x)
    tiny = v.less(x, v.const(low))
    r = v.select(v.less(v.const(high), x), v.const(high), v.select(tiny, v.const(low), x))
    n = v.call("floor", v.fma(r, v.const(math.log2(math.e)), v.const(0.5)))
    if single:
        r = v.fma(n, v.const(-0.693359375), r)
        r = v.fma(n, v.const(2.12194440e-4), r)
        y = v.add(v.fma(v.poly(r, EXP32), v.mul(r, r), r), v.const(1.0))
    else:
        r = v.fma(n, v.const(-6.93145751953125e-1), r)
        r = v.fma(n, v.const(-1.42860682030941723212e-6), r)
        square = v.mul(r, r)
        p = v.mul(r, v.poly(square, EXP64_P))
        q = v.sub(v.poly(square, EXP64_Q), p)
        y = v.fma(v.div(p, q), v.const(2.0), v.const(1.0))
    # n can be NaN: the conversion then gives anything, and y is NaN already
    b = v.builder
    whole = b.fptosi(v.select(b.fcmp_ordered("==", n, n), n, v.const(0.0)), v.int_type)
    half = b.ashr(whole, v.int_const(1))
    y = v.mul(v.mul(y, power_of_two(v, half)), power_of_two(v, b.sub(whole, half)))
    y = v.select(tiny, v.const(0.0), y)
    return v.select(b.fcmp_ordered("==", x, v.const(math.inf)), x, y)


def power_of_two(v: Lanes, n: Any) -> Any:
    mantissa, bias = (23, 127) if v.bits == 32 else (52, 1023)
    b = v.builder
    return b.bitcast(b.shl(b.add(n, v.int_const(bias)), v.int_const(mantissa)), v.type)


def sigmoid(v: Lanes, x: Any) -> Any:
    one = v.const(1.0)
    return v.div(one, v.add(one, exp(v, v.neg(x))))


def tanh(v: Lanes, x: Any) -> Any:
    """A polynomial (rational function) near 0, 1 - 2 / (exp(2|x|) + 1) elsewhere."""
    a = v.call("fabs", x)
    square = v.mul(x, x)
    if v.bits == 32:
        near = v.fma(v.mul(v.poly(square, TANH32), square), x, x)
    else:
        ratio = v.div(v.poly(square, TANH64_P), v.poly(square, TANH64_Q))
        near = v.fma(v.mul(ratio, square), x, x)
    one, two = v.const(1.0), v.const(2.0)
    far = v.sub(one, v.div(two, v.add(exp(v, v.add(a, a)), one)))
    far = v.call("copysign", far, x)
    return v.select(v.less(a, v.const(0.625)), near, far)
