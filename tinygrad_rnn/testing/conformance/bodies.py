"""Steps of loops: between them they have every kind of carry, of stacked operand and of result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import concat, flip, ones, scan, sigmoid, sin, split, tanh, where
from ...tensor import Tensor
from ...tree import flatten, tree_map, unflatten
from .calls import Host, seeded


class Body(NamedTuple):
    """`step(weights, carry, x) -> (carry, ys)` on tuples of tensors; the shapes of all three."""

    step: Callable[[Any, Any, Any], tuple[Any, Any]]
    weights: Sequence[tuple[int, ...]]
    carry: Sequence[tuple[int, ...]]
    xs: Sequence[tuple[int, ...]]

    def hosts(self, name: str, length: int, dtype: Any = np.float64) -> list[Host]:
        """Random weights, initial carry and xs; a fixed number of them for every length."""
        rng = seeded(f"{name}{length}")
        shapes = [*self.weights, *self.carry, *((length, *s) for s in self.xs)]
        return [np.asarray(rng.normal(size=s) * 0.6, dtype) for s in shapes]

    def run(self, way: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        """A function of all operands: the loop by `way`, which is scan or looks like it."""
        n, m = len(self.weights), len(self.weights) + len(self.carry)

        def f(*args: Tensor) -> Any:
            weights = args[:n]
            return way(lambda c, x: self.step(weights, c, x), args[n:m], args[m:], **options)

        return f


def _rnn(w: Any, c: Any, x: Any) -> Any:
    h = tanh(c[0] @ w[0] + x[0] @ w[1] + w[2])
    return (h,), (h @ w[3],)


def _lstm(w: Any, c: Any, x: Any) -> Any:
    h, m = c
    i, f, g, o = split(x[0] @ w[0] + h @ w[1] + w[2], 4, -1)
    m = sigmoid(f) * m + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(m)
    return (h, m), (h, m * 0.5)


def _swapped(w: Any, c: Any, x: Any) -> Any:
    a, b = c
    return (b * x[0], sin(a) + w[0]), (a + b,)


def _fixed(w: Any, c: Any, x: Any) -> Any:
    return (c[0], c[1] * c[0] + x[0]), (c[1],)


def _echo(w: Any, c: Any, x: Any) -> Any:
    return (c[0] + x[0],), (x[0], c[0], x[0])


def _constant(w: Any, c: Any, x: Any) -> Any:
    return (c[0] * x[0],), (w[0] * 2.0, ones((2,), x[0].dtype))


def _accumulator(w: Any, c: Any, x: Any) -> Any:
    s, h = c
    h = tanh(h @ w[0] + x[0])
    return (s + (h * h @ w[0]).sum(0), h), ()


def _scalar(w: Any, c: Any, x: Any) -> Any:
    return (c[0] * w[0] + sin(x[0]),), (c[0] * x[0],)


def _unused(w: Any, c: Any, x: Any) -> Any:
    return (c[0] * 0.5 + x[0],), (flip(x[0], 0) * w[0],)


def _masked(w: Any, c: Any, x: Any) -> Any:
    h = tanh(concat([x[0], c[0]], -1) @ w[0])
    h = where(x[0][:, :1] > 0, h, c[0])
    return (h,), (h,)


def _nested(w: Any, c: Any, x: Any) -> Any:
    """An inner loop over the columns of x, from a carry of its own."""
    inner, tails = scan(lambda h, r: (tanh(h * w[0] + r), h), c[0], x[0])
    return (inner,), (tails,)


def _no_carry(w: Any, c: Any, x: Any) -> Any:
    return (), (tanh(x[0] @ w[0]),)


BODIES = {
    "rnn": Body(_rnn, [(3, 3), (2, 3), (3,), (3, 2)], [(2, 3)], [(2, 2)]),
    "lstm": Body(_lstm, [(2, 8), (2, 8), (8,)], [(2, 2), (2, 2)], [(2, 2)]),
    "swapped carries": Body(_swapped, [(2,)], [(2,), (2,)], [(2,)]),
    "fixed carry": Body(_fixed, [], [(2,), (2,)], [(2,)]),
    "echo": Body(_echo, [], [(2,)], [(2,)]),
    "constant results": Body(_constant, [(2,)], [(2,)], [(2,)]),
    "accumulator": Body(_accumulator, [(2, 2)], [(2,), (2, 2)], [(2, 2)]),
    "scalar": Body(_scalar, [()], [()], [()]),
    "unused carry": Body(_unused, [(2,)], [(2,)], [(2,)]),
    "masked": Body(_masked, [(5, 3)], [(2, 3)], [(2, 2)]),
    "nested": Body(_nested, [(2,)], [(2,)], [(3, 2)]),
    "no carry": Body(_no_carry, [(2, 3)], [], [(2, 2)]),
}


def loop(step: Any, carry: Any, xs: Any, reverse: bool = False) -> Any:
    """What scan means, in Python, one operation after another; no steps give no stacks."""
    length = flatten(xs)[0][0].shape[0]
    rows: dict[int, Any] = {}
    for t in range(length)[:: -1 if reverse else 1]:
        carry, rows[t] = step(carry, tree_map(lambda x, t=t: x[t], xs))
    if not rows:
        return carry, ()
    from ... import stack

    leaves = [flatten(rows[t])[0] for t in range(length)]
    return carry, unflatten(flatten(rows[0])[1], [stack(list(column)) for column in zip(*leaves)])
