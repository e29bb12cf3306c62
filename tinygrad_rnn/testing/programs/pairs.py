"""One primitive applied to the result of another, for every ordered pair of them.

In: a builder and two names. Out: the second primitive's result; its operand is the result of the
first itself wherever dtypes and domains allow it, that is, without a guard in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...extend import Elementwise, Type, primitives
from ...types import as_dtype
from . import bounds
from . import structures as s
from .bounds import Interval
from .builder import RANGES, Builder, Known
from .digits import Digits
from .families import apply, slot_kinds

#: Kinds of results, where they are not those of the operands.
RESULTS = {
    "argmax": "i", "random_bits": "u", "full": "fi", "iota": "fi", "cast": "fiub", "where": "fiub",
    "take": "fiub", "scan": "f", "call": "f", "custom": "f",
}  # fmt: skip
#: Ranges that few others map into a given domain.
NARROW: tuple[Interval, ...] = (
    (0.1, 0.6), (-0.6, -0.1), (0.1, 0.3), (0.7, 1.5), (1.0, 2.0), (2.1, 2.9), (-1.5, -0.7),
)  # fmt: skip
DTYPES = {"i": ("int64", "int32"), "u": ("uint32", "uint8"), "b": ("bool",)}
Body = Callable[[Builder, Iterator[int], int], None]


def result_kinds(name: str) -> str:
    """The kinds of dtypes that results of a primitive have."""
    op = primitives[name]
    if issubclass(op, Elementwise) and op.result is not None:
        return str(op.result.kind)
    return RESULTS.get(name) or (slot_kinds(name) or ("f",))[0]


def possible(first: str, second: str) -> bool:
    """Whether some operand of `second` has a kind of dtype that results of `first` have."""
    kinds = result_kinds(first)
    return any(k in kinds for wanted in slot_kinds(second) for k in wanted)


def apply_pair(b: Builder, pair: tuple[str, str], d: Digits, body: Body) -> None:
    """Apply the second primitive to a result of the first."""
    first, second = pair
    wanted = [k for k in result_kinds(first) if any(k in slot for slot in slot_kinds(second))]
    if not wanted:
        return
    kind = wanted[0] if d.below(2) else d.pick(wanted)
    value = None
    for _ in range(4):
        value = _made(b, first, second, kind, d, body)
        if value is None or _fits(value, second):
            break
    if value is not None:
        _applied(b, second, d, value, body)


def _fits(v: Known, name: str) -> bool:
    """Whether some operand of the primitive may be `v` as it is."""
    for slot, kinds in enumerate(slot_kinds(name)):
        if v.kind in kinds:
            if v.kind == "b" or bounds.inside(v.interval, bounds.domain(name, slot, v.kind != "f")):
                return True
    return False


def _applied(b: Builder, name: str, d: Digits, forced: Known | None, body: Body) -> Known | None:
    """`apply`, for primitives with a body too; an operand of another kind is left out."""
    if forced is not None and not any(forced.kind in kinds for kinds in slot_kinds(name)):
        forced = None
    if name not in ("scan", "call", "custom"):
        return apply(b, name, d, forced)
    if forced is not None:
        b.keep(*forced)
    mark = len(b.pool)
    if name == "custom":
        s.with_rule(b, d, forced)
    elif b.depth >= s.DEEPEST:
        return None
    elif name == "call":
        s.called(b, d, iter([d.below(2**20) for _ in range(2)]), body)
    else:
        s.loop(b, d, iter([d.below(2**20) for _ in range(3)]), body, forced)
    return b.pool[-1] if len(b.pool) > mark else None


def _made(b: Builder, first: str, second: str, kind: str, d: Digits, body: Body) -> Known | None:
    """A result of `first` of a kind, in the domain of `second` if that can be arranged."""
    op, slots = primitives[first], slot_kinds(first)
    if not slots or first in ("scan", "call", "custom"):
        return _applied(b, first, d, None, body)
    if kind == "f" and issubclass(op, Elementwise) and first != "where":
        return _tuned(b, first, second, d)
    source = kind if kind in slots[0] else slots[0][d.below(len(slots[0]))]
    if source != "f":
        return apply(b, first, d, _whole(b, source, d, second))
    for _ in range(6):
        interval = d.pick(_intervals(second, _slot_for(second, kind)))
        leaf = b.leaf(d.pick(b.floats), _shape(b, second, d), *interval)
        if kind != "f" or bounds.inside(interval, bounds.domain(first, 0)):
            break
    return apply(b, first, d, leaf)


def _slot_for(name: str, kind: str) -> int:
    return next(k for k, kinds in enumerate(slot_kinds(name)) if kind in kinds)


def _shape(b: Builder, second: str, d: Digits) -> tuple[int, ...]:
    return (4,) if second == "random_bits" else b.sizes if b.rows else b.shape(d, 1, 2)


def _whole(b: Builder, kind: str, d: Digits, second: str) -> Known:
    if kind == "u" and second == "random_bits":
        shape = d.pick(((4,), (2, 2), (2, 4), (2,), (5,)))
        return b.leaf(as_dtype("uint32"), shape, 0, 9)
    found = b.find(d, lambda v: v.kind == kind)
    if found is not None and d.below(3):
        return found
    high = 1 if kind == "b" else 9
    return b.leaf(as_dtype(d.pick(DTYPES[kind])), b.shape(d, 1, 2), 0, high)


def _intervals(name: str, slot: int) -> list[Interval]:
    """Intervals in the domain of an operand: the common ones, the whole, and parts of it."""
    allowed = bounds.domain(name, slot)
    found = [r for r in (*RANGES, *NARROW) if bounds.inside(r, allowed)]
    for low, high in allowed:
        low, high = max(low, -5.0), min(high, 5.0)
        for n in (1, 3, 8, 40):
            part = (high - low) / n
            found += [(low + k * part, low + (k + 1) * part) for k in {0, n // 2, n - 1}]
    return found


def _tuned(b: Builder, first: str, second: str, d: Digits) -> Known:
    """An elementwise primitive on new inputs whose ranges bring its result where it should be."""
    op, dtype = primitives[first], d.pick(b.floats)
    slots = [k for k, kinds in enumerate(slot_kinds(second)) if "f" in kinds]
    allowed = [i for k in slots for i in bounds.domain(second, k)]
    shape = _shape(b, second, d)
    types = [Type(shape, dtype)] * op.arity
    choices = [_intervals(first, k) for k in range(op.arity)]
    found: Sequence[Any] = [d.pick(c) for c in choices]
    for _ in range(60):
        if op.result is not None or bounds.inside(
            bounds.result(first, types, types[0], found, {}), allowed
        ):
            break
        found = [d.pick(c) for c in choices]
        if not d.left:
            d.left = len(b.leaves) * 7919 + 1  # choices have run out: go on from here
    return b.bind(first, [b.leaf(dtype, shape, *interval) for interval in found])
