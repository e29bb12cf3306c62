"""scan = the unrolled Python loop: value, gradient and second gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from oracles import BACKENDS, check_gradients, check_programs, close, loop, same, seeded, tensors

import tinygrad_rnn as tg
from tinygrad_rnn.tree import flatten

LENGTHS = (0, 1, 2, 7)


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape) * 0.6


class Pair(NamedTuple):
    a: Any
    b: Any


# Each case: step(weights, carry, x) -> (carry, y), shapes of weights, carry and one x.
def rnn(w, c, x):
    h = tg.tanh(c[0] @ w[0] + x[0] @ w[1] + w[2])
    return (h,), (h @ w[3],)


def lstm(w, c, x):
    h, m = c
    i, f, g, o = tg.split(x[0] @ w[0] + h @ w[1] + w[2], 4, -1)
    m = tg.sigmoid(f) * m + tg.sigmoid(i) * tg.tanh(g)
    h = tg.sigmoid(o) * tg.tanh(m)
    return (h, m), (h, m * 0.5)


def joined(w, c, x):
    h = tg.tanh(tg.concat([x[0], c[0]], -1) @ w[0])
    return (h,), (h,)


def swapped(w, c, x):
    a, b = c
    return (b * x[0], tg.sin(a) + w[0]), (a + b,)


def shifted(w, c, x):
    a, b, d = c
    return (tg.tanh(d @ w[0]) + x[0], a, b), (d,)


def unused_carry(w, c, x):
    return (c[0] * 0.5 + x[0],), (x[0] * w[0],)


def fixed_carry(w, c, x):
    return (c[0], c[1] * c[0] + x[0]), (c[1],)


def echo(w, c, x):
    return (c[0] + x[0],), (x[0], c[0], x[0])


def constant_y(w, c, x):
    return (c[0] * x[0],), (w[0] * 2, tg.ones((2,), "float64"))


def accumulator(w, c, x):
    s, h = c
    h = tg.tanh(h @ w[0] + x[0])
    return (s + tg.sum(h * h @ w[0], 0), h), ()


def linear_totals(w, c, x):
    """Sums over steps of everything that is linear in what varies, and of things that are not."""
    d = tg.tanh(x[0])
    s = c[0] + w[0] / (d + 2.0) - (d * w[0]) / 3.0 + (-d).reshape(2) * 2.0 + w[0]
    return (s, c[1] + tg.flip(w[0] * d, 0) + tg.concat([d[1:], d[:1] * w[0][:1]])), ()


def quadratic(w, c, x):
    return (tg.sin(c[0]) @ w[0] @ tg.cos(c[0]) @ w[0] + x[0],), (tg.sum(c[0]),)


def two_products(w, c, x):
    r = tg.sigmoid(c[0] @ w[0] + x[0])
    n = tg.tanh((r * c[0]) @ w[1] + x[0] @ w[2])
    return (r * c[0] + (1 - r) * n,), (n,)


def scalar(w, c, x):
    return (c[0] * w[0] + tg.sin(x[0]),), (c[0] * x[0],)


STEPS = {
    "rnn": (rnn, [(3, 3), (2, 3), (3,), (3, 2)], [(2, 3)], [(2, 2)]),
    "lstm": (lstm, [(2, 8), (2, 8), (8,)], [(2, 2), (2, 2)], [(2, 2)]),
    "joined": (joined, [(5, 3)], [(2, 3)], [(2, 2)]),
    "swapped": (swapped, [(2,)], [(2,), (2,)], [(2,)]),
    "shifted": (shifted, [(2, 2)], [(2,), (2,), (2,)], [(2,)]),
    "unused_carry": (unused_carry, [(2,)], [(2,)], [(2,)]),
    "fixed_carry": (fixed_carry, [], [(2,), (2,)], [(2,)]),
    "echo": (echo, [], [(2,)], [(2,)]),
    "constant_y": (constant_y, [(2,)], [(2,)], [(2,)]),
    "accumulator": (accumulator, [(2, 2)], [(2,), (2, 2)], [(2, 2)]),
    "linear_totals": (linear_totals, [(2,)], [(2,), (2,)], [(2,)]),
    "quadratic": (quadratic, [(2, 2)], [(2, 2)], [(2, 2)]),
    "two_products": (two_products, [(2, 2), (2, 2), (2, 2)], [(3, 2)], [(3, 2)]),
    "scalar": (scalar, [()], [()], [()]),
}


def build(name: str, T: int) -> tuple[Any, list[np.ndarray], tuple[int, int, int]]:
    step, weights, carry, xs = STEPS[name]
    rng = seeded(f"{name}{T}")
    arrays = [normal(rng, *s) for s in (*weights, *carry)] + [normal(rng, T, *s) for s in xs]
    return step, arrays, (len(weights), len(carry), len(xs))


def scanned(step: Any, n: Any, way: Any, **options: Any) -> Any:
    def f(*args: Any) -> Any:
        w, c, x = args[: n[0]], args[n[0] : n[0] + n[1]], args[n[0] + n[1] :]
        return way(lambda c, x: step(w, c, x), tuple(c), tuple(x), **options)

    return f


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize("name", STEPS)
def test_scan_is_the_loop(name, T, reverse):
    step, arrays, n = build(name, T)
    f = scanned(step, n, tg.scan, reverse=reverse)
    g = scanned(step, n, loop, length=T, reverse=reverse)
    carry, ys = f(*tensors(arrays))
    carry2, ys2 = g(*tensors(arrays))
    for a, b in zip(carry, carry2, strict=True):
        close(a, b, 1e-12, "carry")
    if T:
        for a, b in zip(ys, ys2, strict=True):
            close(a, b, 1e-12, "ys")
    else:
        assert all(y.shape[0] == 0 for y in ys)
    check_programs(f, *arrays)


def derivatives(f: Any, arrays: Any, seed: str) -> tuple[list[Any], list[Any]]:
    """First and second derivatives along random cotangents and directions."""
    rng = seeded(seed)
    cts: dict[int, np.ndarray] = {}
    mix = [rng.normal(size=a.shape) for a in arrays]

    def weigh(*args: Any) -> Any:
        total = tg.tensor(0.0, dtype="float64")
        for k, y in enumerate(t for t in flatten(f(*args))[0] if t.size):
            if k not in cts:
                cts[k] = rng.normal(size=y.shape)
            total = total + (tg.sin(y) * cts[k]).sum()
        return total

    nums = tuple(range(len(arrays)))

    def slope(*args: Any) -> Any:
        gs = tg.grad(weigh, nums)(*args)
        total = tg.tensor(0.0, dtype="float64")
        for g, m in zip(gs, mix):
            total = total + (g * m).sum()
        return total

    ts = tensors(arrays)
    return list(tg.grad(weigh, nums)(*ts)), list(tg.grad(slope, nums)(*ts))


@pytest.mark.parametrize("save", ["auto", "carry"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize("name", STEPS)
def test_derivatives_are_those_of_the_loop(name, T, reverse, save):
    step, arrays, n = build(name, T)
    f = scanned(step, n, tg.scan, reverse=reverse, save=save)
    g = scanned(step, n, loop, length=T, reverse=reverse)
    if not T:

        def g(*args, loops=g):
            return loops(*args)[0]

    first, second = derivatives(f, arrays, name)
    want_first, want_second = derivatives(g, arrays, name)
    for a, b in zip(first + second, want_first + want_second, strict=True):
        close(a, b, 1e-10)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", STEPS)
def test_derivatives_by_complex_step(name, reverse):
    step, arrays, n = build(name, 3)
    check_gradients(scanned(step, n, tg.scan, reverse=reverse), *arrays, order=1, what=name)


@pytest.mark.parametrize("name", ["rnn", "swapped", "quadratic", "accumulator", "echo"])
def test_second_derivatives_by_complex_step(name):
    step, arrays, n = build(name, 2)
    check_gradients(scanned(step, n, tg.scan), *arrays, order=2, what=name)


@pytest.mark.parametrize("name", ["rnn", "lstm", "two_products", "quadratic"])
def test_compiled_derivatives_are_the_eager_ones(name):
    step, arrays, n = build(name, 4)
    f = scanned(step, n, tg.scan)
    rng = seeded(name)
    nums = tuple(range(len(arrays)))

    def weigh(*args):
        return sum((tg.sin(y) * rng2.normal(size=y.shape)).sum() for y in flatten(f(*args))[0])

    for fn in (tg.grad(weigh, nums), tg.grad(lambda *a: (tg.grad(weigh, 0)(*a) ** 2).sum(), nums)):
        rng2 = np.random.default_rng(3)
        eager = fn(*tensors(arrays))
        rng2 = np.random.default_rng(3)
        compiled = tg.jit(fn)(*tensors(arrays))
        for a, b in zip(eager, compiled, strict=True):
            close(a, b, 1e-11)
    del rng


def test_non_commuting_jacobians():
    """y = x A^T-style products in both orders differ: a reversed product cannot hide."""
    rng = seeded("commute")
    xs, h = rng.normal(size=(5, 3, 3)) * 0.5, rng.normal(size=3)
    want = np.eye(3)
    for m in xs:
        want = m @ want
    jac = tg.jacobian(lambda h: tg.scan(lambda c, m: (m @ c, None), h, tg.tensor(xs))[0])(
        tg.tensor(h)
    )
    close(jac, want, 1e-12)
    back = np.eye(3)
    for m in xs[::-1]:
        back = m @ back
    jac = tg.jacobian(
        lambda h: tg.scan(lambda c, m: (m @ c, None), h, tg.tensor(xs), reverse=True)[0]
    )(tg.tensor(h))
    close(jac, back, 1e-12)
    assert np.abs(want - back).max() > 0.01


def test_chunked_carry_is_the_full_run():
    step, arrays, _n = build("lstm", 7)
    w, c, xs = tensors(arrays[:3]), tuple(tensors(arrays[3:5])), tg.tensor(arrays[5])
    whole, ys = tg.scan(lambda c, x: step(w, c, (x,)), c, xs)
    for k in range(8):
        mid, first = tg.scan(lambda c, x: step(w, c, (x,)), c, xs[:k])
        end, last = tg.scan(lambda c, x: step(w, c, (x,)), mid, xs[k:])
        for a, b in zip(end, whole):
            same(a, b)
        same(tg.concat([first[0], last[0]]), ys[0])


def test_reverse_is_flipped_twice():
    step, arrays, _n = build("rnn", 6)
    w, h, xs = tensors(arrays[:4]), tuple(tensors(arrays[4:5])), tg.tensor(arrays[5])
    a = tg.scan(lambda c, x: step(w, c, (x,)), h, xs, reverse=True)
    b = tg.scan(lambda c, x: step(w, c, (x,)), h, tg.flip(xs, 0))
    same(a[0][0], b[0][0])
    same(a[1][0], tg.flip(b[1][0], 0))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("backend", [b for b in BACKENDS if b != "numpy"])
def test_backends_agree(backend, name, reverse):
    """Values, first and second derivatives, eager and compiled, in float64 and float32."""
    for T in (1, 5):
        step, arrays, n = build(name, T)
        f = scanned(step, n, tg.scan, reverse=reverse)
        nums = tuple(range(len(arrays)))

        def weigh(*args, f=f):
            return sum((tg.sin(y) * (y + 0.5)).sum() for y in flatten(f(*args))[0])

        first = tg.grad(weigh, nums)
        second = tg.grad(lambda *a, d=first: sum((g * g).sum() for g in d(*a)), nums)
        want = [fn(*tensors(arrays)) for fn in (f, first, second)]
        for dtype, tol in ((np.float64, 1e-11), (np.float32, 2e-4)):
            args = [tg.tensor(a.astype(dtype), backend=backend) for a in arrays]
            with tg.use_backend(backend):
                for fn, good in zip((f, first, second), want):
                    for run in (fn, tg.jit(fn)) if dtype is np.float64 else (tg.jit(fn),):
                        for a, b in zip(flatten(run(*args))[0], flatten(good)[0], strict=True):
                            close(a.detach().numpy().astype(np.float64), b, tol, f"T={T} {dtype}")
