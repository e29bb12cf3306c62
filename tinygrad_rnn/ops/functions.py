"""Elementwise functions on tensors, arrays and Python numbers: promotion, then primitives.

Operands broadcast; Python numbers take the dtype of their partner; floats win over integers.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError
from ..primitive import Primitive, apart, apply_one, apply_two, bind, is_scalar, literal, operands
from ..tensor import Tensor
from ..types import as_dtype, bool_, default_dtype
from . import elementwise as e
from . import transcendental as tr
from .complexes import bitcast


def binary(op: type[Primitive], a: Any, b: Any) -> Tensor:
    # the common case first: two tensors of one dtype
    if (
        isinstance(a, Tensor)
        and isinstance(b, Tensor)
        and a._value.type.dtype is b._value.type.dtype
    ):
        return apply_two(op, a, b)
    return apply_two(op, *operands(op.name, a, b))


def as_tensor(name: str, x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else operands(name, x)[0]


def astype(x: Tensor, dtype: Any, copy: bool = True, device: Any = None) -> Tensor:
    """The values in another dtype; floats become integers by truncation.

    `copy=False` may give `x` itself, which an assignment to the result would change.

    >>> from tinygrad_rnn import tensor
    >>> astype(tensor([1.7, -1.7]), "int64").tolist()
    [1, -1]
    """
    new = as_dtype(dtype)
    out: Tensor
    if x.dtype.is_complex and new.is_bool:
        out = bind(e.Invert, bind(e.Equal, x, e.zero_like(x)))
    else:
        out = x if x.dtype is new else bind(e.Cast, x, dtype=new)
    if device is not None:
        out = out._to_backend(device)
    return apart(out, x) if copy else out


def floating(name: str, x: Any) -> Tensor:
    t = as_tensor(name, x)
    return t if t.dtype.is_inexact else astype(t, default_dtype())


def _unary(op: type[Primitive], x: Any) -> Tensor:
    if isinstance(x, Tensor) and x._value.type.dtype.is_inexact:
        return apply_one(op, x)
    return bind(op, floating(op.name, x))


def numeric(name: str, x: Any) -> Tensor:
    t = as_tensor(name, x)
    if t.dtype.is_bool:
        raise DTypeError(f"{name} is not defined for {t.type}; cast with .astype(...).")
    return t


# --- arithmetic ----------------------------------------------------------------------------------


def add(a: Any, b: Any) -> Tensor:
    """a + b; for booleans: logical or."""
    return binary(_for_bool(e.Add, e.Or, a, b), a, b)


def subtract(a: Any, b: Any) -> Tensor:
    """a - b."""
    return binary(e.Sub, a, b)


def multiply(a: Any, b: Any) -> Tensor:
    """a * b; for booleans: logical and."""
    return binary(_for_bool(e.Mul, e.And, a, b), a, b)


def _is_bool(x: Any) -> bool:
    return x.dtype is bool_ if isinstance(x, Tensor) else type(x) in (builtins.bool, np.bool_)


def _for_bool(op: type[Primitive], instead: type[Primitive], a: Any, b: Any) -> type[Primitive]:
    return instead if _is_bool(a) and _is_bool(b) else op


def divide(a: Any, b: Any) -> Tensor:
    """a / b; integers are divided as floats. Division by zero is IEEE's (inf, NaN).

    >>> from tinygrad_rnn import tensor
    >>> divide(tensor([1, 2]), 4).tolist()
    [0.25, 0.5]
    """
    if isinstance(a, Tensor) and a._value.type.dtype.is_inexact:
        return binary(e.Div, a, b)
    x, y = operands("divide", a, b)
    if not x.dtype.is_inexact:
        x, y = astype(x, default_dtype()), astype(y, default_dtype())
    return bind(e.Div, x, y)


def floor_divide(a: Any, b: Any) -> Tensor:
    """floor(a / b); no gradient flows."""
    return binary(e.FloorDiv, a, b)


def remainder(a: Any, b: Any) -> Tensor:
    """a - b * floor(a / b), with the sign of b.

    >>> from tinygrad_rnn import tensor
    >>> remainder(tensor([-1, 5]), 3).tolist()
    [2, 2]
    """
    return binary(e.Mod, a, b)


def power(a: Any, b: Any) -> Tensor:
    """a ** b. Small whole exponents are products, 0.5 is a square root.

    >>> from tinygrad_rnn import tensor
    >>> power(tensor([2.0, 3.0]), 2).tolist()
    [4.0, 9.0]
    """
    if isinstance(a, Tensor) and is_scalar(b) and not a.dtype.is_bool:
        if b == 1:
            return a * 1
        if b in (2, 3):
            return a * a if b == 2 else a * a * a
        if a.dtype.is_inexact and b in (0.5, -1):
            return sqrt(a) if b == 0.5 else 1 / a
    if (
        type(b) not in (builtins.bool, int, float)
        or b >= 0
        or (isinstance(a, Tensor) and a.dtype.is_inexact)
    ):
        return binary(tr.Pow, a, b)
    raise ArgumentError(f"pow: integers to the negative power {b}; cast the base to a float first.")


def negative(x: Any) -> Tensor:
    """-x."""
    return bind(e.Neg, numeric("negative", x))


def positive(x: Any) -> Tensor:
    """+x."""
    return apart(numeric("positive", x), x)


def square(x: Any) -> Tensor:
    """x * x."""
    t = numeric("square", x)
    return t * t


def reciprocal(x: Any) -> Tensor:
    """1 / x."""
    return divide(1.0, x)


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of both; equal operands share the gradient equally; NaN propagates.

    >>> from tinygrad_rnn import tensor
    >>> maximum(tensor([1.0, -2.0]), 0).tolist()
    [1.0, 0.0]
    """
    return binary(_for_bool(e.Maximum, e.Or, a, b), a, b)


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of both; equal operands share the gradient equally; NaN propagates."""
    return binary(_for_bool(e.Minimum, e.And, a, b), a, b)


def clip(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """x limited to [min, max]; no gradient flows where it is limited, half of it on the border.

    >>> from tinygrad_rnn import tensor
    >>> clip(tensor([-2.0, 0.5, 9.0]), 0, 1).tolist()
    [0.0, 0.5, 1.0]
    """
    out = as_tensor("clip", x)
    if min is not None:
        out = maximum(out, min)
    if max is not None:
        out = minimum(out, max)
    return apart(out, x)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a where the condition holds, else b; the other influences neither value nor gradient.

    A product with an infinite factor inside the choice not taken (x * log(x) at 0) still makes
    0 * inf = NaN on the way back: choose its operands first.

    >>> from tinygrad_rnn import tensor
    >>> where(tensor([True, False]), 1.0, tensor([5.0, 6.0])).tolist()
    [1.0, 6.0]
    """
    c = as_tensor("where", condition)
    x, y = operands("where", a, b)
    if x.backend is not c.backend and not (isinstance(a, Tensor) or isinstance(b, Tensor)):
        x, y = literal(a, x.dtype, c.backend), literal(b, y.dtype, c.backend)
    return bind(e.Where, c, x, y)


# --- exponentials, trigonometry ------------------------------------------------------------------


def exp(x: Any) -> Tensor:
    """e ** x."""
    return _unary(tr.Exp, x)


def expm1(x: Any) -> Tensor:
    """exp(x) - 1, exact near 0."""
    return _unary(tr.Expm1, x)


def log(x: Any) -> Tensor:
    """The natural logarithm."""
    return _unary(tr.Log, x)


def logaddexp(a: Any, b: Any) -> Tensor:
    """log(exp(a) + exp(b)), without overflow.

    >>> logaddexp(1000.0, 1000.0).item()
    1000.69...
    """
    x, y = operands("logaddexp", a, b)
    x, y = floating("logaddexp", x), floating("logaddexp", y)
    over = y < x  # not maximum: half of a tie would spoil the second derivative there
    high, low = where(over, x, y), where(over, y, x)
    # the difference of two equal infinities would be NaN
    gap = where((low == high) & (high - high != 0), 0.0, low - high)
    return high + log1p(exp(gap))


def log1p(x: Any) -> Tensor:
    """log(1 + x), exact near 0."""
    return _unary(tr.Log1p, x)


def log2(x: Any) -> Tensor:
    """The logarithm to base 2."""
    return _scaled(_unary(tr.Log, x), 1 / math.log(2))


def log10(x: Any) -> Tensor:
    """The logarithm to base 10."""
    return _scaled(_unary(tr.Log, x), 1 / math.log(10))


def _scaled(y: Tensor, factor: float) -> Tensor:
    # a complex factor would mix the parts: 0 * inf
    return by_parts(lambda t: t * factor, y) if y.dtype.is_complex else y * factor


def sqrt(x: Any) -> Tensor:
    """The square root; its derivative at 0 is infinite, but a zero cotangent stays zero."""
    return _unary(tr.Sqrt, x)


def rsqrt(x: Any) -> Tensor:
    """1 / sqrt(x)."""
    return 1 / sqrt(x)


def sin(x: Any) -> Tensor:
    """The sine of x (radians)."""
    return _unary(tr.Sin, x)


def cos(x: Any) -> Tensor:
    """The cosine of x (radians)."""
    return _unary(tr.Cos, x)


def tan(x: Any) -> Tensor:
    """The tangent of x (radians)."""
    return _unary(tr.Tan, x)


def asin(x: Any) -> Tensor:
    """The angle in [-pi/2, pi/2] whose sine is x."""
    return _unary(tr.Asin, x)


def acos(x: Any) -> Tensor:
    """The angle in [0, pi] whose cosine is x."""
    return _unary(tr.Acos, x)


def atan(x: Any) -> Tensor:
    """The angle in (-pi/2, pi/2) whose tangent is x."""
    return _unary(tr.Atan, x)


def atan2(a: Any, b: Any) -> Tensor:
    """The angle of the point (b, a), in [-pi, pi]."""
    x, y = operands("atan2", a, b)
    return bind(tr.Atan2, floating("atan2", x), floating("atan2", y))


def sinh(x: Any) -> Tensor:
    """The hyperbolic sine."""
    return _unary(tr.Sinh, x)


def cosh(x: Any) -> Tensor:
    """The hyperbolic cosine."""
    return _unary(tr.Cosh, x)


def tanh(x: Any) -> Tensor:
    """The hyperbolic tangent."""
    return _unary(tr.Tanh, x)


def asinh(x: Any) -> Tensor:
    """The inverse hyperbolic sine."""
    return _unary(tr.Asinh, x)


def acosh(x: Any) -> Tensor:
    """The inverse hyperbolic cosine."""
    return _unary(tr.Acosh, x)


def atanh(x: Any) -> Tensor:
    """The inverse hyperbolic tangent."""
    return _unary(tr.Atanh, x)


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + exp(-x))."""
    return _unary(tr.Sigmoid, x)


def erf(x: Any) -> Tensor:
    """The error function."""
    return _unary(tr.Erf, x)


# --- rounding ------------------------------------------------------------------------------------


def _rounding(op: type[Primitive], x: Any) -> Tensor:
    t = numeric(op.name, x)
    return apart(t, x) if t.dtype.is_integer else bind(op, t)


def floor(x: Any) -> Tensor:
    """The largest whole number not above x; no gradient flows."""
    return _rounding(e.Floor, x)


def ceil(x: Any) -> Tensor:
    """The smallest whole number not below x; no gradient flows."""
    return _rounding(e.Ceil, x)


def round(x: Any) -> Tensor:
    """The nearest whole number, ties to even; of complex numbers in both parts; no gradient flows.

    >>> from tinygrad_rnn import tensor
    >>> round(tensor([0.5, 1.5, 2.4])).tolist()
    [0.0, 2.0, 2.0]
    """
    t = numeric("round", x)
    return by_parts(round, t) if t.dtype.is_complex else _rounding(e.Round, x)


def by_parts(f: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """f of the real and of the imaginary parts of complex numbers."""
    return bitcast(f(bitcast(z, z.dtype.real)), z.dtype)


def trunc(x: Any) -> Tensor:
    """x without its fraction; no gradient flows."""
    t = numeric("trunc", x)
    return apart(t, x) if t.dtype.is_integer else where(t < 0, ceil(t), floor(t))
