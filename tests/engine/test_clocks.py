"""Carries without axes: a count of the steps, a rate that decays. They run ahead of the rows."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.backend import optimize

BACKENDS = ["numpy", *["numba"] * (importlib.util.find_spec("numba") is not None)]


def clockwork(carry, x, W, s):
    """Some units sleep at some steps."""
    h, t = carry
    n = W.shape[0]
    awake = (t % tg.tensor(np.arange(n) % 3 + 1)) == 0
    h = tg.where(awake, tg.tanh(h @ W + x * s), h)
    return (h, t + 1), h


def decaying(carry, x, W, s):
    """A rate that follows from itself and a weight, two numbers that follow from each other."""
    h, rate, (a, b) = carry
    h = tg.tanh(h @ W + x) * rate + h * tg.sin(a)
    return (h, rate * tg.sigmoid(s) + 0.1, (b, a * 0.9 + rate)), (h, rate)


def measured(carry, x, W, s):
    """A number that depends on the rows has to wait for them."""
    h, m, t = carry
    h = tg.tanh(h @ W + x * s) / (1 + m + t)
    return (h, tg.mean(h * h), t + 0.5), h * m


def dimming(carry, x, W, s):
    """What a number does to the rows of a step is done in the loop."""
    h, t = carry
    h = tg.tanh(h @ W + x * tg.exp(-s * t))
    return (h, t + 1), h


STARTS = {
    clockwork: lambda h: (h, tg.tensor(0)),
    decaying: lambda h: (h, tg.tensor(0.7, dtype="float64"), (tg.tensor(0.2, dtype="float64"),) * 2),  # noqa: E501
    dimming: lambda h: (h, tg.tensor(0.0, dtype="float64")),
    measured: lambda h: (h, tg.tensor(0.3, dtype="float64"), tg.tensor(0.0, dtype="float64")),
}  # fmt: skip


def looped(f, carry, xs, reverse):
    """What `scan` means, in Python."""
    order = range(xs.shape[0])[::-1] if reverse else range(xs.shape[0])
    ys = {}
    for t in order:
        carry, ys[t] = f(carry, xs[t])
    flat = [ys[t][0] if isinstance(ys[t], tuple) else ys[t] for t in range(xs.shape[0])]
    return carry, tg.stack(flat) if flat else tg.zeros((0, *carry[0].shape), dtype="float64")


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("T, B, n", [(6, 4, 7), (5, 7, 7), (1, 3, 7), (0, 4, 7), (6, 1, 7)])
@pytest.mark.parametrize("step", STARTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_values_and_gradients_are_those_of_a_python_loop(backend, step, T, B, n, reverse):
    rng = np.random.default_rng(T + B)
    h, xs, W = rng.normal(size=(B, n)), rng.normal(size=(T, B, n)), rng.normal(size=(n, n)) / 3
    wy, wh = rng.normal(size=(T, B, n)), rng.normal(size=(B, n))

    def run(scanning):
        def loss(h, xs, W, s):
            f = lambda carry, x: step(carry, x, W, s)  # noqa: E731
            if scanning:
                carry, ys = tg.scan(f, STARTS[step](h), xs, reverse=reverse)
                ys = ys[0] if isinstance(ys, tuple) else ys
            else:
                carry, ys = looped(f, STARTS[step](h), xs, reverse)
            return tg.sum(ys * tg.tensor(wy)) + tg.sum(carry[0] * tg.tensor(wh))

        given = [tg.tensor(a) for a in (h, xs, W, np.asarray(0.3))]
        value, grads = tg.jit(tg.value_and_grad(loss, argnums=(0, 1, 2, 3)))(*given)
        return [value.numpy(), *[g.numpy() for g in grads]]

    with tg.use_backend(backend):
        for a, b in zip(run(True), run(False), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def loops_of(step, B=4, n=7):
    rng = np.random.default_rng(0)
    h, xs, W = (tg.tensor(rng.normal(size=s)) for s in ((B, n), (6, B, n), (n, n)))
    f = lambda h, xs: tg.scan(lambda c, x: step(c, x, W, tg.tensor(0.3)), STARTS[step](h), xs)[1]  # noqa: E731
    graph = optimize(tg.explain(f)(h, xs).graph)
    scans = [n for n in graph.nodes if n.op.name == "scan"]
    return graph, [
        [v.type.shape for v in s.attrs["body"].inputs[s.attrs["n_const"] :][: s.attrs["n_carry"]]]
        for s in scans
    ]


def test_numbers_run_ahead_of_the_rows():
    graph, carries = loops_of(clockwork)
    assert carries == [[()], [(4, 7)]]
    # who is awake is decided for all steps at once
    assert [n.output.type.shape for n in graph.nodes if n.op.name == "equal"] == [(6, 7)]
    assert loops_of(decaying)[1] == [[(), (), ()], [(4, 7)]]


def test_what_a_number_does_to_rows_stays_in_the_loop():
    graph, carries = loops_of(dimming)
    assert carries == [[()], [(4, 7)]]
    outside = {n.op.name: n.output.type.shape for n in graph.nodes if n.op.name != "scan"}
    assert outside["exp"] == (6,)
    assert all(len(shape) < 3 for shape in outside.values())


def test_a_number_that_depends_on_the_rows_stays_with_them():
    assert loops_of(measured)[1] == [[()], [(4, 7), ()]]


def test_a_loop_of_numbers_alone_stays_one():
    f = lambda a: tg.scan(lambda c, _: ((c[1], c[0] + c[1]), c[0]), (a, a + 1), None, length=9)[1]  # noqa: E731
    graph = optimize(tg.explain(f)(tg.tensor(1.0)).graph)
    assert [n.op.name for n in graph.nodes].count("scan") == 1
    assert tg.jit(f)(tg.tensor(1.0)).numpy().tolist() == [1, 2, 3, 5, 8, 13, 21, 34, 55]


@pytest.mark.skipif("numba" not in BACKENDS, reason="numba is not installed")
@pytest.mark.parametrize("B, n", [(4, 7), (7, 7)])
def test_the_loop_over_rows_is_compiled(B, n):
    with tg.use_backend("numba") as backend:
        rng = np.random.default_rng(0)
        h, xs, W = (tg.tensor(rng.normal(size=s)) for s in ((B, n), (6, B, n), (n, n)))

        def f(h, xs, W):
            def loss(h, xs, W):
                s = tg.tensor(0.3)
                ys = tg.scan(lambda c, x: clockwork(c, x, W, s), (h, tg.tensor(0)), xs)[1]
                return tg.sum(ys * ys)

            return tg.grad(loss, argnums=(0, 1, 2))(h, xs, W)

        rows = backend.report(tg.explain(f)(h, xs, W).graph)
        assert {how for name, how in rows if name == "scan"} == {"compiled"}
