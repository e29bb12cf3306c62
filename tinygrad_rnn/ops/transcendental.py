"""Elementwise primitives, continued: powers, exponentials, trigonometry.

As in `elementwise`: `g` is the cotangent of the output `y`, and a zero cotangent wins over a factor
that is infinite or NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..primitive import bind, literal
from ..tensor import Tensor
from .elementwise import Binary, Unary, binary, select, unary, zdiv, zmul


def cos(x: Tensor) -> Tensor:
    return bind(Cos, x)


def sin(x: Tensor) -> Tensor:
    return bind(Sin, x)


def exp(x: Tensor) -> Tensor:
    return bind(Exp, x)


def log(x: Tensor) -> Tensor:
    return bind(Log, x)


def sqrt(x: Tensor) -> Tensor:
    return bind(Sqrt, x)


def one(x: Tensor) -> Tensor:
    return literal(1.0, x.dtype, x.backend)


class Analytic(Unary):
    """Of a complex operand the principal value."""

    kinds = "fc"


class Pow(Binary, name="pow"):
    """a ** b; b * a**(b-1) is taken as 0 where b is 0, a**b * log(a) as 0 where a**b is 0 (and so
    are all derivatives of it)."""

    kinds = "iufc"
    reference = np.power
    samples = binary(0.3, 2.5, second=(-2, 2))
    vjp = (
        lambda g, y, a, b: zmul(g, zmul(b, bind(Pow, a, b - 1))),
        lambda g, y, a, b: zmul(g, y * log(select(y == 0, one(a), a))),
    )


class Exp(Analytic, name="exp"):
    reference = np.exp
    samples = unary()
    vjp = (lambda g, y, x: zmul(g, y),)


class Expm1(Analytic, name="expm1"):
    reference = np.expm1
    samples = unary()
    vjp = (lambda g, y, x: zmul(g, y + 1),)


class Log(Analytic, name="log"):
    reference = np.log
    samples = unary(0.2, 3)
    vjp = (lambda g, y, x: zdiv(g, x),)


class Log1p(Analytic, name="log1p"):
    reference = np.log1p
    samples = unary(-0.7, 3)
    vjp = (lambda g, y, x: zdiv(g, x + 1),)


class Sqrt(Analytic, name="sqrt"):
    reference = np.sqrt
    samples = unary(0.2, 3)
    vjp = (lambda g, y, x: zdiv(g * 0.5, y),)


class Sin(Analytic, name="sin"):
    reference = np.sin
    samples = unary()
    vjp = (lambda g, y, x: g * cos(x),)


class Cos(Analytic, name="cos"):
    reference = np.cos
    samples = unary()
    vjp = (lambda g, y, x: -(g * sin(x)),)


class Tan(Analytic, name="tan"):
    reference = np.tan
    samples = unary(-1.2, 1.2)
    vjp = (lambda g, y, x: zmul(g, y * y + 1),)


class Asin(Analytic, name="asin"):
    reference = np.arcsin
    samples = unary(-0.8, 0.8)
    vjp = (lambda g, y, x: zdiv(g, sqrt(1 - x * x)),)


class Acos(Analytic, name="acos"):
    reference = np.arccos
    samples = unary(-0.8, 0.8)
    vjp = (lambda g, y, x: -zdiv(g, sqrt(1 - x * x)),)


class Atan(Analytic, name="atan"):
    reference = np.arctan
    samples = unary()
    vjp = (lambda g, y, x: g / (x * x + 1),)


def _atan2(a: Any, b: Any) -> Any:
    if not (np.iscomplexobj(a) or np.iscomplexobj(b)):
        return np.arctan2(a, b)
    # analytic continuation for the complex step: the angle of b + i a
    base = np.arctan2(np.real(a), np.real(b))
    return base + 1j * (np.imag(a) * np.real(b) - np.imag(b) * np.real(a)) / (
        np.real(a) ** 2 + np.real(b) ** 2
    )


class Atan2(Binary, name="atan2"):
    kinds = "f"
    reference = staticmethod(_atan2)
    samples = binary(second=(0.4, 3)) + binary(0.4, 2, second=(-3, -0.4))
    vjp = (
        lambda g, y, a, b: zdiv(g * b, a * a + b * b),
        lambda g, y, a, b: -zdiv(g * a, a * a + b * b),
    )


class Sinh(Analytic, name="sinh"):
    reference = np.sinh
    samples = unary()
    vjp = (lambda g, y, x: zmul(g, bind(Cosh, x)),)


class Cosh(Analytic, name="cosh"):
    reference = np.cosh
    samples = unary()
    vjp = (lambda g, y, x: zmul(g, bind(Sinh, x)),)


class Tanh(Analytic, name="tanh"):
    reference = np.tanh
    samples = unary(-3, 3)
    vjp = (lambda g, y, x: g * (1 - y * y),)


class Asinh(Analytic, name="asinh"):
    reference = np.arcsinh
    samples = unary()
    vjp = (lambda g, y, x: g / sqrt(x * x + 1),)


class Acosh(Analytic, name="acosh"):
    reference = np.arccosh
    samples = unary(1.3, 4)
    # two roots, because in the complex plane that of the product has other branches
    vjp = (lambda g, y, x: zdiv(g, zmul(sqrt(x - 1), sqrt(x + 1))),)


class Atanh(Analytic, name="atanh"):
    reference = np.arctanh
    samples = unary(-0.8, 0.8)
    vjp = (lambda g, y, x: zdiv(g, 1 - x * x),)


def _sigmoid(x: Any) -> Any:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


class Sigmoid(Unary, name="sigmoid"):
    """1 / (1 + exp(-x)); a primitive because its derivative needs only the output."""

    reference = staticmethod(_sigmoid)
    samples = unary(-4, 4)
    vjp = (lambda g, y, x: g * (y * (1 - y)),)


def _erf(x: Any) -> Any:
    """erf by its power series for small |x| and a continued fraction for large: exact, and slow."""
    z = np.asarray(x)
    real = z.real.astype(np.float64)
    base = np.vectorize(math.erf, otypes=[np.float64])(real)
    if np.iscomplexobj(z):
        return base + 1j * z.imag * (2 / math.sqrt(math.pi)) * np.exp(-real * real)
    return base.astype(z.dtype)


class Erf(Unary, name="erf"):
    """The error function 2/sqrt(pi) * integral of exp(-t^2) from 0 to x."""

    reference = staticmethod(_erf)
    samples = unary()
    vjp = (lambda g, y, x: g * (exp(-(x * x)) * (2 / math.sqrt(math.pi))),)
