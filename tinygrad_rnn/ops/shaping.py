"""Functions that move elements: NumPy's names and meanings, on the movement primitives."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, DTypeError, ShapeError
from ..primitive import apart, bind, operands
from ..tensor import Tensor
from ..types import Shape, as_shape, broadcast_shapes, int64, normalize_axes, normalize_axis
from . import movement as m
from .creation import iota
from .elementwise import zero_like
from .functions import as_tensor, where


def reshape(x: Any, shape: Any, copy: bool | None = None) -> Tensor:
    """The same elements under another shape; one -1 is worked out. Nothing is ever copied by what
    you can see: assigning to the result leaves `x` as it is, whatever `copy`.

    >>> from tinygrad_rnn import arange
    >>> reshape(arange(6), (2, -1)).shape
    (2, 3)
    """
    t = as_tensor("reshape", x)
    given = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    if -1 not in given:
        return apart(m.reshape(t, as_shape(given, "reshape")), x)
    rest = as_shape([n for n in given if n != -1], "reshape")
    known = math.prod(rest)
    if len(rest) != len(given) - 1 or known == 0 or t.size % known:
        raise ShapeError(f"reshape: {t.type} with {t.size} elements cannot take the shape {given}.")
    return apart(m.reshape(t, tuple([t.size // known if n == -1 else int(n) for n in given])), x)


def permute_dims(x: Any, axes: Sequence[int]) -> Tensor:
    """Axes in another order: axis i of the result is axis axes[i] of x."""
    t = as_tensor("permute_dims", x)
    return apart(m.transpose(t, tuple(normalize_axis(a, t.ndim, "permute_dims") for a in axes)), x)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """`permute_dims`; without axes all are reversed."""
    t = as_tensor("transpose", x)
    return permute_dims(t, tuple(range(t.ndim))[::-1] if axes is None else axes)


def matrix_transpose(x: Any) -> Tensor:
    """The last two axes exchanged."""
    return swapaxes(x, -1, -2)


def swapaxes(x: Any, a: int, b: int) -> Tensor:
    """Two axes exchanged.

    >>> from tinygrad_rnn import zeros
    >>> swapaxes(zeros((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    t = as_tensor("swapaxes", x)
    order = list(range(t.ndim))
    i, j = normalize_axis(a, t.ndim, "swapaxes"), normalize_axis(b, t.ndim, "swapaxes")
    order[i], order[j] = order[j], order[i]
    return apart(m.transpose(t, tuple(order)), x)


def moveaxis(x: Any, source: Any, destination: Any) -> Tensor:
    """Axes (one, or several as a tuple) moved to other places; the others keep their order.

    >>> from tinygrad_rnn import zeros
    >>> moveaxis(zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    t = as_tensor("moveaxis", x)
    old, new = (_axes(a, t.ndim, "moveaxis") for a in (source, destination))
    if len(old) != len(new):
        raise ArgumentError(f"moveaxis: {len(old)} axes cannot move to {len(new)} places.")
    order = [a for a in range(t.ndim) if a not in old]
    for place, axis in sorted(zip(new, old)):
        order.insert(place, axis)
    return apart(m.transpose(t, tuple(order)), x)


def _axes(axes: Any, ndim: int, what: str) -> list[int]:
    """One axis or several, from the front, in the order given."""
    given = axes if isinstance(axes, tuple | list) else (axes,)
    normalize_axes(axes, ndim, what)  # each once
    return [normalize_axis(a, ndim, what) for a in given]


def broadcast_to(x: Any, shape: Any) -> Tensor:
    """Repeated along axes of size 1 and new leading axes.

    >>> from tinygrad_rnn import tensor
    >>> broadcast_to(tensor([1, 2]), (2, 2)).tolist()
    [[1, 2], [1, 2]]
    """
    t = as_tensor("broadcast_to", x)
    return apart(m.broadcast_to(t, as_shape(shape, "broadcast_to")), x)


def broadcast_arrays(*arrays: Any) -> list[Tensor]:
    """All tensors with the shape to which they broadcast together.

    >>> from tinygrad_rnn import zeros
    >>> [t.shape for t in broadcast_arrays(zeros((2, 1)), zeros(3))]
    [(2, 3), (2, 3)]
    """
    ts = [as_tensor("broadcast_arrays", x) for x in arrays]
    shape = broadcast_shapes(*[t.shape for t in ts]) if ts else ()
    return [broadcast_to(t, shape) for t in ts]


def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Tensor]:
    """The coordinates of a grid: vector i varies along axis i (the first two axes are exchanged for
    "xy").

    >>> from tinygrad_rnn import arange
    >>> [g.shape for g in meshgrid(arange(2), arange(3), indexing="ij")]
    [(2, 3), (2, 3)]
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f"meshgrid: indexing must be 'xy' or 'ij', got {indexing!r}.")
    ts = [as_tensor("meshgrid", x) for x in arrays]
    if builtins.any(t.ndim > 1 for t in ts):
        given = ", ".join(str(t.type) for t in ts)
        raise ShapeError(f"meshgrid: expected vectors, got {given}.")
    n = len(ts)
    places = list(range(n))
    if indexing == "xy" and n > 1:
        places[:2] = 1, 0
    return broadcast_arrays(
        *[m.reshape(t, tuple([t.size if k == p else 1 for k in range(n)]))
          for t, p in zip(ts, places)]
    )  # fmt: skip


def expand_dims(x: Any, axis: Any = 0) -> Tensor:
    """New axes of size 1 at the given places of the result.

    >>> from tinygrad_rnn import tensor
    >>> expand_dims(tensor([1, 2]), 0).shape
    (1, 2)
    """
    t = as_tensor("expand_dims", x)
    count = len(axis) if isinstance(axis, tuple | list) else 1
    axes = normalize_axes(axis, t.ndim + count, "expand_dims")
    it = iter(t.shape)
    return m.reshape(t, tuple([1 if i in axes else next(it) for i in range(t.ndim + count)]))


def squeeze(x: Any, axis: Any = None) -> Tensor:
    """Without the axes of size 1 (or without the given ones, which must have size 1).

    >>> from tinygrad_rnn import tensor
    >>> squeeze(tensor([[[1], [2]]])).shape
    (2,)
    """
    t = as_tensor("squeeze", x)
    if axis is None:
        return apart(m.reshape(t, tuple([n for n in t.shape if n != 1])), x)
    axes = normalize_axes(axis, t.ndim, "squeeze")
    if builtins.any(t.shape[a] != 1 for a in axes):
        raise ShapeError(f"squeeze: axis {axis} of {t.type} does not have size 1.")
    return apart(m.reshape(t, tuple([n for i, n in enumerate(t.shape) if i not in axes])), x)


def flatten(x: Any, start: int = 0, end: int = -1) -> Tensor:
    """Axes start to end joined to one.

    >>> from tinygrad_rnn import tensor
    >>> flatten(tensor([[1, 2], [3, 4]])).tolist()
    [1, 2, 3, 4]
    """
    t = as_tensor("flatten", x)
    if not t.ndim:
        return m.reshape(t, (1,))
    a, b = normalize_axis(start, t.ndim, "flatten"), normalize_axis(end, t.ndim, "flatten")
    shape = (*t.shape[:a], math.prod(t.shape[a : b + 1]), *t.shape[b + 1 :])
    return apart(m.reshape(t, shape), x)


def flip(x: Any, axis: Any = None) -> Tensor:
    """The order along axes (all by default) reversed.

    >>> from tinygrad_rnn import tensor
    >>> flip(tensor([1, 2, 3])).tolist()
    [3, 2, 1]
    """
    t = as_tensor("flip", x)
    axes = normalize_axes(axis, t.ndim, "flip")
    return bind(m.Flip, t, axes=axes) if axes else apart(t, x)


def _several(name: str, xs: Any) -> list[Tensor]:
    if isinstance(xs, Tensor) or not isinstance(xs, Sequence):
        raise DTypeError(f"{name} takes a list of tensors, got {type(xs).__name__}.")
    if not xs:
        raise ArgumentError(f"{name} of an empty list.")
    return operands(name, *xs)


def concat(xs: Any, axis: int | None = 0) -> Tensor:
    """Tensors one after another along an axis (flattened first if axis is None).

    >>> from tinygrad_rnn import tensor
    >>> concat([tensor([1.0]), tensor([2.0, 3.0])]).tolist()
    [1.0, 2.0, 3.0]
    """
    ts = _several("concat", xs)
    if axis is None:
        ts, axis = [flatten(t) for t in ts], 0
    if not ts[0].ndim:
        raise ShapeError("concat of 0-d tensors; use stack.")
    a = normalize_axis(axis, ts[0].ndim, "concat")
    return bind(m.Concat, *ts, axis=a) if len(ts) > 1 else apart(ts[0], xs[0])


def stack(xs: Any, axis: int = 0) -> Tensor:
    """Tensors of one shape along a new axis.

    >>> from tinygrad_rnn import tensor
    >>> stack([tensor([1, 2]), tensor([3, 4])], axis=1).tolist()
    [[1, 3], [2, 4]]
    """
    ts = _several("stack", xs)
    shapes = {t.shape for t in ts}
    if len(shapes) > 1:
        raise ShapeError(f"stack: shapes differ: {', '.join(str(t.type) for t in ts)}.")
    a = normalize_axis(axis, ts[0].ndim + 1, "stack")
    return concat([expand_dims(t, a) for t in ts], a)


def unstack(x: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis.

    >>> from tinygrad_rnn import tensor
    >>> [t.tolist() for t in unstack(tensor([[1, 2], [3, 4]]))]
    [[1, 2], [3, 4]]
    """
    t = as_tensor("unstack", x)
    a = normalize_axis(axis, t.ndim, "unstack")
    rest = (*t.shape[:a], *t.shape[a + 1 :])
    return tuple(m.reshape(m.narrow(t, a, i, i + 1), rest) for i in range(t.shape[a]))


def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """Equal parts (an integer: how many) or parts of the given sizes along an axis.

    >>> from tinygrad_rnn import arange
    >>> [part.tolist() for part in split(arange(5), [2, 3])]
    [[0, 1], [2, 3, 4]]
    """
    t = as_tensor("split", x)
    a = normalize_axis(axis, t.ndim, "split")
    n = t.shape[a]
    if isinstance(sections, int):
        if sections < 1 or n % sections:
            raise ShapeError(
                f"split: axis {axis} of {t.type} does not divide into {sections} equal parts."
            )
        sizes: Sequence[int] = [n // sections] * sections
    else:
        sizes = as_shape(list(sections), "split")
    if builtins.sum(sizes) != n:
        raise ShapeError(
            f"split: sizes {list(sizes)} do not add up to {n}, axis {axis} of {t.type}."
        )
    parts, at = [], 0
    for size in sizes:
        parts.append(apart(m.narrow(t, a, at, at + size), x))
        at += size
    return tuple(parts)


def chunk(x: Any, n: int, axis: int = 0) -> tuple[Tensor, ...]:
    """`n` equal parts along an axis.

    >>> from tinygrad_rnn import tensor
    >>> [t.tolist() for t in chunk(tensor([1, 2, 3, 4]), 2)]
    [[1, 2], [3, 4]]
    """
    return split(x, n, axis)


def pad(x: Any, widths: Any, value: float = 0) -> Tensor:
    """`value` around the tensor; widths: one number, one pair, or a pair (before, after) per axis.

    >>> from tinygrad_rnn import tensor
    >>> pad(tensor([1.0, 2.0]), (1, 0)).tolist()
    [0.0, 1.0, 2.0]
    """
    t = as_tensor("pad", x)
    if isinstance(widths, int):
        widths = [(widths, widths)] * t.ndim
    elif widths and isinstance(widths[0], int):
        widths = [tuple(widths)] * t.ndim
    if len(widths) != t.ndim:
        raise ShapeError(f"pad: {len(widths)} pairs of widths for {t.type}.")
    low, high = (as_shape([int(w[i]) for w in widths], "pad") for i in (0, 1))
    number = float(value) if t.dtype.is_float else value
    return bind(m.Pad, t, low=low, high=high, interior=(0,) * t.ndim, value=number)


def roll(x: Any, shift: Any, axis: Any = None) -> Tensor:
    """Elements moved along an axis, from the end back to the start; along several, each by its own
    shift; through the flattened tensor if `axis` is None.

    >>> from tinygrad_rnn import tensor
    >>> roll(tensor([1, 2, 3]), 1).tolist()
    [3, 1, 2]
    """
    t = as_tensor("roll", x)
    if axis is None:
        return m.reshape(roll(flatten(t), shift, 0), t.shape)
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    shifts = shift if isinstance(shift, tuple | list) else (shift,) * len(axes)
    if len(shifts) != len(axes):
        raise ArgumentError(f"roll: {len(shifts)} shifts for {len(axes)} axes.")
    out = t
    for given, by in zip(axes, shifts):
        a = normalize_axis(given, t.ndim, "roll")
        n = t.shape[a]
        k = int(by) % n if n else 0
        if k:
            out = concat([m.narrow(out, a, n - k, n), m.narrow(out, a, 0, n - k)], a)
    return apart(out, x)


def tile(x: Any, repetitions: Any) -> Tensor:
    """The whole tensor repeated along each axis.

    >>> from tinygrad_rnn import tensor
    >>> tile(tensor([1, 2]), 2).tolist()
    [1, 2, 1, 2]
    """
    t = as_tensor("tile", x)
    reps = as_shape(repetitions, "tile")
    reps = (1,) * (t.ndim - len(reps)) + reps
    shape: Shape = (1,) * (len(reps) - t.ndim) + t.shape
    spaced = m.reshape(t, tuple([k for n in shape for k in (1, n)]))
    wide = m.broadcast_to(spaced, tuple([k for r, n in zip(reps, shape) for k in (r, n)]))
    return apart(m.reshape(wide, tuple([r * n for r, n in zip(reps, shape)])), x)


def tril(x: Any, k: int = 0) -> Tensor:
    """The lower triangle of matrices [..., m, n]: zeros above the k-th diagonal.

    >>> from tinygrad_rnn import ones
    >>> tril(ones((2, 3))).tolist()
    [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    """
    return _triangle("tril", x, k, lower=True)


def triu(x: Any, k: int = 0) -> Tensor:
    """The upper triangle of matrices [..., m, n]: zeros below the k-th diagonal."""
    return _triangle("triu", x, k, lower=False)


def _triangle(name: str, x: Any, k: int, lower: bool) -> Tensor:
    t = as_tensor(name, x)
    if t.ndim < 2:
        raise ShapeError(f"{name} of {t.type}: expected matrices [..., m, n].")
    rows, columns = t.shape[-2:]
    border = builtins.max(-rows, builtins.min(k, columns))  # farther away is no different
    row = m.reshape(iota(rows, int64, t.backend), (rows, 1))
    diagonal = iota(columns, int64, t.backend) - row
    return where(diagonal <= border if lower else diagonal >= border, t, zero_like(t))
