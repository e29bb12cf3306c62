"""Activation functions of networks, made of the elementwise functions."""

from __future__ import annotations

import math
from typing import Any

from ..tensor import Tensor
from .functions import as_tensor, erf, exp, expm1, floating, log1p, minimum, sigmoid, where


def relu(x: Any) -> Tensor:
    """max(x, 0); the derivative at 0 is 0; NaN stays NaN."""
    t = as_tensor("relu", x)
    return where(t <= 0, 0 if t.dtype.is_integer else 0.0, t)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """x where positive, else negative_slope * x."""
    t = floating("leaky_relu", x)
    return where(t > 0, t, t * negative_slope)


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """x where positive, else alpha * (exp(x) - 1)."""
    t = floating("elu", x)
    return where(t > 0, t, alpha * expm1(minimum(t, 0.0)))


def softplus(x: Any) -> Tensor:
    """log(1 + exp(x)), without overflow.

    >>> from tinygrad_rnn import tensor
    >>> softplus(tensor([-1000.0, 1000.0])).tolist()
    [0.0, 1000.0]
    """
    t = floating("softplus", x)
    positive = t > 0  # not abs: its derivative 0 at 0 would spoil the second derivative there
    return where(positive, t, 0.0) + log1p(exp(where(positive, -t, t)))


def silu(x: Any) -> Tensor:
    """x * sigmoid(x)."""
    t = floating("silu", x)
    return t * sigmoid(t)


def gelu(x: Any) -> Tensor:
    """x * Phi(x), Phi the distribution function of the normal distribution."""
    t = floating("gelu", x)
    return t * 0.5 * (1 + erf(t * math.sqrt(0.5)))
