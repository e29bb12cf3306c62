"""Derivatives of loops are made once and shared: never by two loops that differ in anything."""

from __future__ import annotations

import pytest
from oracles import close, seeded

import tinygrad_rnn as tg
from tinygrad_rnn import residuals

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


def gradients(run, needs, asked, save, second):
    """First and, where asked for, second ones; zeros where a result depends on nothing."""
    given = operands(needs)
    leaves = [given[n] for n in needs]

    def take(total):
        if total.requires_grad:
            total.backward(create_graph=second)
        found = [tg.zeros_like(t) if t.grad is None else t.grad for t in leaves]
        for t in leaves:
            t.grad = None
        return found

    found = take(score(run(**given, save=save), asked))
    if second:
        found += take(sum((g * g).sum() for g in found))
    return [g.detach().numpy() for g in found]


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_whatever_needs_a_gradient_and_whatever_is_asked_for(second, turned):
    """One body, in every way in which it can be differentiated, one after the other."""
    cases = [
        (needs, asked, save)
        for needs in [("h",), ("w",), ("h", "w"), ("xs", "u"), ("xs", "w"), NAMES]
        for asked in ((0,), (1,), (2,), (0, 1, 2))
        for save in ("auto", "carry")
    ]
    for needs, asked, save in cases[::-1] if turned else cases:
        loop, plain = (gradients(f, needs, asked, save, second) for f in (by_scan, by_hand))
        for a, b in zip(loop, plain, strict=True):
            close(a, b, 1e-12)


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


def test_a_step_returns_a_pair_and_the_carry_in_its_structure():
    h, xs = f64("h", H), f64("xs", T, H)
    with pytest.raises(TypeError, match=r"must return \(carry, y\), got list"):
        tg.scan(lambda c, x: [c + x, x], h, xs)
    for carry in ({"a": h, "b": h}, [h, h]):
        with pytest.raises(ValueError, match="another structure"):
            tg.scan(lambda c, x, carry=carry: (carry, None), (h, h), xs)


def test_a_carry_that_every_step_returns_is_not_computed_again():
    """Its value before every step is known without a stack of it."""

    def loss(h, kept, xs):
        step = lambda c, x: ((tg.tanh(c[0] * c[1] + x), c[1]), None)  # noqa: E731
        return tg.scan(step, (h, kept), xs)[0][0].sum()

    graph = tg.trace(tg.grad(loss, (0, 1, 2)))(f64("h", H), f64("kept", H), f64("xs", T, H))
    assert [n.op.name for n in graph.nodes].count("scan") == 2


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_saved_is_what_this_derivative_needs(turned):
    """Whatever was differentiated before: as many stacks as with nothing remembered."""
    given = tuple(operands(()).values())

    def straight(h, xs, w, u, save):
        return tg.scan(lambda c, x: (c * w + x * u, (tg.sin(c), x * w)), h, xs, save=save)

    def product(h, xs, w, u, save):
        """What the derivative for `w` reads and no other does is too dear to compute again."""
        return tg.scan(lambda c, x: (c * 0.5 + (x @ u) * w, (c, x * w)), h, xs, save=save)

    def kept(run, argnums, asked, save):
        loss = lambda *args: score(run(*args, save), asked)  # noqa: E731
        graph = tg.trace(tg.grad(loss, argnums))(*given)
        return [(len(n.inputs), len(n.outputs)) for n in graph.nodes if n.op.name == "scan"]

    cases = [
        (run, argnums, asked, save)
        for run in (by_scan, straight, product)
        for argnums in [(0,), (2,), (3,), (1, 3), (0, 1, 2, 3)]
        for asked in ((0,), (0, 1, 2))
        for save in ("auto", "carry")
    ]
    alone = {}
    for case in cases:
        residuals._derived.entries.clear()
        alone[case] = kept(*case)
    assert len({str(n) for n in alone.values()}) > 3
    residuals._derived.entries.clear()
    for case in cases[::-1] if turned else cases:
        assert kept(*case) == alone[case], case
