"""What programs have beside single primitives: loops, calls, rules, batches, masks, random numbers.

In: a builder and choices; the lines of a body come from an iterator of further numbers. Out: values
in the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ...call import checkpoint, custom_vjp
from ...derivatives import vjp
from ...extend import bind, primitives
from ...ops.reductions import logsumexp, mean, softmax, var
from ...primitive import literal
from ...scan import scan
from ...tensor import Tensor
from ...types import as_dtype
from ...vectorize import vmap
from .bounds import WIDE, whole_range
from .builder import LARGEST, Builder, Known
from .digits import Digits

Lines = Iterator[int]
Body = Callable[[Builder, Lines, int], None]
#: Loops in loops, and no deeper.
DEEPEST = 2
LENGTHS = (3, 1, 5, 2, 0, 4)


def loop(
    b: Builder,
    d: Digits,
    lines: Lines,
    body: Body,
    forced: Known | None = None,
    count: int | None = None,
) -> None:
    """A scan over values of the pool (`forced` is one of them) whose body has its own lines."""
    xs = _stacked(b, d)
    if forced is not None and forced.x.ndim and forced.x.shape[0] <= 7:
        xs = [forced]
    length = xs[0].x.shape[0] if xs else d.pick(LENGTHS)
    carry = _carries(b, d, rows=xs)
    if count is None:
        count = 2 + d.below(8 if b.rows else 5)
    ends: list[tuple[float, float]] = []
    seen: list[Known] = []

    def step(c: list[Tensor], x: list[Tensor] | None) -> tuple[list[Tensor], list[Tensor]]:
        inside = [Known(t, *_home(v)) for t, v in zip(c, carry)]
        with b.scope([*[Known(t, v.low, v.high) for t, v in zip(x or [], xs)], *inside]):
            mark = len(b.pool)
            body(b, lines, count)
            made = b.pool[mark:] or b.pool[-1:]
            new = [_next(b, d, old, made) for old in inside]
            ys = [d.recent(made) for _ in range(d.below(3) + (not carry))]
            seen.extend(ys)
            ends.extend(v.interval for v in inside)
        return [v.x for v in new], [v.x for v in ys]

    end, ys = scan(
        step, [v.x for v in carry], [v.x for v in xs] or None, None if xs else length,
        reverse=bool(d.below(2)), save="carry" if d.chance(4) else "auto",
    )  # fmt: skip
    for t, interval in zip(end, ends):
        b.keep(t, *interval)
    for t, known in zip(ys, seen):
        if t.size <= 4 * LARGEST:
            b.keep(t, known.low, known.high)


def _stacked(b: Builder, d: Digits) -> list[Known]:
    """What the loop runs over: up to two values with a common leading axis."""
    if b.rows:
        T, B, H = d.pick((3, 1, 5)), b.sizes[0], b.sizes[1]
        xs = b.find(d, lambda v: v.x.ndim == 3 and v.x.shape[1:] == (B, H) and v.kind == "f")
        if xs is None or d.below(2):
            xs = b.leaf(d.pick(b.floats), (T, B, H), -2, 2)
        more = b.leaf(b.floats[0], (xs.x.shape[0], B, d.pick((1, H))), -2, 2)
        return [xs, more] if d.below(2) else [xs]
    if d.chance(6):
        return []
    first = b.find(d, lambda v: v.x.ndim > 0 and v.x.shape[0] <= 7)
    if first is None or d.chance(4):
        first = b.leaf(d.pick(b.floats), (d.pick(LENGTHS), *b.shape(d, 0, 2)), -2, 2)
    if d.below(2):
        return [first]
    T = first.x.shape[0]
    second = b.find(d, lambda v: v.x.ndim > 0 and v.x.shape[0] == T)
    return [first, second] if second is not None else [first]


def _carries(b: Builder, d: Digits, rows: list[Known]) -> list[Known]:
    if b.rows:
        shapes = [(b.sizes[0], b.sizes[1]), (b.sizes[0], 1)]
        return [b.leaf(b.floats[0], s, -1, 1) for s in shapes[: 1 + d.below(2)]]
    out = []
    for _ in range((2, 1, 1, 3, 0)[d.below(5)]):
        v = b.find(d, lambda v: v.kind in "fi" and v.x.size <= 60)
        out.append(b.leaf(d.pick(b.floats), b.shape(d, 0, 2), -1, 1) if v is None else v)
    return out


def _home(v: Known) -> tuple[float, float]:
    """Where a carry stays: every step brings it back there; integers wrap around."""
    if v.kind != "f":
        return whole_range(v.x.dtype)
    return min(v.low, -1.0), max(v.high, 1.0)


def _next(b: Builder, d: Digits, old: Known, made: list[Known]) -> Known:
    """The next value of a carry: a value of the body with its type and within its interval."""
    home, t = old.interval, old.x.type
    if d.chance(8):
        return old
    same = [v for v in made if v.x.type is t]
    if not same or d.chance(6):
        near = [v for v in made if v.x.dtype is t.dtype] or [old]
        v = _shaped(b, d.recent(near), old)
    else:
        v = d.recent(same)
    if old.kind != "f":
        return v
    if d.below(2):  # what was there stays in part, as in every gated cell
        half = b.constant(0.5, t.dtype)
        v = b.bind("add", [b.bind("mul", [old, half]), b.bind("mul", [v, half])])
    if d.chance(5) or v.low < home[0] or v.high > home[1]:
        v = b.bind("tanh", [v])
    return v


def _shaped(b: Builder, v: Known, like: Known) -> Known:
    """A value of the shape of `like`: cut down and added to it, or summed up first."""
    if not b.broadcasts(v.x.shape, like.x.shape):
        v = b.cut_down(v, like.x.shape)
    out = b.bind("add", [v, like])
    if out.x.shape != like.x.shape:
        extra = out.x.ndim - like.x.ndim
        axes = tuple(
            i for i, n in enumerate(out.x.shape) if i < extra or n != like.x.shape[i - extra]
        )
        out = b.bind("sum", [out], axes=axes)
        if out.x.shape != like.x.shape:
            out = b.bind("reshape", [out], shape=like.x.shape)
    return out


def called(b: Builder, d: Digits, lines: Lines, body: Body) -> None:
    """A function of one value that is recomputed by its derivative."""
    v, seen = b.some(d), []

    def f(x: Tensor) -> Tensor:
        with b.scope([Known(x, v.low, v.high)]):
            body(b, lines, 1 + d.below(3))
            out = b.some(d)
        seen.append(out)
        return out.x

    y = checkpoint(f)(v.x)
    b.keep(y, seen[0].low, seen[0].high)


def batched(b: Builder, d: Digits, lines: Lines, body: Body) -> None:
    """A function of one row, applied to all of them."""
    v = b.find(d, lambda v: v.kind == "f" and v.x.ndim > 0 and 0 < v.x.shape[0] <= 5)
    if v is None:
        v = b.leaf(b.floats[0], (2, d.pick(b.sizes)), -2, 2)
    seen = []

    def f(row: Tensor) -> Tensor:
        with b.scope([Known(row, v.low, v.high)]):
            body(b, lines, 1 + d.below(3))
            out = b.some(d)
        seen.append(out)
        return out.x

    y = vmap(f)(v.x)
    if y.size <= 4 * LARGEST:
        b.keep(y, seen[0].low, seen[0].high)


def with_rule(b: Builder, d: Digits, forced: Known | None = None) -> None:
    """A function with a rule of its own, which is right."""
    v = b.fitted(forced or b.some(d), [(-20, 20)], d)
    op = d.pick(("tanh", "sin", "sigmoid"))

    def f(x: Tensor) -> Tensor:
        return bind(primitives[op], x)

    y = custom_vjp(f, lambda g, y, x: vjp(f, x)[1](g)[0])(v.x)
    b.keep(y, -1, 1)


#: Functions with poles or NaN, and the number beyond which they have none.
POISONED: tuple[tuple[float, Callable[[Tensor], Tensor]], ...] = (
    (0.25, lambda x: bind(primitives["log"], x)),
    (0.25, lambda x: bind(primitives["sqrt"], x)),
    (1.25, lambda x: bind(primitives["acosh"], x)),
    (0.25, lambda x: bind(primitives["pow"], x, literal(0.7, x.dtype, x.backend))),
    (0.75, lambda x: 1.0 / (x - 0.5)),
)


def masked(b: Builder, d: Digits) -> None:
    """`where` that keeps away from the poles and the NaN of what it does not choose."""
    v = b.fitted(b.some(d), [WIDE], d)
    edge, f = d.pick(POISONED)
    good = b.bind("less", [b.constant(edge, v.x.dtype), v])
    other = b.fitted(b.partner(d, v), [(-9, 9)], d)
    y = bind(primitives["where"], good.x, f(v.x), other.x)
    b.keep(y, min(other.low, -2.0), max(other.high, 9.0))


def dropped(b: Builder, d: Digits) -> None:
    """Dropout: a mask of random bits, and what it leaves scaled up."""
    v = b.some(d)
    state = b.leaf(as_dtype("uint32"), (4,), 0, 2**32 - 1)
    bits = b.bind("random_bits", [state], shape=v.x.shape)
    number = b.bind("cast", [bits], dtype=v.x.dtype)
    keep = b.bind("less", [number, b.constant(2.0**31, v.x.dtype)])
    scaled = b.bind("mul", [v, b.constant(2.0, v.x.dtype)])
    b.bind("where", [keep, scaled, b.constant(0.0, v.x.dtype)])


def composite(b: Builder, d: Digits) -> None:
    """A function made of several primitives."""
    v = b.fitted(b.some(d, "f", 1), [(-20, 20)], d)
    axis = d.below(v.x.ndim)
    kind = d.below(6)
    size = max(1, v.x.shape[axis])
    if kind == 0 and v.x.shape[axis]:
        b.keep(softmax(v.x, axis), 0, 1)
    elif kind == 1 and v.x.shape[axis]:
        b.keep(logsumexp(v.x, axis, keepdims=bool(d.below(2))), v.low, v.high + size)
    elif kind == 2 and v.x.shape[axis]:
        b.keep(mean(v.x, axis), v.low, v.high)
    elif kind == 3 and v.x.shape[axis] > 1:
        b.keep(var(v.x, axis), 0, (v.high - v.low) ** 2)
    elif kind == 4 and v.x.shape[0]:
        b.keep(v.x[-1], v.low, v.high)
    else:
        b.keep(v.x * v.x * 0.125 + v.x, *_square(v))


def _square(v: Known) -> tuple[float, float]:
    most = max(abs(v.low), abs(v.high))
    return v.low, v.high + most * most / 8


def detached(b: Builder, d: Digits) -> None:
    """What passes no gradient, beside what does."""
    v = b.some(d)
    b.keep(v.x.detach(), v.low, v.high)


def product(b: Builder, d: Digits) -> None:
    """x @ W with a weight of its own or one that is there: what cells are made of."""
    v = b.some(d, "f", 1)
    n = v.x.shape[-1]
    w = b.find(d, lambda w: w.x.ndim == 2 and w.x.dtype is v.x.dtype and w.x.shape[0] == n)
    if w is None or d.chance(3):
        w = b.leaf(v.x.dtype, (n, n if b.rows or d.below(2) else d.pick(b.sizes)), -0.7, 0.7)
    x = b.fitted(v, [(-4, 4)], d)
    k = x.x.ndim
    labels = tuple(range(k))
    if (x.x.size // max(n, 1)) * w.x.shape[1] > LARGEST:
        return
    b.bind("contract", [x, w], a=labels, b=(k - 1, k), out=(*labels[:-1], k))


def again(b: Builder, d: Digits) -> None:
    """An operation that is there already, on the same operands: a duplicate."""
    v = b.some(d)
    op = d.pick(("tanh", "sin", "abs", "neg"))
    b.bind(op, [v])
    b.bind(op, [v])


def twin(b: Builder, d: Digits) -> None:
    """An input that has the values of another input, and is not that input."""
    if not b.leaves:
        return
    k = d.below(len(b.leaves))
    of = b.leaves[k]
    x = b.leaf(of.type.dtype, of.type.shape, of.low, of.high, same_as=k)
    b.keep(*x)


def literal_arithmetic(b: Builder, d: Digits) -> None:
    """A value and a Python number."""
    v = b.some(d)
    value: Any = d.pick((0.5, -1.0, 1.5, 2.0))
    op = d.pick(("mul", "add", "sub", "maximum"))
    pair = [v, b.constant(value, v.x.dtype)]
    b.bind(op, pair if d.below(2) else pair[::-1])
