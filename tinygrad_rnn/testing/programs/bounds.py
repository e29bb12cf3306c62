"""Intervals: where the values of a program can lie, and what each primitive accepts.

In: a primitive, intervals of its operands. Out: the interval of its result. Elementwise primitives
are evaluated on a grid, so that new ones need nothing here; domains are what the samples say.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...extend import DType, Elementwise, Type, primitives

Interval = tuple[float, float]
#: Values beyond this are brought back before anything else is done to them.
LIMIT = 20.0
WIDE = (-LIMIT, LIMIT)
#: Integers: large ones, of which two can be multiplied; divisors, exponents and shifts are smaller.
WHOLE = (-(2.0**33), 2.0**33)
WHOLE_DOMAINS: dict[tuple[str, int], Interval] = {
    ("mod", 1): (1, 100), ("floordiv", 1): (1, 100), ("pow", 0): (-50, 50), ("pow", 1): (0, 3),
    ("shift_left", 1): (0, 7), ("shift_right", 1): (0, 7),
}  # fmt: skip
BITWISE = frozenset({"and", "or", "xor", "invert", "shift_left", "shift_right"})
#: What a default range in a declaration stands for.
DEFAULT = (-2.0, 2.0)
STEEP = frozenset({"exp", "expm1", "sinh", "cosh"})
#: Operands whose samples only keep away from kinks and jumps: any value will do.
KINKED = frozenset({
    ("abs", 0), ("sign", 0), ("floor", 0), ("ceil", 0), ("round", 0), ("maximum", 0),
    ("maximum", 1), ("minimum", 0), ("minimum", 1), ("mod", 0), ("tanh", 0), ("sigmoid", 0),
})  # fmt: skip


@functools.cache
def domain(name: str, slot: int, whole: bool = False) -> tuple[Interval, ...]:
    """Intervals that operand `slot` of a primitive may lie in (`whole`: as an integer)."""
    if whole:
        return (WHOLE_DOMAINS.get((name, slot), WHOLE),)
    if (name, slot) in KINKED:
        return (WIDE,)
    found = []
    for sample in primitives[name].samples:
        if slot < len(sample.args):
            arg = sample.args[slot]
            here = (arg.low, arg.high)
            free = (-3.0, 3.0) if name in STEEP else WIDE
            found.append(free if here == DEFAULT else here)
    return tuple(dict.fromkeys(found)) or (WIDE,)


def inside(given: Interval, allowed: Sequence[Interval]) -> bool:
    return any(low <= given[0] and given[1] <= high for low, high in allowed)


def hull(*intervals: Interval) -> Interval:
    return min(a for a, _ in intervals), max(b for _, b in intervals)


def result(
    name: str, types: Sequence[Type], out: Type, given: Sequence[Interval], attrs: Any
) -> Interval:
    """The interval of the result of a primitive (up to what a grid of points misses)."""
    if out.dtype.is_bool:
        return 0.0, 1.0
    if name in ("sin", "cos") and given[0][1] - given[0][0] > 1:
        return -1.0, 1.0  # a grid would miss their peaks
    if name in RULES:
        return wrapped(RULES[name](types, given, attrs), out.dtype)
    if issubclass(primitives[name], Elementwise):
        return wrapped(_on_grid(name, types, given), out.dtype)
    return wrapped((-math.inf, math.inf), out.dtype)


def _on_grid(name: str, types: Sequence[Type], given: Sequence[Interval]) -> Interval:
    count = 17 if len(given) == 1 else 5
    grids = []
    for k, (t, (low, high)) in enumerate(zip(types, given)):
        points = np.linspace(low, high, count)
        if low < 0 < high:  # where even functions turn
            points = np.append(points, 0.0)
        if not t.dtype.is_float:
            points = np.round(points)
            points = points.astype(np.int64) if name in BITWISE else points
        grids.append(points.reshape(-1, *(1,) * (len(given) - 1 - k)))
    with np.errstate(all="ignore"):
        y = np.asarray(primitives[name].reference(*grids))
        low, high = float(y.min()), float(y.max())
    return (low, high) if math.isfinite(low + high) else (-math.inf, math.inf)


def wrapped(interval: Interval, dtype: DType) -> Interval:
    """Where integers of a dtype end up that would lie in `interval`."""
    if not dtype.is_integer:
        return interval
    limits = np.iinfo(dtype.np)
    ends = float(limits.min), float(limits.max)
    return interval if inside(interval, [ends]) else ends


def _sums(interval: Interval, fewest: int, most: int) -> Interval:
    """Sums of `fewest` to `most` such numbers."""
    ends = [n * end for n in (fewest, most) for end in interval]
    return min(ends), max(ends)


def _contract(types: Sequence[Type], given: Sequence[Interval], attrs: Any) -> Interval:
    sizes = dict(zip((*attrs["a"], *attrs["b"]), (*types[0].shape, *types[1].shape)))
    terms = math.prod(n for label, n in sizes.items() if label not in attrs["out"])
    products = [x * y for x in given[0] for y in given[1]]
    return _sums((min(products), max(products)), terms, terms)


def _mod(types: Sequence[Type], given: Sequence[Interval], attrs: Any) -> Interval:
    """The remainder lies between 0 and the divisor."""
    return min(0.0, given[1][0]), max(0.0, given[1][1])


def _bitwise(types: Sequence[Type], given: Sequence[Interval], attrs: Any) -> Interval:
    """Up to all ones below the highest bit of either operand; anything if one is negative."""
    if min(low for low, _ in given) < 0:
        return -math.inf, math.inf
    return 0.0, 2.0 ** max(int(high) for _, high in given).bit_length() - 1


def _cast(types: Sequence[Type], given: Sequence[Interval], attrs: Any) -> Interval:
    low, high = given[0]
    whole = attrs["dtype"].is_integer and math.isfinite(low) and math.isfinite(high)
    return (math.trunc(low), math.trunc(high)) if whole else (low, high)


def _atan2(types: Sequence[Type], given: Sequence[Interval], attrs: Any) -> Interval:
    """All angles, unless the operands keep away from the cut."""
    return _on_grid("atan2", types, given) if given[1][0] > 0 else (-math.pi, math.pi)


def whole_range(dtype: DType) -> Interval:
    """All that an integer dtype holds."""
    return wrapped((-math.inf, math.inf), dtype)


def _count(shape: Sequence[int], axes: Sequence[int]) -> int:
    return math.prod(shape[i] for i in axes)


RULES: dict[str, Callable[[Sequence[Type], Sequence[Interval], Any], Interval]] = {
    "sum": lambda t, g, a: _sums(g[0], *(_count(t[0].shape, a["axes"]),) * 2),
    "cumsum": lambda t, g, a: _sums(g[0], 1, max(1, t[0].shape[a["axis"]])),
    "scatter_add": lambda t, g, a: _sums(g[0], 0, t[1].size),
    "contract": _contract,
    "argmax": lambda t, g, a: (0, max(0, t[0].shape[a["axis"]] - 1)),
    "argsort": lambda t, g, a: (0, max(0, t[0].shape[a["axis"]] - 1)),
    "iota": lambda t, g, a: (0, max(0, a["size"] - 1)),
    "full": lambda t, g, a: (float(a["value"]), float(a["value"])),
    "random_bits": lambda t, g, a: (0, 2**32 - 1),
    "pad": lambda t, g, a: hull(g[0], (float(a["value"]),) * 2),
    "concat": lambda t, g, a: hull(*g),
    "where": lambda t, g, a: hull(*g[1:]),
    "cast": _cast, "atan2": _atan2,
    "solve": lambda t, g, a: (0.0, 4.0),  # of one by one matrices from 0.5 to 2, as sampled
    "cholesky": lambda t, g, a: (0.0, 1.5),
    "mod": _mod, "and": _bitwise, "or": _bitwise, "xor": _bitwise,
    **dict.fromkeys(
        ("reshape", "transpose", "broadcast_to", "slice", "flip", "take", "max", "alias"),
        lambda t, g, a: g[0],
    ),
}
