"""Reducing primitives: sum, max, argmax, cumulative sum. They drop the axes they reduce."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..primitive import Arg, Flags, Operands, Primitive, Sample, bind
from ..tensor import Tensor
from ..types import Shape, Type, bool_, int64, wide
from .elementwise import Cast, Equal
from .movement import broadcast_to, reshape

Axes = tuple[int, ...]


def _one(size: Shape, /, **attrs: Any) -> Sample:
    return Sample((Arg(size),), attrs)


def _dropped(shape: Shape, axes: Axes) -> Shape:
    return tuple([n for i, n in enumerate(shape) if i not in axes])


def _kept(shape: Shape, axes: Axes) -> Shape:
    return tuple([1 if i in axes else n for i, n in enumerate(shape)])


def spread(g: Tensor, like: Tensor, axes: Axes) -> Tensor:
    """A reduced tensor broadcast back over the reduced axes."""
    return broadcast_to(reshape(g, _kept(like.shape, axes)), like.shape)


class Reduction(Primitive):
    @staticmethod
    def type(x: Type, *, axes: Axes) -> Type:
        return Type(_dropped(x.shape, axes), x.dtype)

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, *, axes: Axes) -> Any:
        return bind(cls, args[0], axes=tuple(a + 1 for a in axes))


def _sum(x: Any, axes: Axes) -> Any:
    x = np.asarray(x)
    return np.asarray(np.sum(x, axes, dtype=wide(x.dtype))).astype(x.dtype)


class Sum(Reduction, name="sum"):
    """Sum over axes; half precision is summed in float32."""

    reference = staticmethod(_sum)
    samples = (
        _one((3, 4), axes=(0,)),
        _one((2, 3, 4), axes=(0, 2)),
        _one((0, 3), axes=(0,)),
        _one((), axes=()),
    )
    vjp = (lambda g, y, x, axes: spread(g, x, axes),)


def _complex_max(x: Any, axes: Axes) -> Any:
    """Maximum by the real part (for the complex step)."""
    x = np.asarray(x)
    if not np.iscomplexobj(x):
        return np.max(x, axes)
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    n = math.prod(x.shape[i] for i in axes)
    flat = np.transpose(x, rest + axes).reshape(*(x.shape[i] for i in rest), n)
    return np.take_along_axis(flat, flat.real.argmax(-1)[..., None], -1)[..., 0]


class Max(Reduction, name="max"):
    """Maximum over axes; equal maxima share the cotangent equally; NaN propagates."""

    reference = staticmethod(_complex_max)
    samples = (_one((3, 4), axes=(1,)), _one((2, 3, 4), axes=(0, 2)), _one((5,), axes=(0,)))
    vjp = (lambda g, y, x, axes: _max_rule(g, y, x, axes),)

    @staticmethod
    def type(x: Type, *, axes: Axes) -> Type:
        if x.dtype.is_complex:
            raise DTypeError(f"max of {x}: complex numbers have no order.")
        if any(x.shape[a] == 0 for a in axes):
            raise ShapeError(f"max of {x} over axes {axes}: an empty axis has no maximum.")
        return Type(_dropped(x.shape, axes), x.dtype)


def _max_rule(g: Tensor, y: Tensor, x: Tensor, axes: Axes) -> Tensor:
    counting = x.dtype.wide  # equal maxima: float16 ends at 65504
    at_max = bind(Equal, x, spread(y, x, axes))
    count = bind(Sum, bind(Cast, at_max, dtype=counting), axes=axes)
    share = bind(Cast, bind(Cast, g, dtype=counting) / count, dtype=x.dtype)
    return spread(share, x, axes) * bind(Cast, at_max, dtype=x.dtype)


class ArgMax(Primitive, name="argmax"):
    """Index of the first maximum along one axis."""

    reference = staticmethod(lambda x, axis: np.argmax(x, axis))
    samples = (_one((3, 4), axis=1), _one((5,), axis=0))

    @staticmethod
    def type(x: Type, *, axis: int) -> Type:
        if x.dtype.is_complex:
            raise DTypeError(f"argmax of {x}: complex numbers have no order.")
        if x.shape[axis] == 0:
            raise ShapeError(f"argmax of {x}: axis {axis} is empty.")
        return Type(_dropped(x.shape, (axis,)), int64)

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, *, axis: int) -> Any:
        return bind(cls, args[0], axis=axis + 1)


def _cumsum(x: Any, axis: int, reverse: bool) -> Any:
    x = np.asarray(x)
    if reverse:
        return np.flip(_cumsum(np.flip(x, axis), axis, False), axis)
    return np.cumsum(x, axis, dtype=wide(x.dtype)).astype(x.dtype)


class CumSum(Primitive, name="cumsum"):
    """Sums of all elements up to each (from each on, if reverse) along one axis; half precision is
    summed in float32."""

    reference = staticmethod(_cumsum)
    samples = (_one((3, 4), axis=1, reverse=False), _one((4,), axis=0, reverse=True))
    vjp = (lambda g, y, x, axis, reverse: bind(CumSum, g, axis=axis, reverse=not reverse),)

    @staticmethod
    def type(x: Type, *, axis: int, reverse: bool) -> Type:
        if x.dtype is bool_:
            raise ShapeError("cumsum of booleans: cast to an integer dtype first.")
        return x

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, *, axis: int, reverse: bool) -> Any:
        return bind(cls, args[0], axis=axis + 1, reverse=reverse)
