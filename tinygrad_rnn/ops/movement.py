"""Movement primitives: the same numbers elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..primitive import Arg, Flags, Operands, Primitive, Sample, bind
from ..tensor import Tensor
from ..types import Shape, Type, broadcast_shapes


def _one(size: Shape, /, **attrs: Any) -> Sample:
    return Sample((Arg(size),), attrs)


class Reshape(Primitive, name="reshape"):
    """The same elements in C order under another shape."""

    reference = staticmethod(lambda x, shape: np.reshape(x, shape))
    samples = (_one((3, 4), shape=(2, 6)), _one((), shape=(1, 1)), _one((0, 3), shape=(3, 0)))
    vjp = (lambda g, y, x, shape: reshape(g, x.shape),)

    @staticmethod
    def type(x: Type, *, shape: Shape) -> Type:
        out = Type(shape, x.dtype)
        if out.size != x.size:
            raise ShapeError(
                f"reshape: {x} has {x.size} elements, the shape {shape} holds {out.size}."
            )
        return out

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, *, shape: Shape) -> Any:
        return reshape(args[0], (size, *shape))


class Transpose(Primitive, name="transpose"):
    """Axes in another order: output axis i is input axis perm[i]."""

    reference = staticmethod(lambda x, perm: np.transpose(x, perm))
    samples = (_one((2, 3, 4), perm=(2, 0, 1)), _one((3, 2), perm=(1, 0)), _one((), perm=()))
    vjp = (lambda g, y, x, perm: transpose(g, tuple(int(i) for i in np.argsort(perm))),)

    @staticmethod
    def type(x: Type, *, perm: tuple[int, ...]) -> Type:
        if sorted(perm) != list(range(x.ndim)):
            raise ShapeError(f"transpose: {perm} is not an order of the {x.ndim} axes of {x}.")
        return Type(tuple([x.shape[i] for i in perm]), x.dtype)

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, *, perm: tuple[int, ...]) -> Any:
        return transpose(args[0], (0, *(i + 1 for i in perm)))


class BroadcastTo(Primitive, name="broadcast_to"):
    """Repeat along axes of size 1 and along new leading axes."""

    reference = staticmethod(lambda x, shape: np.broadcast_to(x, shape))
    samples = (_one((3, 1), shape=(2, 3, 4)), _one((), shape=(2,)), _one((1,), shape=(0,)))
    vjp = (lambda g, y, x, shape: sum_to(g, x.shape),)

    @staticmethod
    def type(x: Type, *, shape: Shape) -> Type:
        try:
            fits = broadcast_shapes(x.shape, shape) == shape
        except ShapeError:
            fits = False
        if not fits:
            raise ShapeError(f"broadcast_to: {x} does not broadcast to {shape}.")
        return Type(shape, x.dtype)

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, *, shape: Shape) -> Any:
        (x,) = args
        missing = len(shape) - (x.ndim - 1)
        if missing:
            x = reshape(x, (size, *(1,) * missing, *x.shape[1:]))
        return bind(cls, x, shape=(size, *shape))


class Slice(Primitive, name="slice"):
    """x[start:stop:step] on every axis, steps positive."""

    reference = staticmethod(lambda x, start, stop, step: x[_slices(start, stop, step)])
    samples = (
        _one((4, 5), start=(1, 0), stop=(3, 5), step=(1, 2)),
        _one((7,), start=(2,), stop=(2,), step=(1,)),
        _one((7,), start=(1,), stop=(7,), step=(3,)),
    )
    vjp = (lambda g, y, x, start, stop, step: _unslice(g, x.shape, start, step),)

    @staticmethod
    def type(x: Type, *, start: Shape, stop: Shape, step: Shape) -> Type:
        shape = []
        for n, a, b, s in zip(x.shape, start, stop, step, strict=True):
            if not (0 <= a <= b <= n and s >= 1):
                raise ArgumentError(f"slice: {a}:{b}:{s} is out of range for an axis of {x}.")
            shape.append(-((a - b) // s))
        return Type(tuple(shape), x.dtype)

    @classmethod
    def batch(
        cls, size: int, args: Operands, batched: Flags, *, start: Any, stop: Any, step: Any
    ) -> Any:
        return bind(cls, args[0], start=(0, *start), stop=(size, *stop), step=(1, *step))


def _slices(start: Shape, stop: Shape, step: Shape) -> tuple[slice, ...]:
    return tuple([slice(a, b, s) for a, b, s in zip(start, stop, step)])


def _unslice(g: Tensor, shape: Shape, start: Shape, step: Shape) -> Tensor:
    reach = tuple([a + (m - 1) * s + 1 if m else a for a, m, s in zip(start, g.shape, step)])
    high = tuple([n - r for n, r in zip(shape, reach)])
    out: Tensor = bind(
        Pad, g, low=start, high=high, interior=tuple([s - 1 for s in step]), value=0.0
    )
    return out


class Pad(Primitive, name="pad"):
    """`value` around the array (low, high) and between its elements (interior)."""

    reference = staticmethod(
        lambda x, low, high, interior, value: _pad(x, low, high, interior, value)
    )
    samples = (
        _one((3, 2), low=(1, 0), high=(0, 2), interior=(0, 1), value=0.0),
        _one((0,), low=(2,), high=(1,), interior=(2,), value=1.5),
    )
    vjp = (lambda g, y, x, low, high, interior, value: _unpad(g, x.shape, low, interior),)

    @staticmethod
    def type(x: Type, *, low: Shape, high: Shape, interior: Shape, value: float) -> Type:
        shape = []
        for n, a, b, k in zip(x.shape, low, high, interior, strict=True):
            if min(a, b, k) < 0:
                raise ArgumentError(
                    f"pad: widths must not be negative, got {low}, {high}, {interior}."
                )
            shape.append(a + b + n + max(n - 1, 0) * k)
        return Type(tuple(shape), x.dtype)

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, **attrs: Any) -> Any:
        value = attrs.pop("value")
        return bind(cls, args[0], **{k: (0, *v) for k, v in attrs.items()}, value=value)


def _pad(x: Any, low: Shape, high: Shape, interior: Shape, value: float) -> Any:
    x = np.asarray(x)
    shape = [a + b + n + max(n - 1, 0) * k for n, a, b, k in zip(x.shape, low, high, interior)]
    out = np.full(shape, value, x.dtype)
    if x.size:
        out[_inside(x.shape, low, interior)] = x
    return out


def _inside(shape: Shape, low: Shape, interior: Shape) -> tuple[slice, ...]:
    return tuple(
        [
            slice(a, a + (n - 1) * (k + 1) + 1 if n else a, k + 1)
            for n, a, k in zip(shape, low, interior)
        ]
    )


def _unpad(g: Tensor, shape: Shape, low: Shape, interior: Shape) -> Tensor:
    parts = _inside(shape, low, interior)
    out: Tensor = bind(
        Slice,
        g,
        start=tuple([p.start for p in parts]),
        stop=tuple([p.stop for p in parts]),
        step=tuple([p.step for p in parts]),
    )
    return out


class Concat(Primitive, name="concat"):
    """Operands one after another along an axis."""

    reference = staticmethod(lambda *xs, axis: np.concatenate(xs, axis))
    samples = (
        Sample((Arg((2, 3)), Arg((2, 1)), Arg((2, 0))), {"axis": 1}),
        Sample((Arg((2, 3)), Arg((1, 3))), {"axis": 0}),
    )
    vjp = ()  # see pullback: any number of operands

    @staticmethod
    def type(*xs: Type, axis: int) -> Type:
        first = xs[0]
        for x in xs:
            same = x.ndim == first.ndim and all(
                a == b for i, (a, b) in enumerate(zip(x.shape, first.shape)) if i != axis
            )
            if not same or x.dtype is not first.dtype:
                given = ", ".join(map(str, xs))
                raise ShapeError(
                    f"concat: operands {given} must have one dtype and agree on every axis "
                    f"but {axis}."
                )
        n = sum(x.shape[axis] for x in xs)
        return Type((*first.shape[:axis], n, *first.shape[axis + 1 :]), first.dtype)

    @classmethod
    def pullback(cls, needs: Sequence[bool], g: Any, y: Any, inputs: Any, attrs: Any) -> Any:
        axis, at, out = attrs["axis"], 0, []
        for need, x in zip(needs, inputs):
            n = x.shape[axis]
            out.append(narrow(g, axis, at, at + n) if need else None)
            at += n
        return out

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, *, axis: int) -> Any:
        full = [
            a if b else bind(BroadcastTo, a, shape=(size, *a.shape)) for a, b in zip(args, batched)
        ]
        return bind(cls, *full, axis=axis + 1)


class Flip(Primitive, name="flip"):
    """Reverse the order along some axes."""

    reference = staticmethod(lambda x, axes: np.flip(x, axes))
    samples = (_one((3, 4), axes=(0,)), _one((2, 3), axes=(0, 1)), _one((2, 0), axes=(1,)))
    vjp = (lambda g, y, x, axes: bind(Flip, g, axes=axes),)

    @staticmethod
    def type(x: Type, *, axes: tuple[int, ...]) -> Type:
        return x

    @classmethod
    def batch(cls, size: int, args: Operands, batched: Flags, *, axes: tuple[int, ...]) -> Any:
        return bind(cls, args[0], axes=tuple(a + 1 for a in axes))


# --- the few composites that rules need ----------------------------------------------------------


def reshape(x: Tensor, shape: Shape) -> Tensor:
    out: Tensor = x if x.shape == shape else bind(Reshape, x, shape=shape)
    return out


def transpose(x: Tensor, perm: tuple[int, ...]) -> Tensor:
    out: Tensor = x if perm == tuple(range(x.ndim)) else bind(Transpose, x, perm=perm)
    return out


def broadcast_to(x: Tensor, shape: Shape) -> Tensor:
    out: Tensor = x if x.shape == shape else bind(BroadcastTo, x, shape=shape)
    return out


def moveaxis(x: Tensor, source: int, target: int) -> Tensor:
    """Axis `source` (counted from the front) moved to place `target`."""
    order = [i for i in range(x.ndim) if i != source]
    order.insert(target, source)
    return transpose(x, tuple(order))


def narrow(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """x[..., start:stop, ...] along one axis."""
    if (start, stop) == (0, x.shape[axis]):
        return x
    out: Tensor = bind(
        Slice,
        x,
        start=tuple([start if i == axis else 0 for i in range(x.ndim)]),
        stop=tuple([stop if i == axis else n for i, n in enumerate(x.shape)]),
        step=(1,) * x.ndim,
    )
    return out


def sum_to(x: Tensor, shape: Shape) -> Tensor:
    """Sum over the axes along which `shape` was broadcast: the adjoint of broadcasting."""
    if x.shape == shape:
        return x
    from .reduction import Sum

    lead = x.ndim - len(shape)
    axes = tuple(i for i, n in enumerate(x.shape) if i < lead or (shape[i - lead] == 1 and n != 1))
    return reshape(bind(Sum, x, axes=axes) if axes else x, shape)
