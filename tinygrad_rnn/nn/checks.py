"""Checks that several layers share; their messages name the layer that asks.

In: what was given. Out: nothing, or an error.
"""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from ..tensor import Tensor
from .module import Module


def check_positive(where: str, **sizes: int) -> None:
    """Raise unless every size is a positive integer, also of NumPy (bool is not an integer)."""
    for name, value in sizes.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
            raise ArgumentError(f"{where}: {name} must be a positive integer, got {value!r}.")


def check_probability(where: str, **values: float) -> None:
    """Raise unless every value lies between 0 and 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not 0 <= value <= 1:
            raise ArgumentError(f"{where}: {name} must lie between 0 and 1, got {value!r}.")


def check_features(where: str, x: Tensor, size: int) -> None:
    """Raise unless the last axis of x has `size` elements."""
    if x.shape[-1] == size:
        return
    hint = ""
    if size in x.shape[:-1]:
        axis = x.shape.index(size)
        hint = f" Axis {axis} has {size}: are the features there? Use moveaxis(x, {axis}, -1)."
    raise ShapeError(
        f"{where}: input has {x.shape[-1]} features ({x.type}, last axis), the layer was built "
        f"with input_size={size}.{hint}"
    )


def check_dtype(where: str, x: Tensor, module: Module) -> None:
    """Raise if x is not of the parameters' floating dtype."""
    dtype = next((p.dtype for p in module.parameters()), x.dtype)
    if x.dtype != dtype:
        raise DTypeError(
            f"{where}: input is {x.type}, the parameters are {dtype.short}; use "
            f"x.astype('{dtype}') or module.to('{x.dtype}')."
            if x.dtype.is_float
            else f"{where}: input is {x.type}, expected {dtype.short}; integers go through "
            f"nn.Embedding or one_hot(x, n) first."
        )
