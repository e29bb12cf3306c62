"""How each primitive is applied to values of a program: operands and attributes that it accepts.

In: a builder, choices, and perhaps a value that must be an operand. Out: the result. Elementwise
primitives need no entry; others that have none are applied to new inputs, as in their samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...extend import Elementwise, Sample, primitives
from ...types import as_dtype, broadcast_shapes
from ..calls import dtypes_of
from . import bounds
from .builder import LARGEST, Builder, Known
from .digits import Digits

Family = Callable[[Builder, Digits, Known | None], Known]
FLOATS, NUMBERS, ANY = "f", "fi", "fib"


def slot_kinds(name: str) -> tuple[str, ...]:
    """The kinds of dtypes that each operand of a primitive takes in a program: of real numbers."""
    op = primitives[name]
    if name == "where":
        return "b", "fiub", "fiub"
    if issubclass(op, Elementwise):
        kinds = op.kinds.replace("c", "")
        return tuple([kinds for _ in range(op.arity)])
    slots: tuple[str, ...] = SLOTS.get(name, ())
    return slots


#: Operands of the primitives below, by kinds.
SLOTS: dict[str, tuple[str, ...]] = {
    **{n: ("fiub",) for n in ("reshape", "transpose", "broadcast_to", "slice", "flip", "cast")},
    "pad": ("fiub",), "concat": ("fiub", "fiub"), "sum": ("fiu",), "max": ("fiu",),
    "argmax": ("fiu",), "argsort": ("fiu",), "cumsum": ("fiu",), "contract": ("fi", "fi"),
    "take": ("fiub", "iu"), "scatter_add": ("fiu", "iu"), "random_bits": ("u",), "full": (),
    "iota": (), "scan": ("fiub",), "call": ("f",), "custom": ("f",),
}  # fmt: skip


def apply(b: Builder, name: str, d: Digits, forced: Known | None = None) -> Known:
    """One application of the primitive; `forced` is an operand, where its dtype allows it."""
    if name in FAMILIES:
        return FAMILIES[name](b, d, forced)
    if issubclass(primitives[name], Elementwise):
        return _elementwise(b, name, d, forced)
    return _as_sampled(b, name, d)


def _slot(name: str, forced: Known | None, d: Digits) -> int | None:
    """Which operand `forced` becomes."""
    if forced is None:
        return None
    slots = [k for k, kinds in enumerate(slot_kinds(name)) if forced.kind in kinds]
    return d.pick(slots) if slots else None


def _elementwise(b: Builder, name: str, d: Digits, forced: Known | None) -> Known:
    kinds, at = slot_kinds(name), _slot(name, forced, d)
    first = forced if forced is not None and at is not None else None
    if name == "where":
        return _where(b, d, first, at)
    if first is None:
        first, at = b.some(d, kinds[0]), 0
    operands: list[Known] = [b.fit(first, name, at or 0, d)]
    for slot in range(len(kinds)):
        if slot != at:
            operands.append(b.fit(b.partner(d, operands[0]), name, slot, d))
    main = operands.pop(0)
    operands.insert(at or 0, main)
    return b.bind(name, operands)


def _where(b: Builder, d: Digits, forced: Known | None, at: int | None) -> Known:
    if forced is None or at == 0:
        first = forced or b.some(d, "b")
        second = b.partner(d, first, d.pick([v.x.dtype for v in b.pool]))
        third = b.partner(d, second)
    else:
        first, second = forced, b.partner(d, forced)
        third = b.partner(d, second, as_dtype("bool"))
    both = broadcast_shapes(first.x.shape, second.x.shape)
    if not b.broadcasts(third.x.shape, both):
        third = b.cut_down(third, both)
    c, x, y = (first, second, third) if at in (0, None) else (third, first, second)
    return b.bind("where", [c, y, x] if at == 2 else [c, x, y])


def _as_sampled(b: Builder, name: str, d: Digits) -> Known:
    sample: Sample = d.pick(primitives[name].samples)
    free = [t for t in dtypes_of(name, sample) if t in [f.name for f in b.floats]]
    operands = [
        b.leaf(as_dtype(a.dtype or (free or ["float64"])[0]), a.shape, a.low, a.high)
        for a in sample.args
    ]
    return b.bind(name, operands, **sample.attrs)


# --- movement ------------------------------------------------------------------------------------


def _reshape(b: Builder, d: Digits, forced: Known | None) -> Known:
    v = forced or b.some(d, ANY)
    s = v.x.shape
    ways = [(1, *s), (*s, 1), (v.x.size,)]
    for i, n in enumerate(s):
        if n == 1:
            ways.append(s[:i] + s[i + 1 :])
        if i and s[i - 1] != 1:
            ways.append((*s[: i - 1], s[i - 1] * n, *s[i + 1 :]))
        ways += [(*s[:i], k, n // k, *s[i + 1 :]) for k in (2, 3) if n > k and n % k == 0]
    ways = [w for w in ways if w != s and len(w) <= 5]
    return b.bind("reshape", [v], shape=d.pick(ways) if ways else s)


def _transpose(b: Builder, d: Digits, forced: Known | None) -> Known:
    v = forced or b.some(d, ANY, 2)
    axes, perm = list(range(v.x.ndim)), []
    while axes:
        perm.append(axes.pop(-1 - d.below(len(axes))))
    return b.bind("transpose", [v], perm=tuple(perm))


def _broadcast_to(b: Builder, d: Digits, forced: Known | None) -> Known:
    v = forced or b.some(d, ANY)
    wide = tuple(d.pick(b.sizes) if n == 1 else n for n in v.x.shape)
    new = (d.pick(b.sizes),) if d.below(2) or wide == v.x.shape else ()
    shape = (*new, *wide)
    return b.bind("broadcast_to", [v], shape=shape if math.prod(shape) <= LARGEST else v.x.shape)


def _slice(b: Builder, d: Digits, forced: Known | None) -> Known:
    v = forced or b.some(d, ANY, 1)
    start, stop, step = [], [], []
    for n in v.x.shape:
        a = d.below(min(n, 2) + 1) if d.below(2) else 0
        start.append(a)
        stop.append(a if a == n else n - d.below(2) * (n - a > 1))
        step.append(1 + d.below(2))
    return b.bind("slice", [v], start=tuple(start), stop=tuple(stop), step=tuple(step))


def _pad(b: Builder, d: Digits, forced: Known | None) -> Known:
    v = forced or b.some(d, ANY, 1)
    low, high, interior = (tuple(d.below(k) for _ in v.x.shape) for k in (3, 2, 2))
    if math.prod((a + c + n * 2) for a, c, n in zip(low, high, v.x.shape)) > LARGEST:
        interior = high = (0,) * v.x.ndim
    value: Any = d.pick((0.0, 0.5, -1.0))
    if v.kind != "f":
        value = d.pick((False, True)) if v.kind == "b" else d.pick((0, 3))
    return b.bind("pad", [v], low=low, high=high, interior=interior, value=value)


def _concat(b: Builder, d: Digits, forced: Known | None) -> Known:
    v = forced or b.some(d, ANY)
    if not v.x.ndim:
        v = b.bind("reshape", [v], shape=(1,))
    axis = d.below(v.x.ndim)
    rest = v.x.shape[:axis] + v.x.shape[axis + 1 :]
    fits = [
        w for w in b.pool
        if w.x.dtype is v.x.dtype and w.x.ndim == v.x.ndim
        and w.x.shape[:axis] + w.x.shape[axis + 1 :] == rest
        and (w.x.shape[axis] + v.x.shape[axis]) * math.prod(rest) <= LARGEST
    ]  # fmt: skip
    parts = [v, *[d.recent(fits) for _ in range(1 + d.below(2)) if fits]]
    if d.below(2):
        parts.reverse()
    return b.bind("concat", parts, axis=axis)


def _flip(b: Builder, d: Digits, forced: Known | None) -> Known:
    v = forced or b.some(d, ANY, 1)
    axes = tuple(i for i in range(v.x.ndim) if d.below(2)) or (v.x.ndim - 1,) * (v.x.ndim > 0)
    return b.bind("flip", [v], axes=axes)


def _cast(b: Builder, d: Digits, forced: Known | None) -> Known:
    v = forced or b.some(d, "fib")
    if (v.kind == "f" and d.below(3)) or (v.kind != "f" and not d.chance(3)):
        other = [t for t in b.floats if t is not v.x.dtype] or list(b.floats)
        return b.bind("cast", [v], dtype=d.pick(other))
    to = d.pick(("int64", "int32", "bool", "uint8", "uint32"))
    if v.kind == "f":  # what does not fit into an integer is not defined
        v = b.fitted(v, [(0, 200) if to.startswith("u") else (-200, 200)], d)
    return b.bind("cast", [v], dtype=as_dtype(to))


# --- reductions and products ---------------------------------------------------------------------


def _axes(d: Digits, ndim: int) -> tuple[int, ...]:
    """Some axes, the last one if no choice is left."""
    axes = tuple(i for i in range(ndim) if d.chance(3))
    return axes or ((ndim - 1,) if ndim else ())


def _sum(b: Builder, d: Digits, forced: Known | None) -> Known:
    v = forced or b.some(d, NUMBERS, 1)
    return b.bind("sum", [v], axes=_axes(d, v.x.ndim))


def _nonempty(b: Builder, d: Digits, forced: Known | None, kinds: str) -> Known:
    v = forced or b.find(d, lambda v: v.kind in kinds and v.x.ndim > 0 and v.x.size > 0)
    if v is None or not v.x.size or not v.x.ndim:
        v = b.leaf(b.floats[0], (d.pick((2, 3, 5)),), -2, 2)
    return v


def _max(b: Builder, d: Digits, forced: Known | None) -> Known:
    v = _nonempty(b, d, forced, "fiu")
    return b.bind("max", [v], axes=_axes(d, v.x.ndim))


def _argmax(b: Builder, d: Digits, forced: Known | None) -> Known:
    v = _nonempty(b, d, forced, "fiu")
    return b.bind("argmax", [v], axis=d.below(v.x.ndim))


def _argsort(b: Builder, d: Digits, forced: Known | None) -> Known:
    v = _nonempty(b, d, forced, "fiu")
    return b.bind("argsort", [v], axis=d.below(v.x.ndim))


def _cumsum(b: Builder, d: Digits, forced: Known | None) -> Known:
    v = forced or b.some(d, NUMBERS, 1)
    if v.kind == "b" or not v.x.ndim:
        v = b.some(d, FLOATS, 1)
    return b.bind("cumsum", [v], axis=d.below(v.x.ndim), reverse=bool(d.below(2)))


def _contract(b: Builder, d: Digits, forced: Known | None) -> Known:
    """Labels of the second operand: those of the first where sizes agree, or new ones."""
    x = forced or b.some(d, FLOATS, 1)
    sizes = [n for n in x.x.shape if n != 1]
    y = b.find(d, lambda v: v.x.dtype is x.x.dtype and 0 < v.x.ndim <= 3
               and any(n in sizes for n in v.x.shape))  # fmt: skip
    if y is None or not d.below(4):
        inner = x.x.shape[d.below(x.x.ndim)] if x.x.ndim else d.pick(b.sizes)
        y = b.leaf(x.x.dtype, (inner, d.pick(b.sizes)) if d.below(4) else (inner,), -0.8, 0.8)
        if y.kind in "iu":
            y = b.leaf(x.x.dtype, y.x.shape, -3, 3)
    x, y = (b.fitted(v, [bounds.WIDE], d) if v.kind == "f" else v for v in (x, y))
    labels, used = list(range(x.x.ndim)), set()
    second: list[int] = []
    for n in y.x.shape:
        same = [i for i in labels if x.x.shape[i] == n and i not in used]
        label = d.recent(same) if same and not d.chance(4) else None
        second.append(len(labels) + len(second) if label is None else label)
        used.add(label)
    shared = [i for i in labels if i in second]
    kept = [i for i in shared if d.chance(4)]
    out = [*kept, *[i for i in (*labels, *second) if (i in labels) != (i in second)]]
    size = dict(zip((*labels, *second), (*x.x.shape, *y.x.shape)))
    if math.prod(size[i] for i in out) > LARGEST:  # sum over more instead of making it large
        x, y, labels, second, out = x, x, labels, labels, labels[:1]
    for k in range(len(out) - 1, 0, -1):
        j = k - d.below(k + 1)
        out[k], out[j] = out[j], out[k]
    pair = (x, tuple(labels)), (y, tuple(second))
    (p, a), (q, c) = reversed(pair) if d.chance(3) else pair
    number: dict[int, int] = {}
    for label in (*a, *c):
        number.setdefault(label, len(number))
    renamed = [tuple(number[i] for i in ls) for ls in (a, c, out)]
    return b.bind("contract", [p, q], a=renamed[0], b=renamed[1], out=renamed[2])


# --- indices -------------------------------------------------------------------------------------


def _indices(b: Builder, d: Digits, size: int, forced: Known | None = None) -> Known:
    """Integers from 0 to size - 1, often the same ones."""
    i = forced or b.find(d, lambda v: v.kind in "iu" and v.x.size <= 20)
    if i is None or (forced is None and d.chance(3)):
        low = size // 2 if d.below(2) else 0
        return b.leaf(as_dtype("int64"), b.shape(d, 0, 2), low, size - 1)
    return b.fitted(i, [(0, size - 1)], d)


def _take(b: Builder, d: Digits, forced: Known | None) -> Known:
    index = forced if forced is not None and forced.kind in "iu" and d.below(2) else None
    x = forced if index is None else None
    if x is None or not x.x.ndim or not x.x.size:
        x = _nonempty(b, d, None, "f")
    axis = d.below(x.x.ndim)
    i = _indices(b, d, x.x.shape[axis], index)
    rest = x.x.size // x.x.shape[axis]
    if rest * i.x.size > LARGEST:
        i = b.leaf(as_dtype("int64"), (), 0, x.x.shape[axis] - 1)
    return b.bind("take", [x, i], axis=axis)


def _scatter_add(b: Builder, d: Digits, forced: Known | None) -> Known:
    size = 1 + d.below(4)
    if forced is not None and forced.kind in "iu" and d.below(2) and forced.x.size <= 60:
        i = _indices(b, d, size, forced)
        u = b.leaf(b.floats[0], (*i.x.shape, d.pick(b.sizes)), -2, 2)
        return b.bind("scatter_add", [u, i], axis=0, size=size)
    u = forced or b.some(d, FLOATS, 1)
    if not u.x.ndim:
        i = b.leaf(as_dtype("int64"), (), 0, size - 1)
        return b.bind("scatter_add", [u, i], axis=0, size=size)
    axis = d.below(u.x.ndim)
    rank = min(d.below(3), u.x.ndim - axis)
    i = b.leaf(as_dtype("int64"), u.x.shape[axis : axis + rank], 0, size - 1)
    if u.x.size * size > LARGEST:
        axis, size = 0, 1
        i = b.leaf(as_dtype("int64"), u.x.shape[:rank], 0, 0)
    return b.bind("scatter_add", [u, i], axis=axis, size=size)


# --- creation ------------------------------------------------------------------------------------


def _full(b: Builder, d: Digits, forced: Known | None) -> Known:
    dtype = d.pick((*b.floats, as_dtype("int64")))
    value = d.pick((0.5, 1.0, -0.0, 2.0)) if dtype.is_float else d.pick((1, 0, 2))
    return b.bind("full", [], value=value, shape=b.shape(d), dtype=dtype)


def _iota(b: Builder, d: Digits, forced: Known | None) -> Known:
    dtype = d.pick((*b.floats, as_dtype("int64"), as_dtype("int32")))
    return b.bind("iota", [], size=d.pick(b.sizes), dtype=dtype)


def _random_bits(b: Builder, d: Digits, forced: Known | None) -> Known:
    state = forced
    if state is None or state.x.shape != (4,) or state.x.dtype.name != "uint32":
        state = b.leaf(as_dtype("uint32"), (4,), 0, 2**32 - 1)
    return b.bind("random_bits", [state], shape=b.shape(d))


FAMILIES: dict[str, Family] = {
    "reshape": _reshape, "transpose": _transpose, "broadcast_to": _broadcast_to, "slice": _slice,
    "pad": _pad, "concat": _concat, "flip": _flip, "cast": _cast, "sum": _sum, "max": _max,
    "argmax": _argmax, "argsort": _argsort, "cumsum": _cumsum, "contract": _contract, "take": _take,
    "scatter_add": _scatter_add, "full": _full, "iota": _iota, "random_bits": _random_bits,
}  # fmt: skip
