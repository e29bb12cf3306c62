"""Elementwise primitives: one declaration each, derivative in one line per operand.

In a `vjp`, `g` is the cotangent of the output `y`. A rule whose factor can be infinite or NaN uses
`zmul`/`zdiv`, where a zero cotangent wins (0 * inf = 0): nothing flows from a masked position.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError
from ..primitive import (
    Arg,
    Elementwise,
    Flags,
    Operands,
    Primitive,
    Sample,
    bind,
    broadcast,
    literal,
)
from ..tensor import Tensor
from ..types import DType, Type, bool_, float32, float64, int64


def unary(low: float = -2.0, high: float = 2.0, dtype: str | None = None) -> tuple[Sample, ...]:
    return tuple(Sample((Arg(s, low, high, dtype),)) for s in ((3, 4), (), (2, 0), (5,)))


def binary(
    low: float = -2.0,
    high: float = 2.0,
    dtype: str | None = None,
    second: tuple[float, float] | None = None,
) -> tuple[Sample, ...]:
    low2, high2 = second or (low, high)
    pairs = (((3, 4), (3, 4)), ((3, 4), (4,)), ((2, 1, 4), (3, 1)), ((), (5,)), ((2, 0), (1,)))
    return tuple(Sample((Arg(a, low, high, dtype), Arg(b, low2, high2, dtype))) for a, b in pairs)


def zmul(g: Tensor, factor: Tensor) -> Tensor:
    """g * factor, and 0 where g is 0 whatever the factor."""
    return bind(ZMul, g, factor)


def zdiv(g: Tensor, divisor: Tensor) -> Tensor:
    """g / divisor, and 0 where g is 0 whatever the divisor."""
    return bind(ZDiv, g, divisor)


def zero_like(x: Tensor) -> Tensor:
    """A zero that broadcasts against `x`, with its dtype."""
    return literal(0.0 if x.dtype.is_inexact else 0, x.dtype, x.backend)


def select(c: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return bind(Where, c, a, b)


def real_part(f: Any) -> Any:
    """A piecewise constant function of the real parts: the complex step of it is zero."""
    return lambda *xs: f(*[x.real if np.iscomplexobj(x) else x for x in xs])


def _abs(x: Any) -> Any:
    return np.where(np.real(x) < 0, -x, x) if np.iscomplexobj(x) else np.abs(x)


def _mod(a: Any, b: Any) -> Any:
    if np.iscomplexobj(a) or np.iscomplexobj(b):
        return a - b * np.floor_divide(np.real(a), np.real(b))
    return np.remainder(a, b)


class Unary(Elementwise):
    kinds = "f"
    arity = 1


class Binary(Elementwise):
    arity = 2


# --- arithmetic ----------------------------------------------------------------------------------


class Alias(Unary, name="alias"):
    """The same value under a new name (a cut in the tape)."""

    kinds = "biufc"
    reference = staticmethod(lambda x: x)
    samples = unary()
    vjp = (lambda g, y, x: g,)


class Neg(Unary, name="neg"):
    kinds = "iufc"
    reference = np.negative
    samples = unary()
    vjp = (lambda g, y, x: -g,)


class Abs(Unary, name="abs"):
    """|x|; the derivative at 0 is 0."""

    kinds = "iuf"
    reference = staticmethod(_abs)
    samples = unary(0.1, 2) + unary(-2, -0.1)
    vjp = (lambda g, y, x: g * bind(Sign, x),)


class Sign(Unary, name="sign"):
    kinds = "iuf"
    reference = staticmethod(real_part(np.sign))
    samples = unary(0.1, 2) + unary(-2, -0.1)


class Add(Binary, name="add"):
    kinds = "iufc"
    reference = np.add
    samples = binary()
    vjp = (lambda g, y, a, b: g, lambda g, y, a, b: g)


class Sub(Binary, name="sub"):
    kinds = "iufc"
    reference = np.subtract
    samples = binary()
    vjp = (lambda g, y, a, b: g, lambda g, y, a, b: -g)


class Mul(Binary, name="mul"):
    kinds = "iufc"
    reference = np.multiply
    samples = binary()
    vjp = (lambda g, y, a, b: g * b, lambda g, y, a, b: g * a)


class Div(Binary, name="div"):
    kinds = "fc"
    reference = np.divide
    samples = binary(second=(0.4, 3)) + binary(second=(-3, -0.4))
    vjp = (lambda g, y, a, b: zdiv(g, b), lambda g, y, a, b: -zdiv(zmul(g, y), b))


def _zmul(a: Any, b: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.where(a == 0, np.zeros((), np.result_type(a)), a * b)


def _zdiv(a: Any, b: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.where(a == 0, np.zeros((), np.result_type(a)), a / b)


class ZMul(Binary, name="zmul"):
    """a * b in which a zero `a` wins over an infinite or NaN `b`; differentiates as the product."""

    kinds = "fc"
    reference = staticmethod(_zmul)
    samples = binary()
    vjp = (lambda g, y, a, b: zmul(g, b), lambda g, y, a, b: zmul(g, a))


class ZDiv(Binary, name="zdiv"):
    """a / b in which a zero `a` wins over a zero or NaN `b`; differentiates as the quotient."""

    kinds = "fc"
    reference = staticmethod(_zdiv)
    samples = binary(second=(0.4, 3))
    vjp = (lambda g, y, a, b: zdiv(g, b), lambda g, y, a, b: -zdiv(zmul(g, y), b))


class FloorDiv(Binary, name="floordiv"):
    kinds = "iuf"
    reference = staticmethod(real_part(np.floor_divide))
    samples = binary(second=(0.4, 3))


class Mod(Binary, name="mod"):
    """a - b * floor(a / b): the sign of the divisor, as in Python."""

    kinds = "iuf"
    reference = staticmethod(_mod)
    samples = binary(0.1, 0.35, second=(0.4, 3))
    vjp = (lambda g, y, a, b: g, lambda g, y, a, b: -zmul(g, bind(FloorDiv, a, b)))


class Maximum(Binary, name="maximum"):
    """Equal operands share the cotangent equally."""

    kinds = "iuf"
    reference = np.maximum
    samples = (
        Sample((Arg((3, 4), 0.6, 2), Arg((4,), -2, 0.5))),
        Sample((Arg((3,), -2, 0), Arg((2, 3), 0.1, 2))),
    )
    vjp = (lambda g, y, a, b: _share(g, a, b), lambda g, y, a, b: _share(g, b, a))


class Minimum(Binary, name="minimum"):
    """Equal operands share the cotangent equally."""

    kinds = "iuf"
    reference = np.minimum
    samples = Maximum.samples
    vjp = (lambda g, y, a, b: _share(g, b, a), lambda g, y, a, b: _share(g, a, b))


def _share(g: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """g where a > b, half of it where they are equal, else 0."""
    unequal = select(bind(Less, b, a), g, zero_like(g))
    return select(bind(Equal, a, b), g * 0.5, unequal)


# --- rounding ------------------------------------------------------------------------------------


class Floor(Unary, name="floor"):
    reference = staticmethod(real_part(np.floor))
    samples = unary(0.1, 0.9)


class Ceil(Unary, name="ceil"):
    reference = staticmethod(real_part(np.ceil))
    samples = unary(0.1, 0.9)


class Round(Unary, name="round"):
    """To the nearest integer, ties to even."""

    reference = staticmethod(real_part(np.round))
    samples = unary(0.1, 0.4)


# --- comparison, logic, choice -------------------------------------------------------------------


class Equal(Binary, name="equal"):
    kinds = "biufc"
    result = bool_
    reference = np.equal
    samples = binary()


class Less(Binary, name="less"):
    kinds = "biuf"
    result = bool_
    reference = np.less
    samples = binary()


class LessEqual(Binary, name="less_equal"):
    kinds = "biuf"
    result = bool_
    reference = np.less_equal
    samples = binary()


class And(Binary, name="and"):
    kinds = "biu"
    reference = np.bitwise_and
    samples = binary(0, 9, "int64") + binary(0, 1, "bool")


class Or(Binary, name="or"):
    kinds = "biu"
    reference = np.bitwise_or
    samples = And.samples


class Xor(Binary, name="xor"):
    kinds = "biu"
    reference = np.bitwise_xor
    samples = And.samples


class Invert(Unary, name="invert"):
    """Logical not of booleans, bitwise not of integers."""

    kinds = "biu"
    reference = np.invert
    samples = unary(0, 9, "int64") + unary(0, 1, "bool")


class ShiftLeft(Binary, name="shift_left"):
    kinds = "iu"
    reference = np.left_shift
    samples = binary(0, 9, "int64")


class ShiftRight(Binary, name="shift_right"):
    kinds = "iu"
    reference = np.right_shift
    samples = binary(0, 9, "int64")


class Where(Elementwise, name="where"):
    """a where the condition holds, else b; what is not chosen influences nothing."""

    reference = np.where
    arity = 3
    samples = (
        Sample((Arg((3, 4), 0, 1, "bool"), Arg((3, 4)), Arg((4,)))),
        Sample((Arg((3, 1), 0, 1, "bool"), Arg(()), Arg((2, 1, 4)))),
    )
    vjp = (
        None,
        lambda g, y, c, a, b: select(c, g, zero_like(g)),
        lambda g, y, c, a, b: select(c, zero_like(g), g),
    )

    @classmethod
    def type(cls, *types: Type) -> Type:
        condition, a, b = types
        if not condition.dtype.is_bool:
            raise DTypeError(f"where: the condition is {condition}, expected bool; compare first.")
        if a.dtype is not b.dtype:
            raise DTypeError(f"where: the choices have dtypes {a} and {b}.")
        return Type(broadcast("where", types), a.dtype)


class Cast(Primitive, name="cast"):
    """The values in another dtype."""

    reference = staticmethod(lambda x, dtype: _cast(x, dtype))
    samples = tuple(
        Sample((Arg((3, 2), 0, 9, a),), {"dtype": b})
        for a, b in (
            ("float32", float64),
            ("float64", float32),
            ("int64", float32),
            ("float32", int64),
        )
    )
    vjp = (lambda g, y, x, dtype: _cast_back(g, x.dtype) if x.dtype.is_inexact else None,)

    @staticmethod
    def type(x: Type, *, dtype: DType) -> Type:
        if x.dtype.is_complex and not dtype.is_complex:
            raise DTypeError(
                f"a cast of {x} to {dtype} would lose the imaginary parts; use real(...), imag(...)"
                " or abs(...)."
            )
        return Type(x.shape, dtype)

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, **attrs: Any) -> Any:
        return bind(cls, *args, **attrs)


def _cast_back(g: Tensor, dtype: DType) -> Tensor:
    if g.dtype.is_complex and not dtype.is_complex:
        from .complexes import real

        g = real(g)
    out: Tensor = bind(Cast, g, dtype=dtype)
    return out


def _cast(x: Any, dtype: DType) -> Any:
    if np.iscomplexobj(x) and not dtype.is_complex:
        if dtype.is_float:
            return x  # the complex step keeps its perturbation
        x = np.real(x)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(x).astype(dtype.np)
