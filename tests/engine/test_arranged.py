"""Bodies that passes take apart and put together again compute what the plain loop does.

Joined operands, several products of one variable, sums of products, slices of products and of
sums: with weights stored either way, of several sizes, to first and second order.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from oracles import close, seeded

import tinygrad_rnn as tg

T, B, I, H = 3, 2, 3, 4
tanh, sigmoid, concat, linear = tg.tanh, tg.sigmoid, tg.concat, tg.linear


def weight(name: str, *shape: int) -> tg.Tensor:
    return tg.tensor(seeded(f"{name}{shape}").normal(size=shape) * 0.6)


SHAPES = {
    "w": (I, H), "u": (H, H), "v": (H, H), "turned": (H, H), "wide": (H, 3 * H),
    "joined": (I + H, H), "behind": (H + I, H), "tall": (H, I + H), "bias": (H,), "long": (3 * H,),
    "narrow": (H, 2), "high": (2, H),
}  # fmt: skip

#: name -> (h, x, parameters) -> (new h, y)
STEPS = {
    "joined operand": lambda h, x, p: (tanh(concat([x, h], 1) @ p.joined), x),
    "joined the other way": lambda h, x, p: (tanh(concat([h, x], 1) @ p.behind), h),
    "joined, weight turned": lambda h, x, p: (tanh(linear(concat([x, h], 1), p.tall)), h),
    "joined behind the weight": lambda h, x, p: (tanh(p.tall @ concat([x.T, h.T], 0)).T, x),
    "joined of three": lambda h, x, p: (
        tanh(concat([h[:, :2], x, h[:, 2:]], 1) @ p.behind), h[:, 1:],
    ),
    "joined and summed": lambda h, x, p: (
        tanh(concat([x, h], 1) @ p.joined + p.bias + h @ p.u + x @ p.w), h,
    ),
    "joined twice": lambda h, x, p: (
        tanh(concat([x, h], 1) @ p.joined) * sigmoid(concat([x, h], 1) @ p.joined[::-1]), x,
    ),
    "weight before": lambda h, x, p: (tanh((p.u @ h.T).T + x @ p.w), (p.v @ h.T)),
    "two gates": lambda h, x, p: (sigmoid(h @ p.u) * tanh(x @ p.w + h @ p.v), h),
    "gates stored both ways": lambda h, x, p: (
        sigmoid(h @ p.u) * tanh(linear(h, p.turned) + x @ p.w) + tanh(h @ p.v), h,
    ),
    "gates of several sizes": lambda h, x, p: (
        tanh((h @ p.narrow) @ p.high + h @ p.u) * sigmoid(h @ p.wide)[:, H : 2 * H], h @ p.narrow,
    ),
    "gates of two variables": lambda h, x, p: (
        tanh(h @ p.u) + tanh(tanh(h) @ p.v) * sigmoid(tanh(h) @ p.u), x @ p.w,
    ),
    "slices of a product": lambda h, x, p: (
        sigmoid((h @ p.wide)[:, :H]) * tanh((h @ p.wide)[:, 2 * H :]) + h,
        (h @ p.wide)[:, H : 2 * H],
    ),
    "slices of a sum": lambda h, x, p: _gates(h @ p.wide + p.long, h, x),
    "slices of a sum of three": lambda h, x, p: _gates(
        h @ p.wide + concat([x @ p.w, x @ p.w * 2.0, x @ p.w * 3.0], 1) + p.long, h, x
    ),
    "a slice that only an output reads": lambda h, x, p: _partly(h @ p.wide + p.long, h),
    "sum of products": lambda h, x, p: (tanh(h @ p.u + tanh(h) @ p.v + sigmoid(h) @ p.turned.T), h),
    "sum of products, one turned": lambda h, x, p: (
        tanh(h @ p.u + linear(tanh(h), p.turned) + x @ p.w), linear(h, p.narrow.T),
    ),
    "sum of products of two sizes": lambda h, x, p: (
        tanh(h @ p.u + (h @ p.narrow) @ p.high + tanh(h)[:, :2] @ p.high), h,
    ),
    "sum of products beside a product": lambda h, x, p: (
        tanh(h @ p.u + h @ p.v) * sigmoid(h @ p.u), h @ p.v,
    ),
    "nested sums": lambda h, x, p: (
        tanh(((x @ p.w + h @ p.u) + (p.bias + h)) + (h @ p.v + x @ p.w)), h,
    ),
    "a sum that is read twice": lambda h, x, p: _twice(h @ p.u + x @ p.w + p.bias),
    "differences": lambda h, x, p: (tanh(h @ p.u - (x @ p.w - h @ p.v)), h - x[:, :1]),
    "unchanging terms": lambda h, x, p: (
        tanh(h @ p.u + p.bias * 2.0 + p.u.sum(0)), p.bias + x[:, :1],
    ),
    "broadcast terms": lambda h, x, p: (tanh(h @ p.u + x[:, :1] + p.bias[:1] + h[:, 1:2]), h),
    "a product and one turned": lambda h, x, p: (tanh(h @ p.u + p.v @ h.T + x @ p.w), h),
    "products per sample": lambda h, x, p: (tanh((h[:, None] * h[:, :, None]).sum(1) + h @ p.u), h),
}  # fmt: skip


def _gates(z, h, x):
    i, f, g = tg.chunk(z, 3, axis=1)
    return sigmoid(f) * h + sigmoid(i) * tanh(g + x[:, :1]), i


def _partly(z, h):
    return tanh(z[:, :H] + h), sigmoid(z[:, H:])


def _twice(z):
    return tanh(z), z * 2.0


def by_scan(step, h, xs, p):
    h, ys = tg.scan(lambda h, x: step(h, x, p), h, xs)
    return (h * h).sum() + tg.sin(ys).sum()


def by_hand(step, h, xs, p):
    ys = []
    for x in tg.unstack(xs):
        h, y = step(h, x, p)
        ys.append(y)
    return (h * h).sum() + tg.sin(tg.stack(ys)).sum()


@pytest.mark.parametrize("name", STEPS)
def test_a_loop_is_its_steps(name):
    rows = H if name == "a product and one turned" else B
    given = (
        weight("h", rows, H), weight("xs", T, rows, I),
        {n: weight(n, *s) for n, s in SHAPES.items()},
    )  # fmt: skip

    def first(run):
        return lambda h, xs, p: run(STEPS[name], h, xs, SimpleNamespace(**p))

    def second(run):
        def f(*args):
            gradients = tg.grad(first(run), (0, 1, 2))(*args)
            return sum((tg.cos(t) * t).sum() for t in leaves(gradients))

        return f

    for order in (first, second):
        (a, one), (b, other) = (
            tg.jit(tg.value_and_grad(order(run), (0, 1, 2)))(*given) for run in (by_scan, by_hand)
        )
        assert np.isfinite(a.item())
        close(a.numpy(), b.numpy(), 1e-11)
        for u, v in zip(leaves(one), leaves(other)):
            close(u.numpy(), v.numpy(), 1e-10)


def leaves(gradients):
    h, xs, p = gradients
    return [h, xs, *p.values()]
