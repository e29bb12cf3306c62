"""What a number is made of: sign and magnitude, real and imaginary part, bits."""

from __future__ import annotations

import math
from typing import Any

from ..errors import DTypeError
from ..primitive import apart, bind, literal, operands
from ..tensor import Tensor
from ..types import DType, int16, int32, int64
from . import complexes as c
from . import elementwise as e
from .elementwise import zero_like
from .functions import as_tensor, astype, floating, maximum, numeric, sqrt, square, where

_SIGNED = {d.itemsize: d for d in (int16, int32, int64)}


def abs(x: Any) -> Tensor:
    """|x|; of complex numbers the distance from 0. The derivative at 0 is 0.

    >>> from tinygrad_rnn import tensor
    >>> abs(tensor([-2.0, 3.0])).tolist(), abs(tensor(3 + 4j)).item()
    ([2.0, 3.0], 5.0)
    """
    t = as_tensor("abs", x)
    if t.dtype.kind in "bu":
        return apart(t, x)
    if t.dtype.is_complex:
        return hypot(c.real(t), c.imag(t))
    out: Tensor = bind(e.Abs, t)
    return out


def sign(x: Any) -> Tensor:
    """-1, 0 or 1 (no gradient flows); of complex numbers x / |x|, and 0 at 0."""
    t = numeric("sign", x)
    if t.dtype.is_complex:
        size = abs(t)
        zero = size == 0
        return where(zero, zero_like(t), t / astype(where(zero, 1.0, size), t.dtype))
    out: Tensor = bind(e.Sign, t)
    return out


def hypot(a: Any, b: Any) -> Tensor:
    """sqrt(a^2 + b^2) without overflow; infinite if one of both is; the gradient at 0 is 0.

    >>> hypot(3.0, 4.0).item(), hypot(3e38, 0.0).item() < float("inf")
    (5.0, True)
    """
    x, y = operands("hypot", a, b)
    x, y = floating("hypot", x), floating("hypot", y)
    top = maximum(abs(x), abs(y)).detach()  # any number will do: it cancels
    infinite = (abs(x) == math.inf) | (abs(y) == math.inf)
    top = where((top == 0) | infinite, 1.0, top)
    squares = square(x / top) + square(y / top)
    zero = squares == 0
    return where(infinite, math.inf, top * where(zero, 0.0, sqrt(where(zero, 1.0, squares))))


# --- bits ----------------------------------------------------------------------------------------


def _integers(t: Tensor) -> tuple[Tensor, DType]:
    """The bits of floats as signed integers, negative where the sign bit is set."""
    dtype = _SIGNED[t.dtype.itemsize]
    return c.bitcast(t, dtype), dtype


def signbit(x: Any) -> Tensor:
    """Whether the sign is minus, that of -0.0 and of NaN too.

    >>> from tinygrad_rnn import tensor
    >>> signbit(tensor([-0.0, 0.0, -3.0])).tolist()
    [True, False, True]
    """
    t = as_tensor("signbit", x)
    if t.dtype.is_complex:
        raise DTypeError(f"signbit of {t.type}: complex numbers have no sign.")
    return (_integers(t)[0] if t.dtype.is_float else t) < 0


def copysign(a: Any, b: Any) -> Tensor:
    """The magnitude of a with the sign of b.

    >>> copysign(3.0, -0.0).item()
    -3.0
    """
    x, y = operands("copysign", a, b)
    x, y = floating("copysign", x), floating("copysign", y)
    return where(signbit(x) ^ signbit(y), -x, x)


def nextafter(a: Any, b: Any) -> Tensor:
    """The number after a in the direction of b, a itself where both are equal; no gradient flows.

    >>> nextafter(1.0, 2.0).item() - 1
    1.19...e-07
    """
    x, y = operands("nextafter", a, b)
    x, y = floating("nextafter", x), floating("nextafter", y)
    bits, dtype = _integers(x)
    outwards = (x < y) == (x > 0)
    moved = c.bitcast(bits + where(outwards, 1, -1).astype(dtype), x.dtype)
    smallest = c.bitcast(literal(1, dtype, x.backend), x.dtype)
    moved = where(x == 0, copysign(smallest, y), moved)
    return where(x == y, y, where((x != x) | (y != y), x + y, moved)).detach()


# --- parts of complex numbers --------------------------------------------------------------------


def real(x: Any) -> Tensor:
    """The real part; of a real tensor itself."""
    t = as_tensor("real", x)
    return apart(c.real(t), x)


def imag(x: Any) -> Tensor:
    """The imaginary part of complex numbers.

    >>> from tinygrad_rnn import tensor
    >>> tensor([1 + 2j]).imag.tolist()
    [2.0]
    """
    t = as_tensor("imag", x)
    if not t.dtype.is_complex:
        raise DTypeError(f"imag of {t.type}: expected complex numbers; a real one has 0.")
    return c.imag(t)


def conj(x: Any) -> Tensor:
    """The complex conjugate; of a real tensor itself.

    >>> from tinygrad_rnn import tensor
    >>> conj(tensor(1 + 2j)).item()
    (1-2j)
    """
    t = as_tensor("conj", x)
    return apart(c.conj(t), x)
