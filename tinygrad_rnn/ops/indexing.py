"""Indexing: NumPy's basic and integer indexing over slice, take and scatter_add.

Integer tensors and arrays index axes next to each other; boolean masks are turned into integers
first, which needs their values (so not inside jit or scan).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from ..primitive import apart, bind, operands
from ..tensor import Tensor, from_host
from ..trace import state
from ..types import broadcast_shapes, int64, normalize_axis
from . import movement as m
from .comparisons import bitwise_and, equal, less, less_equal
from .creation import iota, ones_like
from .functions import as_tensor, astype, where
from .gathering import ScatterAdd, Take
from .reduction import Sum
from .reductions import cumsum
from .sorting import how_many, nonzero


def wrap_negative(i: Tensor, n: int) -> Tensor:
    """Negative indices counted from the end."""
    if i.dtype.kind == "u":
        return i
    return where(i < 0, i + n, i)


def _indices(name: str, indices: Any, x: Tensor) -> Tensor:
    i = indices if isinstance(indices, Tensor) else from_host(np.asarray(indices), x.backend)
    if not isinstance(indices, Tensor) and np.size(indices) == 0 and not i.dtype.is_integer:
        i = astype(i, int64)
    return wide(name, i)


def wide(name: str, i: Tensor) -> Tensor:
    """Indices in 64 bits: what is added to small ones (sizes, offsets of rows) may not fit them."""
    if not i.dtype.is_integer:
        raise DTypeError(f"{name}: indices are {i.type}, expected integers.")
    return i if i.dtype.itemsize == 8 else astype(i, int64)


def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """x[..., indices, ...] along one axis; the gradient adds up where an index is repeated.

    >>> from tinygrad_rnn import tensor
    >>> take(tensor([10.0, 20.0, 30.0]), [2, 0, -1]).tolist()
    [30.0, 10.0, 30.0]
    """
    t = as_tensor("take", x)
    if axis is None:
        t, axis = m.reshape(t, (t.size,)), 0
    a = normalize_axis(axis, t.ndim, "take")
    i = wrap_negative(_indices("take", indices, t), t.shape[a])
    return bind(Take, t, i, axis=a)


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Tensor:
    """Every element repeated along an axis (of the flattened tensor if None): each as often, or
    each as often as its entry of a vector says (whose values decide the shape: not inside jit).

    >>> from tinygrad_rnn import tensor
    >>> repeat(tensor([1, 2]), 2).tolist(), repeat(tensor([1, 2]), tensor([0, 3])).tolist()
    ([1, 1, 2, 2], [2, 2, 2])
    """
    t = as_tensor("repeat", x)
    if axis is None:
        t, axis = m.reshape(t, (t.size,)), 0
    a = normalize_axis(axis, t.ndim, "repeat")
    n = t.shape[a]
    if not isinstance(repeats, int):
        times = _indices("repeat", repeats, t)
        if times.ndim > 1 or times.size not in (1, n):
            raise ShapeError(f"repeat: {times.type} repeats for {n} elements of {t.type}.")
        if times.size != 1:
            return _repeat_each(t, astype(times, int64), a)
        repeats = how_many("repeat", times)
    if repeats < 0:
        raise ArgumentError(f"repeat: repeats must not be negative, got {repeats}.")
    spaced = m.reshape(t, (*t.shape[: a + 1], 1, *t.shape[a + 1 :]))
    wide = m.broadcast_to(spaced, (*t.shape[: a + 1], repeats, *t.shape[a + 1 :]))
    return apart(m.reshape(wide, (*t.shape[:a], n * repeats, *t.shape[a + 1 :])), x)


def _repeat_each(t: Tensor, times: Tensor, axis: int) -> Tensor:
    """Element i of the axis times[i] times: the result starts a new element where a run ends."""
    if how_many("repeat", bind(Sum, astype(less(times, 0), int64), axes=(0,))):
        raise ArgumentError("repeat: repeats must not be negative.")
    ends = cumsum(times)
    total = how_many("repeat", bind(Sum, times, axes=(0,)))
    inside = bind(ScatterAdd, ones_like(ends), ends, axis=0, size=total + 1)
    return bind(Take, t, m.narrow(cumsum(inside), 0, 0, total), axis=axis)


def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Tensor:
    """x[i0, …, indices[i0, …, k, …], …]: one index per element along `axis`; other axes broadcast.

    >>> from tinygrad_rnn import tensor
    >>> take_along_axis(tensor([[1.0, 2.0], [3.0, 4.0]]), tensor([[1], [0]]), 1).tolist()
    [[2.0], [3.0]]
    """
    t = as_tensor("take_along_axis", x)
    a = normalize_axis(axis, t.ndim, "take_along_axis")
    i = _indices("take_along_axis", indices, t)
    if i.ndim != t.ndim:
        raise ShapeError(f"take_along_axis: {t.type} and indices {i.type} must have the same rank.")
    rest = broadcast_shapes((*t.shape[:a], *t.shape[a + 1 :]), (*i.shape[:a], *i.shape[a + 1 :]))
    n, k = t.shape[a], i.shape[a]
    rows = math.prod(rest)
    _check_range(i, n)  # the flat index could hide it
    flat = m.reshape(m.broadcast_to(m.moveaxis(t, a, t.ndim - 1), (*rest, n)), (rows * n,))
    last = m.broadcast_to(m.moveaxis(wrap_negative(i, n), a, t.ndim - 1), (*rest, k))
    start = m.reshape(iota(rows, i.dtype, i.backend) * n, (*rest, 1))
    index = last + start
    if state.tracer is not None:  # values are not known now: what is out of range stays so
        index = where(_within(last, n), index, rows * n)
    return m.moveaxis(bind(Take, flat, index, axis=0), t.ndim - 1, a)


def scatter_add(size: int, indices: Any, updates: Any, axis: int = 0) -> Tensor:
    """Zeros of `size` along `axis` to which `updates` are added at `indices`; duplicates add up.

    >>> from tinygrad_rnn import tensor
    >>> scatter_add(3, tensor([0, 2, 0]), tensor([1.0, 2.0, 4.0])).tolist()
    [5.0, 0.0, 2.0]
    """
    u = as_tensor("scatter_add", updates)
    i = _indices("scatter_add", indices, u)
    a = normalize_axis(axis, u.ndim - i.ndim + 1, "scatter_add")
    return bind(ScatterAdd, u, wrap_negative(i, size), axis=a, size=int(size))


def one_hot(indices: Any, n: int, dtype: Any = None) -> Tensor:
    """1 at the index, 0 elsewhere, along a new last axis of size n.

    >>> one_hot([0, 2], 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    given = indices if isinstance(indices, Tensor) else from_host(np.asarray(indices))
    i = wide("one_hot", given)
    hit = equal(m.reshape(i, (*i.shape, 1)), iota(int(n), i.dtype, i.backend))
    return astype(hit, dtype if dtype is not None else float)


def _within(i: Tensor, n: int) -> Tensor:
    return bitwise_and(less_equal(0, i), less(i, n))


def _check_range(i: Tensor, n: int) -> None:
    if state.tracer is not None:
        return
    host = i.detach().numpy()
    if host.size and (host.min() < -n or host.max() >= n):
        raise IndexRangeError(
            f"indices {i.type} reach from {host.min()} to {host.max()}, the axis has size {n}."
        )


# --- x[index] ------------------------------------------------------------------------------------


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index] as in NumPy: integers, slices, None, `...`, integer tensors, boolean masks."""
    plan = _Plan(x, index)
    out = plan.basic(x)
    return plan.gather(out) if plan.arrays else apart(out, x)


def setitem(x: Tensor, index: Any, new: Any) -> None:
    """x[index] = new: points `x` to a new tensor (a recorded value never changes)."""
    if _chooses_one_value(x, index, new):
        mask = m.reshape(index, (*index.shape, *(1,) * (x.ndim - index.ndim)))
        x._rebind(where(mask, astype(operands("setitem", x, new)[1], x.dtype), x))
        return
    plan = _Plan(x, index)
    places = m.reshape(iota(x.size, int64, x.backend), x.shape)
    picked = getitem(places, index)
    value = astype(new if isinstance(new, Tensor) else operands("setitem", new, x)[0], x.dtype)
    try:
        value = m.broadcast_to(value, picked.shape)
    except ShapeError:
        if value.size != picked.size or value.ndim <= picked.ndim:
            raise ShapeError(
                f"cannot put {value.type} into {picked.type.with_dtype(x.dtype)}."
            ) from None
        value = m.reshape(value, picked.shape)
    ones = ones_like(picked)
    if plan.arrays and state.tracer is not None:
        last = plan.last()
        value, ones = where(last, value, 0), astype(m.broadcast_to(last, picked.shape), int64)
    elif plan.arrays:
        picked, value = _last_wins(picked, value)
        ones = ones_like(picked)
    flat, n = m.reshape(picked, (picked.size,)), (picked.size,)
    put = bind(ScatterAdd, m.reshape(value, n), flat, axis=0, size=x.size)
    hit = bind(ScatterAdd, m.reshape(ones, n), flat, axis=0, size=x.size)
    x._rebind(where(m.reshape(hit, x.shape) > 0, m.reshape(put, x.shape), x))


def _chooses_one_value(x: Tensor, index: Any, new: Any) -> bool:
    """x[mask] = number: needs no values of the mask, so it works while recording too."""
    return (
        isinstance(index, Tensor)
        and index.dtype.is_bool
        and index.shape == x.shape[: index.ndim]
        and getattr(new, "shape", ()) == ()
        and not isinstance(new, list | tuple)
    )


def _last_wins(picked: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Of repeated indices keep the last, as NumPy does; needs the indices' values."""
    host = picked.detach().numpy().reshape(-1)
    _, first = np.unique(host[::-1], return_index=True)
    keep = np.sort(host.size - 1 - first)
    if keep.size == host.size:
        return picked, value
    flat = m.reshape(value, (value.size,))
    return from_host(host[keep], picked.backend), take(flat, from_host(keep, value.backend), 0)


class _MaskAxis(NamedTuple):
    """One axis of a boolean mask: the indices it chooses, and the size it was made for.

    A single boolean is a mask over a new axis of size 1, marked by the size None.
    """

    indices: Tensor
    size: int | None


def _is_new(item: Any) -> bool:
    return isinstance(item, _MaskAxis) and item.size is None


class _Plan:
    """An index taken apart: basic slicing per axis, new axes, and index arrays."""

    def __init__(self, x: Tensor, index: Any):
        items = list(index) if isinstance(index, tuple) else [index]
        items = [i for item in items for i in self._masks(x, item)]
        used = sum(1 for i in items if not (i is None or i is Ellipsis or _is_new(i)))
        dots = [k for k, i in enumerate(items) if i is Ellipsis]
        if len(dots) > 1:
            raise IndexRangeError("an index can have only one '...'.")
        if dots:
            items[dots[0] : dots[0] + 1] = [slice(None)] * max(0, x.ndim - used)
        else:
            items += [slice(None)] * (x.ndim - used)
        if used > x.ndim:
            raise IndexRangeError(f"too many indices ({used}) for a tensor {x.type}.")
        self.start: list[int] = []
        self.stop: list[int] = []
        self.step: list[int] = []
        self.flips: list[int] = []
        self.shape: list[int | None] = []  # sizes after basic indexing; None: dropped
        self.arrays: list[tuple[int, Tensor]] = []  # (place in the result of `basic`, indices)
        axis = place = 0
        out_shape: list[int] = []
        for i in items:
            if i is None or _is_new(i):
                if i is not None:
                    self.arrays.append((place, i.indices))
                out_shape.append(1)
                place += 1
                continue
            n = x.shape[axis]
            if isinstance(i, slice):
                size = self._slice(i, n, axis)
                out_shape.append(size)
                place += 1
            elif isinstance(i, Tensor | _MaskAxis):
                if isinstance(i, _MaskAxis) and i.size not in (n, 0):
                    raise IndexRangeError(
                        f"a boolean mask has {i.size} elements where axis {axis} of {x.type} "
                        f"has {n}."
                    )
                self._range(0, n, 1)
                self.arrays.append((place, i.indices if isinstance(i, _MaskAxis) else i))
                out_shape.append(n)
                place += 1
            else:
                k = self._integer(i, n, axis, x)
                self._range(k, k + 1, 1)
            axis += 1
        self.out_shape = tuple(out_shape)
        self._check_neighbours()

    def _range(self, a: int, b: int, s: int) -> None:
        self.start.append(a)
        self.stop.append(b)
        self.step.append(s)

    @staticmethod
    def _integer(i: Any, n: int, axis: int, x: Tensor) -> int:
        try:
            k = i.__index__()
        except AttributeError:
            raise DTypeError(
                f"a tensor cannot be indexed with {type(i).__name__}; expected integers, slices, "
                "None, '...', integer tensors or boolean masks."
            ) from None
        if not -n <= k < n:
            raise IndexRangeError(f"index {k} is out of range for axis {axis} of {x.type}.")
        return int(k % n)

    def _slice(self, s: slice, n: int, axis: int) -> int:
        a, b, step = s.indices(n)
        count = len(range(a, b, step))
        if count == 0:
            self._range(0, 0, 1)
        elif step > 0:
            self._range(a, a + (count - 1) * step + 1, step)
        else:
            self.flips.append(axis)
            last = a + (count - 1) * step
            self._range(last, a + 1, -step)
        return count

    def _masks(self, x: Tensor, item: Any) -> list[Any]:
        """Index arrays as tensors; a boolean mask as one integer array per axis that it covers."""
        if isinstance(item, list | np.ndarray) or isinstance(item, Tensor):
            t = item if isinstance(item, Tensor) else from_host(np.asarray(item), x.backend)
            if isinstance(item, list) and t.size == 0:
                t = astype(t, int64)
            if t.dtype.is_bool and not t.ndim:
                return [_MaskAxis(nonzero(m.reshape(t, (1,)))[0], None)]
            if t.dtype.is_bool:
                return [_MaskAxis(k, n) for k, n in zip(nonzero(t), t.shape)]
            if not t.dtype.is_integer:
                raise DTypeError(
                    f"a tensor cannot be indexed with {t.type}; expected integers or booleans."
                )
            return [t]
        if isinstance(item, bool | np.bool_):
            return [_MaskAxis(from_host(np.arange(int(item)), x.backend), None)]
        return [item]

    def _check_neighbours(self) -> None:
        places = [p for p, _ in self.arrays]
        if places and places != list(range(places[0], places[0] + len(places))):
            raise ArgumentError(
                "index arrays must stand next to each other (x[i, j, :], not x[i, :, j]); "
                "bring the axes together with moveaxis first."
            )

    def basic(self, x: Tensor) -> Tensor:
        full = tuple(zip(self.start, self.stop, self.step)) != tuple((0, n, 1) for n in x.shape)
        out = (
            bind(m.Slice, x, start=tuple(self.start), stop=tuple(self.stop), step=tuple(self.step))
            if full
            else x
        )
        if self.flips:
            out = bind(m.Flip, out, axes=tuple(self.flips))
        return m.reshape(out, self.out_shape)

    def joined(self, sizes: list[int]) -> Tensor:
        """The index arrays as one index into their axes taken together."""
        index: Tensor | None = None
        inside: Tensor | None = None
        for (_, i), n in zip(self.arrays, sizes):
            if len(sizes) > 1:
                _check_range(i, n)  # the joined index could hide it
            here = wrap_negative(astype(i, int64), n)
            index = here if index is None else index * n + here
            if len(sizes) > 1 and state.tracer is not None:
                good = _within(here, n)
                inside = good if inside is None else bitwise_and(inside, good)
        assert index is not None
        # values are not known now: an index that is out of range stays so when joined
        return index if inside is None else where(inside, index, math.prod(sizes))

    def sizes(self) -> list[int]:
        axis = self.arrays[0][0]
        return list(self.out_shape[axis : axis + len(self.arrays)])

    def last(self) -> Tensor:
        """Whether no later index is the same, aligned with x[index]: the last one wins."""
        index = self.joined(self.sizes())
        flat = m.reshape(index, (index.size, 1))
        order = iota(index.size, int64, index.backend)
        again = bitwise_and(
            equal(flat, m.reshape(index, (1, index.size))),
            less(m.reshape(order, flat.shape), order),
        )
        last = equal(bind(Sum, astype(again, int64), axes=(1,)), 0)
        after = len(self.out_shape) - self.arrays[0][0] - len(self.arrays)
        return m.reshape(last, (*index.shape, *(1,) * after))

    def gather(self, x: Tensor) -> Tensor:
        axis, sizes = self.arrays[0][0], self.sizes()
        index = self.joined(sizes)
        flat = m.reshape(x, (*x.shape[:axis], math.prod(sizes), *x.shape[axis + len(sizes) :]))
        return bind(Take, flat, index, axis=axis)
