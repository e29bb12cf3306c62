"""scan: trees, captured tensors, nesting, dtypes, odd wiring."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from oracles import check_gradients, check_programs, close, loop, same, seeded

import tinygrad_rnn as tg


class State(NamedTuple):
    h: Any
    extra: Any


def f64(*shape: int, seed: str = "x") -> tg.Tensor:
    return tg.tensor(seeded(f"{seed}{shape}").normal(size=shape) * 0.7)


def test_carries_xs_and_ys_are_trees():
    start = {"s": State(f64(2), [f64(3), None]), "n": (f64(),)}
    xs = ({"u": f64(4, 2)}, [f64(4, 3, seed="v")])

    def step(c, x):
        s = State(c["s"].h * x[0]["u"], [c["s"].extra[0] + x[1][0], None])
        return {"n": (c["n"][0] + s.h.sum(),), "s": s}, {"y": (s.h, None), "z": State(x[1][0], [])}

    carry, ys = tg.scan(step, start, xs)
    want, rows = loop(step, start, xs, 4)
    assert isinstance(carry["s"], State) and carry["s"].extra[1] is None
    assert isinstance(ys["z"], State) and ys["y"][1] is None and ys["z"].extra == []
    close(carry["s"].h, want["s"].h, 1e-13)
    close(carry["s"].extra[0], want["s"].extra[0], 1e-13)
    close(carry["n"][0], want["n"][0], 1e-13)
    close(ys["y"][0], rows["y"][0], 1e-13)
    same(ys["z"].h, xs[1][0])


def test_gradients_of_trees():
    def f(h, e, n, u, v):
        start = {"s": State(h, [e]), "n": n}

        def step(c, x):
            s = State(tg.sin(c["s"].h) * x["u"], [c["s"].extra[0] * x["v"]])
            return {"s": s, "n": c["n"] + (s.h * s.h).sum()}, [s.extra[0], c["n"]]

        return tg.scan(step, start, {"u": u, "v": v})

    check_gradients(f, f64(2), f64(3), f64(), f64(3, 2), f64(3, 3), what="trees")


@pytest.mark.parametrize("reverse", [False, True])
def test_nested(reverse):
    def f(w, h, xs):
        def outer(c, row):
            def inner(d, x):
                d = tg.tanh(d @ w + x * c)
                return d, d * c

            end, ys = tg.scan(inner, c, row, reverse=not reverse)
            return end + c * 0.1, ys.sum(0)

        return tg.scan(outer, h, xs, reverse=reverse)

    def unrolled(w, h, xs):
        def outer(c, row):
            def inner(d, x):
                d = tg.tanh(d @ w + x * c)
                return d, d * c

            end, ys = loop(inner, c, row, 2, not reverse)
            return end + c * 0.1, ys.sum(0)

        return loop(outer, h, xs, 3, reverse)

    args = f64(2, 2), f64(2), f64(3, 2, 2)
    for a, b in zip(f(*args), unrolled(*args)):
        close(a, b, 1e-13)
    check_programs(f, *args)
    check_gradients(f, *args, what="nested")
    got = tg.jit(tg.grad(lambda *ts: f(*ts)[1].sum(), (0, 1, 2)))(*args)
    want = tg.grad(lambda *ts: unrolled(*ts)[1].sum(), (0, 1, 2))(*args)
    for a, b in zip(got, want):
        close(a, b, 1e-12)


def test_a_tensor_that_is_scanned_and_captured():
    def f(x):
        return tg.scan(lambda c, row: (c + (row @ x.mT).sum(), row * x[0]), x[0, 0], x)

    check_programs(f, f64(3, 2))
    check_gradients(f, f64(3, 2), what="captured and scanned")


def test_one_tensor_as_several_operands():
    def f(x):
        def step(c, r):
            return ((c[0] * r[1], c[1] + r[0] * c[0]), (r[0] + r[1], c[0], c[0]))

        return tg.scan(step, (x[0], x[0]), (x, x))

    check_programs(f, f64(3, 2))
    check_gradients(f, f64(3, 2), what="several operands")

    def g(h, x):
        return tg.scan(lambda c, r: ((c[1] * r, c[0] * c[0]), h * c[0]), (h, h), x)

    check_programs(g, f64(2), f64(3, 2))
    check_gradients(g, f64(2), f64(3, 2), what="carry and captured")


def test_captured_intermediate_results_get_gradients():
    def f(w, h, xs):
        u = tg.tanh(w @ w)
        return tg.scan(lambda c, x: (c @ u + x, c * u[0]), h, xs)

    check_gradients(f, f64(2, 2), f64(2), f64(3, 2), what="captured result")


def test_integer_and_bool_carries_xs_and_ys():
    k = tg.tensor(np.array([3, 1, 0, 2]))
    x = f64(4, 2)

    def step(c, row):
        n, odd, s = c
        i, r = row
        s = tg.where(odd, s * 2.0, s) + r * tg.astype(n, "float64")
        return (n + i, ~odd, s), (n, odd, s, i)

    start = (tg.tensor(1), tg.tensor(False), f64(2))
    got, ys = tg.scan(step, start, (k, x))
    want, rows = loop(step, start, (k, x), 4)
    for a, b in zip((*got, *ys), (*want, *rows), strict=True):
        assert a.dtype == b.dtype
        close(a, b, 1e-13)

    def f(s, x):
        (n, _, s), (_, _, ys, _) = tg.scan(step, (tg.tensor(1), tg.tensor(False), s), (k, x))
        return s * tg.astype(n, "float64"), ys

    check_programs(f, f64(2), x)
    check_gradients(f, f64(2), x, what="integer carry")


def test_indices_in_a_step():
    ids = tg.tensor(np.array([2, 0, 2, 1]))

    def f(table, h):
        return tg.scan(lambda c, i: (tg.tanh(c + tg.take(table, i, 0)), c), h, ids)

    check_programs(f, f64(3, 2), f64(2))
    check_gradients(f, f64(3, 2), f64(2), what="embedding in a step")
    grads = tg.grad(lambda t, h: f(t, h)[1].sum())
    close(tg.jit(grads)(f64(3, 2), f64(2)), grads(f64(3, 2), f64(2)), 1e-13)


def test_no_xs_and_no_carry():
    end, none = tg.scan(lambda c, x: (c * 2.0, None), f64(2), None, length=5)
    close(end, f64(2) * 32.0, 1e-14)
    assert none is None
    empty, ys = tg.scan(lambda c, x: ((), x * 2.0), (), f64(3))
    assert empty == ()
    same(ys, f64(3) * 2.0)
    assert tg.scan(lambda c, x: (c, None), None, f64(3)) == (None, None)
    assert tg.scan(lambda c, x: (c, None), (), None, length=3) == ((), None)


def test_numbers_and_arrays_as_carry_and_xs():
    total, _ = tg.scan(lambda c, x: (c + x, None), 0.0, np.ones(3, np.float32))
    assert total.item() == 3.0 and total.dtype == tg.float32
    count, _ = tg.scan(lambda c, x: (c + 1, None), 0, np.ones(3, np.float32))
    assert count.item() == 3


def test_a_carry_that_enters_as_a_leaf_and_results_of_empty_scans():
    h, x = f64(2), f64(0, 2)
    h.requires_grad = x.requires_grad = True
    end, ys = tg.scan(lambda c, r: (tg.tanh(c) + r, c * r), h, x)
    (end.sum() + ys.sum()).backward()
    assert h.grad.tolist() == [1.0, 1.0]
    assert x.grad.shape == (0, 2)


def test_where_in_a_step_keeps_masked_nan_out():
    """Padding poisoned with NaN influences neither values nor gradients, once it is masked."""
    x = seeded("mask").normal(size=(4, 3))
    poisoned = x.copy()
    poisoned[2:, 0] = np.nan
    poisoned[3:, 2] = np.inf
    live = np.isfinite(poisoned)

    def f(w, xs):
        def step(c, row):
            r, m = row
            r = tg.where(m, r, 0.0)
            return tg.where(m, tg.tanh(c * w + r), c), tg.where(m, r * c, 0.0)

        return tg.scan(step, tg.zeros((3,), "float64"), (xs, tg.tensor(live)))

    for wrap in (lambda g: g, tg.jit):
        grads = wrap(tg.grad(lambda w, xs: f(w, xs)[0].sum() + f(w, xs)[1].sum(), (0, 1)))
        a, b = grads(f64(3), tg.tensor(poisoned)), grads(f64(3), tg.tensor(np.where(live, x, 0.0)))
        close(a[0], b[0], 1e-13)
        close(a[1], b[1], 1e-13)
        assert (a[1].numpy()[~live] == 0).all()


@pytest.mark.parametrize("T", [1, 5])
def test_detach_and_no_grad_inside_a_step(T):
    def f(h, x, cut):
        def step(c, r):
            d = c.detach() if cut == "detach" else c
            if cut == "no_grad":
                with tg.no_grad():
                    d = c * 1.0
            return d * r, d

        return tg.scan(step, h, x)[0].sum()

    h, x = f64(2), f64(T, 2)
    last = np.ones(2)
    for t in range(T - 1):
        last = last * x.numpy()[t]
    want = np.zeros((T, 2))
    want[-1] = h.numpy() * last
    for cut in ("detach", "no_grad"):
        for fn in (tg.grad, lambda *a: tg.jit(tg.grad(*a))):
            gh, gx = fn(lambda h, x, cut=cut: f(h, x, cut), (0, 1))(h, x)
            assert (gh.numpy() == 0).all()
            close(gx, want, 1e-13)


def test_gradient_inside_a_step():
    """A learned optimizer in small: the step descends a function by its own gradient."""

    def f(rate, p0):
        def step(p, _):
            slope = tg.grad(lambda q: (tg.cos(q) * q).sum() * rate)(p)
            return p - 0.1 * slope, slope

        return tg.scan(step, p0, None, length=3)

    def unrolled(rate, p):
        out = []
        for _ in range(3):
            slope = rate * (tg.cos(p) - tg.sin(p) * p)
            p = p - 0.1 * slope
            out.append(slope)
        return p, tg.stack(out)

    for a, b in zip(f(f64(), f64(2)), unrolled(f64(), f64(2))):
        close(a, b, 1e-13)
    check_programs(f, f64(), f64(2))
    check_gradients(f, f64(), f64(2), what="gradient in a step")


def test_random_state_in_the_carry():
    from tinygrad_rnn.random import state_from, uniform_from_state

    def step(c, x):
        h, state = c
        u, state = uniform_from_state(state, (2,), "float64")
        return (h * 0.5 + x * u, state), u

    start = (f64(2), state_from(7))
    got = tg.scan(step, start, f64(4, 2))
    want = loop(step, start, f64(4, 2), 4)
    close(got[0][0], want[0][0], 1e-14)
    same(got[0][1], want[0][1])
    same(got[1], want[1])
    assert len(np.unique(got[1].numpy())) == 8


def test_counters_wrap_as_in_the_loop():
    xs = tg.ones((300,))
    for dtype in ("int8", "uint8", "int32"):
        count = tg.scan(lambda c, x: (c + 1, None), tg.zeros((), dtype), xs)[0]
        assert count.item() == np.asarray(300).astype(dtype) and count.dtype == dtype
    big = tg.tensor(np.array([2**31, 2**31], np.uint32))
    assert tg.scan(lambda c, x: (c + x, None), tg.tensor(np.uint32(5)), big)[0].item() == 5
    half = tg.scan(lambda c, x: (c + 0.25, None), tg.zeros((), "float16"), tg.ones((70_000,)))[0]
    assert half.item() == np.float16(17_500) and half.dtype == "float16"


def loops_of(graph: Any) -> list[Any]:
    return [n for n in graph.nodes if n.op.name == "scan"]


def derivatives(loss: Any, w: tg.Tensor) -> tuple[Any, Any]:
    """The graphs of the first and of a second derivative."""
    first = tg.grad(loss)
    return tg.trace(first)(w), tg.trace(tg.grad(lambda w: (first(w) ** 2).sum()))(w)


def test_a_loop_inside_a_loop_runs_once_in_each_direction():
    """What its derivative reads was saved: no outer body runs an inner loop again."""
    xs = f64(4, 5, 2, 3, seed="xs")

    def inner_step(c, x):
        return tg.tanh(c * 0.7 + x), c * c

    def loss(w):
        outer = lambda h, x: tg.scan(inner_step, tg.tanh(h @ w), x)  # noqa: E731
        h, ys = tg.scan(outer, tg.zeros((2, 3), "float64"), xs)
        return (ys * ys).sum() + h.sum()

    for graph, count in zip(derivatives(loss, f64(3, 3, seed="w")), (2, 4), strict=True):
        inner = [len(loops_of(node.attrs["body"])) for node in loops_of(graph)]
        assert inner == [1] * count


def test_a_loop_that_recomputes_saves_no_more_for_a_longer_step():
    """Nor do the loops that are derived from it, and from those."""
    xs = f64(5, 2, 3, seed="xs")

    def saved(length):
        def loss(w):
            def step(h, x):
                y = h @ w + x
                for _ in range(length):
                    y = tg.tanh(y)
                return y, h * h

            _, ys = tg.scan(step, tg.zeros((2, 3), "float64"), xs, save="carry")
            return (ys * ys).sum()

        graphs = derivatives(loss, f64(3, 3, seed="w"))
        return [len(n.outputs) - n.attrs["shown"] for g in graphs for n in loops_of(g)]

    assert saved(1) == saved(5)
