"""take and scatter_add: reading by index and its adjoint, in which duplicates add up."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, IndexRangeError, ShapeError
from ..primitive import Arg, Flags, Operands, Primitive, Sample, bind
from ..tensor import Tensor
from ..types import Type, wide
from .creation import iota
from .movement import broadcast_to, moveaxis, reshape, transpose


def index_error(name: str, indices: Any, size: int) -> IndexRangeError:
    bad = int(indices[(indices < 0) | (indices >= size)].flat[0])
    return IndexRangeError(f"{name}: index {bad} is out of range for an axis of size {size}.")


def _check(indices: Any, size: int, name: str) -> None:
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        raise index_error(name, indices, size)


def _take(x: Any, indices: Any, axis: int) -> Any:
    _check(np.asarray(indices), x.shape[axis], "take")
    return np.take(x, indices, axis)


def _scatter_add(updates: Any, indices: Any, axis: int, size: int) -> Any:
    indices = np.asarray(indices)
    _check(indices, size, "scatter_add")
    rank = indices.ndim
    shape = (*updates.shape[:axis], size, *updates.shape[axis + rank :])
    out = np.zeros(shape, wide(updates.dtype))
    where = (*(slice(None),) * axis, indices)
    np.add.at(out, where, updates)
    return out.astype(updates.dtype)


class Take(Primitive, name="take"):
    """x[..., indices, ...]: the axes of `indices` (non-negative) replace the indexed one."""

    reference = staticmethod(_take)
    samples = (
        Sample((Arg((4, 3)), Arg((2, 5), 0, 3, "int64")), {"axis": 0}),
        Sample((Arg((2, 4, 3)), Arg((), 0, 3, "int64")), {"axis": 1}),
    )
    vjp = (
        lambda g, y, x, i, axis: bind(ScatterAdd, g, i, axis=axis, size=x.shape[axis]),
        None,
    )

    @staticmethod
    def type(x: Type, indices: Type, *, axis: int) -> Type:
        if not indices.dtype.is_integer:
            raise DTypeError(f"take: indices are {indices}, expected an integer dtype.")
        return Type((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype)

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, *, axis: int) -> Any:
        x, i = args
        if not batched[1]:
            return bind(cls, x, i, axis=axis + 1)
        if not batched[0]:
            return moveaxis(bind(cls, x, i, axis=axis), axis, 0)
        n = x.shape[axis + 1]
        flat = moveaxis(x, axis + 1, 1)
        flat = reshape(flat, (size * n, *flat.shape[2:]))
        out = bind(cls, flat, i + _offsets(size, n, i), axis=0)
        return _spread_indices(out, i.ndim, axis)


class ScatterAdd(Primitive, name="scatter_add"):
    """Zeros of `size` along `axis` to which `updates` are added at `indices`."""

    reference = staticmethod(_scatter_add)
    samples = (
        Sample((Arg((2, 5, 3)), Arg((2, 5), 0, 3, "int64")), {"axis": 0, "size": 4}),
        Sample((Arg((2, 3)), Arg((), 0, 3, "int64")), {"axis": 1, "size": 4}),
    )
    vjp = (lambda g, y, u, i, axis, size: bind(Take, g, i, axis=axis), None)

    @staticmethod
    def type(updates: Type, indices: Type, *, axis: int, size: int) -> Type:
        if not indices.dtype.is_integer:
            raise DTypeError(f"scatter_add: indices are {indices}, expected an integer dtype.")
        rank = indices.ndim
        if updates.shape[axis : axis + rank] != indices.shape:
            raise ShapeError(
                f"scatter_add: updates {updates} must have the shape of the indices {indices} from "
                f"axis {axis} on."
            )
        return Type((*updates.shape[:axis], size, *updates.shape[axis + rank :]), updates.dtype)

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, /, **attrs: Any) -> Any:
        u, i = args
        axis, n = attrs["axis"], attrs["size"]
        if not batched[1]:
            return bind(cls, u, i, axis=axis + 1, size=n)
        if not batched[0]:
            u = broadcast_to(u, (size, *u.shape))
        rank = i.ndim - 1
        # indices' axes (now at axis+1 …) right after the batch axis, then one flat scatter
        order = (
            0,
            *range(axis + 1, axis + 1 + rank),
            *range(1, axis + 1),
            *range(axis + 1 + rank, u.ndim),
        )
        flat = bind(cls, transpose(u, order), i + _offsets(size, n, i), axis=0, size=size * n)
        return moveaxis(reshape(flat, (size, n, *flat.shape[1:])), 1, axis + 1)


def _offsets(size: int, n: int, i: Tensor) -> Tensor:
    """b * n for every row b of a batch of indices."""
    steps = iota(size, i.dtype, i.backend) * n
    return reshape(steps, (size, *(1,) * (i.ndim - 1)))


def _spread_indices(out: Tensor, ndim: int, axis: int) -> Tensor:
    """[N, *indices, *before, *after] -> [N, *before, *indices, *after]."""
    k = ndim - 1
    order = (0, *range(1 + k, 1 + k + axis), *range(1, 1 + k), *range(1 + k + axis, out.ndim))
    return transpose(out, order)
