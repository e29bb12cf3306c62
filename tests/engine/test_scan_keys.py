"""Derivatives of loops are made once and shared: never by two loops that differ in anything."""

from __future__ import annotations

import itertools

import pytest
from oracles import close, seeded

import tinygrad_rnn as tg

T, H = 4, 3
NAMES = ("h", "xs", "w", "u")


def f64(name: str, *shape: int) -> tg.Tensor:
    return tg.tensor(seeded(f"{name}{shape}").normal(size=shape))


def operands(needs) -> dict[str, tg.Tensor]:
    found = {n: f64(n, *((T, H) if n == "xs" else (H,))) for n in NAMES}
    for name in needs:
        found[name].requires_grad = True
    return found


def step(c, x, w, u):
    a = tg.tanh(c * w + x * u)
    return a * c, (a * w, x * u)


def by_scan(h, xs, w, u, save):
    return tg.scan(lambda c, x: step(c, x, w, u), h, xs, save=save)


def by_hand(h, xs, w, u, save):
    ys = []
    for x in tg.unstack(xs):
        h, y = step(h, x, w, u)
        ys.append(y)
    return h, tuple(map(tg.stack, zip(*ys)))


def score(result, asked):
    """A number of the results that are asked for: the carry, either stack."""
    end, (first, second) = result
    parts = [end.sum() * 2.0, (first * first).sum(), (second * tg.cos(second)).sum()]
    return sum((parts[k] for k in asked), tg.zeros((), "float64"))


def gradients(run, needs, asked, save, order):
    given = operands(needs)
    leaves = [given[n] for n in needs]
    score(run(**given, save=save), asked).backward(create_graph=order == 2)
    first = [t.grad for t in leaves]
    if order == 1 or all(g is None or not g.requires_grad for g in first):
        return first
    for t in leaves:
        t.grad = None
    sum((g * g).sum() for g in first if g is not None).backward()
    return [*first, *[t.grad for t in leaves]]


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("turned", [False, True])
def test_whatever_needs_a_gradient_and_whatever_is_asked_for(order, turned):
    """One body, in every way in which it can be differentiated, one after the other."""
    cases = [
        (needs, asked, save)
        for k in (1, 2, 4)
        for needs in itertools.combinations(NAMES, k)
        for asked in ((0,), (1,), (2,), (0, 1, 2))
        for save in ("auto", "carry")
    ]
    for needs, asked, save in cases[::-1] if turned else cases:
        loop, plain = (gradients(f, needs, asked, save, order) for f in (by_scan, by_hand))
        for a, b in zip(loop, plain, strict=True):
            zero = tg.zeros((), "float64")
            close((zero if a is None else a).numpy(), (zero if b is None else b).numpy(), 1e-12)


@pytest.mark.parametrize("turned", [False, True])
def test_a_const_and_a_carry_are_told_apart(turned):
    """Two loops with one body: what the one captures is the other's carry."""
    p, c, x = f64("p", H), f64("c", H), f64("x", T, H)

    def captured(p, c, x, loop):
        return loop(lambda c, x: (tg.tanh(p * c + x), p * x), c, x)

    def carried(p, c, x, loop):
        twice = tg.broadcast_to(c, (T, H))
        return loop(lambda c, ab: (tg.tanh(c * ab[0] + ab[1]), c * ab[1]), p, (twice, x))

    def plain(step, c, xs):
        ys = []
        for t in range(T):
            c, y = step(c, tg.tree.tree_map(lambda v, t=t: v[t], xs))
            ys.append(y)
        return c, tg.stack(ys)

    def loss(f, loop):
        def g(p, c, x):
            end, ys = f(p, c, x, loop)
            return (end * end).sum() + (ys * tg.cos(ys)).sum()

        return tg.grad(g, (0, 1, 2))

    for f in (carried, captured) if turned else (captured, carried):
        for a, b in zip(loss(f, tg.scan)(p, c, x), loss(f, plain)(p, c, x)):
            close(a.numpy(), b.numpy(), 1e-12)
