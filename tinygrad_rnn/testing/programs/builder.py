"""What programs are built from: a trace, a pool of values with intervals, and new leaves.

In: choices (Digits). Out: nodes of a graph that are valid by construction: shapes and dtypes fit,
and values lie in the domains of the primitives (guards are inserted where they would not).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ...errors import ShapeError
from ...extend import Type, bind_all, primitives
from ...residuals import NOWHERE
from ...tensor import Tensor, Value, wrap
from ...trace import Tracer
from ...types import DType, as_dtype, broadcast_shapes
from . import bounds
from .bounds import Interval
from .digits import Digits
from .program import Leaf

Shape = tuple[int, ...]
#: Values have no more elements than this.
LARGEST = 400
#: Where floating leaves lie: around zero, and in the domains of assorted functions.
RANGES: tuple[Interval, ...] = ((-2, 2), (-0.8, 0.8), (0.4, 0.8), (1.3, 2.5), (-2.5, -0.4), (-3, 3))


class Known(NamedTuple):
    """A value of the program and the interval that it lies in."""

    x: Tensor
    low: float
    high: float

    @property
    def interval(self) -> Interval:
        return self.low, self.high

    @property
    def kind(self) -> str:
        return self.x.dtype.kind


class Builder:
    """The state of a program while it is built."""

    def __init__(self, tracer: Tracer, floats: Sequence[str], sizes: Sequence[int], rows: bool):
        self.tracer, self.sizes, self.rows = tracer, tuple(sizes), rows
        self.floats = tuple(map(as_dtype, floats))
        self.leaves: list[Leaf] = []
        self.pool: list[Known] = []
        self.depth = 0

    # --- values ------------------------------------------------------------------------------

    def leaf(
        self, dtype: DType, shape: Shape, low: float, high: float, same_as: int | None = None
    ) -> Known:
        """A new input of the whole program, also from inside a loop."""
        if dtype.is_integer:
            limits = np.iinfo(dtype.np)
            low, high = max(low, int(limits.min)), min(high, int(limits.max))
        high = max(low, high)
        t = Type(tuple(shape), dtype)
        self.leaves.append(Leaf(t, low, high, same_as))
        return Known(wrap(Value(t, self.tracer.input(t), NOWHERE)), low, high)

    def bind(self, name: str, operands: Sequence[Known], **attrs: Any) -> Known:
        """Apply a primitive with one output; its result joins the pool."""
        (out,) = bind_all(primitives[name], *[v.x for v in operands], **attrs)
        types = [v.x.type for v in operands]
        low, high = bounds.result(name, types, out.type, [v.interval for v in operands], attrs)
        return self.keep(out, low, high)

    def keep(self, x: Tensor, low: float, high: float) -> Known:
        known = Known(x, low, high)
        self.pool.append(known)
        return known

    def constant(self, value: float, dtype: DType) -> Known:
        value = float(value) if dtype.is_float else int(value)
        (x,) = bind_all(primitives["full"], value=value, shape=(), dtype=dtype)
        return Known(x, value, value)

    @contextmanager
    def scope(self, inside: Sequence[Known]) -> Iterator[None]:
        """A body: its own values, and a few of those around it, which it captures."""
        outer, self.pool = self.pool, [*self.pool[-3:], *inside]
        self.depth += 1
        try:
            yield
        finally:
            self.pool, self.depth = outer, self.depth - 1

    # --- choosing operands ---------------------------------------------------------------------

    def find(self, d: Digits, test: Callable[[Known], bool]) -> Known | None:
        found = [v for v in self.pool if test(v)]
        return d.recent(found) if found else None

    def some(self, d: Digits, kinds: str = "f", rank: int = 0) -> Known:
        """A value of one of the kinds with at least `rank` axes, made if there is none."""
        v = self.find(d, lambda v: v.kind in kinds and v.x.ndim >= rank)
        if v is None:
            v = self.find(d, lambda v: v.kind in kinds)
            v = self.make(d, kinds) if v is None else v
        while v.x.ndim < rank:
            v = self.bind("reshape", [v], shape=(1, *v.x.shape))
        return v

    def shape(self, d: Digits, low: int = 0, high: int = 3) -> Shape:
        rank = low + d.below(high - low + 1)
        return tuple(d.pick(self.sizes) for _ in range(rank))

    def make(self, d: Digits, kinds: str) -> Known:
        """A new value of one of the kinds."""
        kind = kinds[d.below(len(kinds))]
        if kind == "f":
            return self.leaf(d.pick(self.floats), self.shape(d), *d.pick(RANGES))
        if kind == "b":
            if d.chance(3):
                return self.leaf(as_dtype("bool"), self.shape(d), 0, 1)
            a = self.some(d)
            return self.bind("less", [self.constant(0.1234, a.x.dtype), a])
        if kind == "u":
            return self.leaf(as_dtype(d.pick(("uint8", "uint32"))), self.shape(d), 0, 9)
        if d.chance(2):
            a = self.fitted(self.some(d), [(-99, 99)], d)
            return self.bind("cast", [a], dtype=as_dtype(d.pick(("int64", "int32"))))
        return self.leaf(as_dtype(d.pick(("int64", "int32", "int8"))), self.shape(d), -9, 9)

    def partner(self, d: Digits, of: Known, dtype: DType | None = None) -> Known:
        """Another value of the dtype of `of` (or of `dtype`) that broadcasts against it."""
        dtype = dtype or of.x.dtype
        same = [v for v in self.pool if v.x.dtype is dtype]
        fits = [v for v in same if self.broadcasts(v.x.shape, of.x.shape)]
        if fits:
            return d.recent(fits)
        if not same:
            if dtype.is_float:
                return self.leaf(dtype, of.x.shape, *d.pick(RANGES))
            if dtype.is_bool:
                return self.leaf(dtype, of.x.shape, 0, 1)
            return self.leaf(dtype, of.x.shape, 0, 9)
        return self.cut_down(d.recent(same), of.x.shape)

    def broadcasts(self, a: Shape, b: Shape) -> bool:
        try:
            out = broadcast_shapes(a, b)
        except ShapeError:
            return False
        return _count(out) <= LARGEST

    def cut_down(self, v: Known, shape: Shape) -> Known:
        """`v` with every axis that does not broadcast against `shape` cut down to one element."""
        n = v.x.ndim
        stop = list(v.x.shape)
        for k in range(1, n + 1):
            other = shape[-k] if k <= len(shape) else 1
            if stop[-k] != 1 and (k > len(shape) or other not in (1, stop[-k])):
                stop[-k] = 1
        if any(a == 0 and b == 1 for a, b in zip(v.x.shape, stop)):
            return self.leaf(v.x.dtype, (), max(v.low, -9), min(v.high, 9))
        if tuple(stop) == v.x.shape:
            return v
        return self.bind("slice", [v], start=(0,) * n, stop=tuple(stop), step=(1,) * n)

    # --- domains -------------------------------------------------------------------------------

    def fit(self, v: Known, name: str, slot: int, d: Digits) -> Known:
        """`v`, or a function of it, in the domain of operand `slot` of a primitive."""
        if v.kind == "b":
            return v
        return self.fitted(v, bounds.domain(name, slot, v.kind != "f"), d)

    def fitted(self, v: Known, allowed: Sequence[Interval], d: Digits) -> Known:
        if bounds.inside(v.interval, allowed):
            return v
        low, high = d.pick(allowed)
        if v.kind != "f":
            return self._fitted_integer(v, low, high)
        x = v
        if not bounds.inside(v.interval, [(-1e6, 1e6)]):
            x = self.bind("tanh", [v])
        if bounds.inside((-1, 1), [(low, high)]) and d.chance(2):
            return x if x is not v else self.bind(d.pick(("tanh", "sin", "cos")), [v])
        # an affine map of [x.low, x.high] into the middle of [low, high]
        wide = max(x.high - x.low, 1e-3)
        scale = min(1.0, 0.9 * (high - low) / wide)
        shift = (low + high) / 2 - scale * (x.low + x.high) / 2
        dtype = x.x.dtype
        out = self.bind("mul", [x, self.constant(round(scale, 6), dtype)])
        if not bounds.inside(out.interval, [(low, high)]):
            out = self.bind("add", [out, self.constant(round(shift, 6), dtype)])
        return out

    def _fitted_integer(self, v: Known, low: float, high: float) -> Known:
        dtype = v.x.dtype
        first, last = max(0, int(low)), int(min(high, 100))
        out = self.bind("mod", [v, self.constant(last - first + 1, dtype)])
        if first:
            out = self.bind("add", [out, self.constant(first, dtype)])
        return out


def _count(shape: Shape) -> int:
    n = 1
    for k in shape:
        n *= k
    return n
