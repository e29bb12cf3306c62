"""Comparisons, logic and bits on tensors, arrays and Python numbers; the results are Booleans."""

from __future__ import annotations

import math
from typing import Any

from ..primitive import bind, operands
from ..tensor import Tensor
from ..types import bool_
from . import elementwise as e
from .complexes import imag, real
from .functions import as_tensor, astype, binary
from .numbers import abs


def equal(a: Any, b: Any) -> Tensor:
    """a == b, elementwise; NaN equals nothing.

    >>> from tinygrad_rnn import tensor
    >>> equal(tensor([1.0, 2.0]), 2).tolist()
    [False, True]
    """
    return binary(e.Equal, a, b)


def not_equal(a: Any, b: Any) -> Tensor:
    """a != b, elementwise."""
    return bind(e.Invert, binary(e.Equal, a, b))


def less(a: Any, b: Any) -> Tensor:
    """a < b."""
    return binary(e.Less, a, b)


def less_equal(a: Any, b: Any) -> Tensor:
    """a <= b."""
    return binary(e.LessEqual, a, b)


def greater(a: Any, b: Any) -> Tensor:
    """a > b."""
    x, y = operands("greater", a, b)
    return bind(e.Less, y, x)


def greater_equal(a: Any, b: Any) -> Tensor:
    """a >= b."""
    x, y = operands("greater_equal", a, b)
    return bind(e.LessEqual, y, x)


def bitwise_and(a: Any, b: Any) -> Tensor:
    """a & b, for integers and booleans."""
    return binary(e.And, a, b)


def bitwise_or(a: Any, b: Any) -> Tensor:
    """a | b, for integers and booleans."""
    return binary(e.Or, a, b)


def bitwise_xor(a: Any, b: Any) -> Tensor:
    """a ^ b, for integers and booleans."""
    return binary(e.Xor, a, b)


def bitwise_invert(x: Any) -> Tensor:
    """~x, for integers and booleans."""
    return bind(e.Invert, as_tensor("bitwise_invert", x))


def bitwise_left_shift(a: Any, b: Any) -> Tensor:
    """a << b.

    >>> from tinygrad_rnn import tensor
    >>> bitwise_left_shift(tensor([1, 2]), 3).tolist()
    [8, 16]
    """
    return binary(e.ShiftLeft, a, b)


def bitwise_right_shift(a: Any, b: Any) -> Tensor:
    """a >> b."""
    return binary(e.ShiftRight, a, b)


def _truth(name: str, x: Any) -> Tensor:
    return astype(as_tensor(name, x), bool_)


def logical_and(a: Any, b: Any) -> Tensor:
    """Both are true (non-zero)."""
    return bind(e.And, _truth("logical_and", a), _truth("logical_and", b))


def logical_or(a: Any, b: Any) -> Tensor:
    """At least one is true (non-zero)."""
    return bind(e.Or, _truth("logical_or", a), _truth("logical_or", b))


def logical_xor(a: Any, b: Any) -> Tensor:
    """Exactly one is true (non-zero)."""
    return bind(e.Xor, _truth("logical_xor", a), _truth("logical_xor", b))


def logical_not(x: Any) -> Tensor:
    """x is false (zero)."""
    return bind(e.Invert, _truth("logical_not", x))


def isnan(x: Any) -> Tensor:
    """Where x is NaN."""
    t = as_tensor("isnan", x)
    return not_equal(t, t)


def isinf(x: Any) -> Tensor:
    """Where x is infinite."""
    t = as_tensor("isinf", x)
    if t.dtype.is_complex:
        return bitwise_or(isinf(real(t)), isinf(imag(t)))
    return equal(abs(t), math.inf) if t.dtype.is_float else not_equal(t, t)


def isfinite(x: Any) -> Tensor:
    """Where x is neither infinite nor NaN.

    >>> from tinygrad_rnn import tensor
    >>> isfinite(tensor([1.0, float("inf"), float("nan")])).tolist()
    [True, False, False]
    """
    t = as_tensor("isfinite", x)
    if t.dtype.is_complex:
        return bitwise_and(isfinite(real(t)), isfinite(imag(t)))
    return less(abs(t), math.inf) if t.dtype.is_float else equal(t, t)
