"""Parameter: a leaf Tensor that is trained.

In: data. Out: a Tensor with `requires_grad=True` that modules recognise by its class.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Backend
from ..errors import DTypeError, GradientError
from ..ops import asarray
from ..random import as_generator
from ..tensor import Tensor, leaf_value
from ..types import DType, Shape, as_dtype, default_dtype


class Parameter(Tensor):
    """A tensor that a module trains.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.Parameter(tg.zeros((2, 3))).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True):
        source = asarray(data)._value
        if requires_grad and not source.type.dtype.is_float:
            raise GradientError(
                f"Parameter: {source.type} has no gradient, only floating dtypes do; cast it with "
                f".astype('float32'), or use register_buffer for a constant."
            )
        self._grad = None
        self._value = leaf_value(source.type, source.data, source.backend, requires_grad, self)

    @classmethod
    def full(cls, shape: Shape, value: float, dtype: Any = None) -> Parameter:
        """A parameter filled with one number."""
        return cls(np.full(shape, value, floating(dtype).np))

    @classmethod
    def zeros(cls, shape: Shape, dtype: Any = None) -> Parameter:
        """A parameter filled with zeros."""
        return cls.full(shape, 0.0, dtype)

    @classmethod
    def uniform(cls, shape: Shape, bound: float, dtype: Any = None, rng: Any = None) -> Parameter:
        """A parameter drawn uniformly from ±bound."""
        return cls(as_generator(rng).uniform(shape, -bound, bound, dtype=floating(dtype)))


def floating(dtype: Any) -> DType:
    """`dtype`, or the default one for None; it must be floating."""
    found = default_dtype() if dtype is None else as_dtype(dtype)
    if not found.is_float:
        raise DTypeError(f"parameters need a floating dtype, got {found}.")
    return found


def convert_(tensor: Tensor, target: Any) -> None:
    """Move `tensor` to a backend, or cast it to a dtype (if it is floating), in place.

    The handle stays the same object, so that optimizers and tied layers keep seeing it.
    """
    dtype: DType | None = None
    if not isinstance(target, Backend):
        try:
            dtype = as_dtype(target)
        except DTypeError:
            if not isinstance(target, str):
                raise
    if dtype is not None and not (tensor.dtype.is_float and floating(dtype)):
        return
    new = tensor.detach().to(target if dtype is None else dtype)
    tracked, grad = tensor.requires_grad, tensor.grad
    tensor._value = leaf_value(new.type, new._value.data, new.backend, tracked, tensor)
    tensor._grad = None if grad is None else grad.detach().to(target)
