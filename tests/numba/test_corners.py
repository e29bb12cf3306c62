"""Where generated code goes wrong first: rests of rows, pieces, numbers, both ends of time."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.backend import get_backend, optimize
from tinygrad_rnn.extend import primitives
from tinygrad_rnn.lower import lower
from tinygrad_rnn.primitive import bind

from .compare import distance

T, B, H = 5, 3, 19


def test_numbers_of_every_kind(rng):
    """Large unsigned numbers are no negative ones, negative ones stay so; NaN is true, not small.

    What the step reads is the carry: what it could read off the inputs alone leaves the loop.
    """
    u = rng.integers(0, 2**32, (T, B, H)).astype("uint32")
    i = rng.integers(-(2**31), 2**31, (T, B, H)).astype("int32")
    x = np.where(rng.random((T, B, H)) < 0.3, np.nan, rng.integers(0, 2, (T, B, H)))

    def step(carry, inputs):
        h, u, i, x = carry
        low, true = u < 3_000_000_000, x.astype("bool")
        wide = i.astype("int64") * 1000, u.astype("int64"), tg.maximum(u, 2_500_000_000)
        h = h * 0.5 + tg.where(low & true, i.astype("float64"), u.astype("float64"))
        edges = i < -2_000_000_000, x < 0.5, tg.sign(x), tg.round(x + 0.5)
        return (h, *inputs), (low, true, *wide, *edges)

    def run(*xs):
        start = tg.zeros((B, H), "float64"), *[x[0] for x in xs]
        return tg.scan(step, start, tuple(x[1:] for x in xs))

    found = []
    for backend in ("numpy", "numba"):
        with tg.use_backend(backend):
            f = tg.jit(run)
            end, ys = f(*map(tg.tensor, (u, i, x)))
            found.append([y.numpy() for y in (*end, *ys)])
            report = dict(get_backend().report(optimize(f.recordings[0].graph)))
    assert report["scan"] == "compiled"
    for a, b in zip(*found, strict=True):
        assert a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    low, true, wide = found[1][4:7]
    assert np.array_equal(low, u[:-1] < 3e9) and np.array_equal(true, x[:-1].astype(bool))
    assert np.array_equal(wide, i[:-1].astype(int) * 1000)


def between(x):
    zeros = (0,) * x.ndim
    return bind(primitives["pad"], x, low=zeros, high=zeros, interior=(0, 1), value=0.0)


def zero_wins(x):
    return bind(primitives["zmul"], x, 1.0 / x) + bind(primitives["zdiv"], x, x)


#: Steps that treat rows in a way that the generator has no code for: (h, x, w, b) -> (h, y)
ODD = {
    "a number per row, along the columns": lambda h, x, w, b: (tg.tanh(h * tg.max(h, 1) + x), h),
    "numbers per row times a const": lambda h, x, w, b: (tg.tanh(h + x), tg.sum(h, 1) * b),
    "rows cut out": lambda h, x, w, b: (tg.tanh(h + x), h[1:3] * 2.0),
    "every other column": lambda h, x, w, b: (tg.tanh(h + x), h[:, ::2] * 2.0),
    "zeros beside infinities": lambda h, x, w, b: (tg.tanh(h + x), zero_wins(tg.relu(h))),
    "a sum over rows": lambda h, x, w, b: (tg.tanh(h + tg.sum(x * h, 0, keepdims=True)), h),
    "sums over rows to be kept": lambda h, x, w, b: (tg.tanh(h + x), tg.sum(h * x, 0)),
    "a maximum over rows": lambda h, x, w, b: (tg.tanh(h - tg.max(h * x, 0)), h),
    "rows behind each other": lambda h, x, w, b: (tg.tanh(h + x), tg.concat([h, x], 0) * 2.0),
    "rows of zeros": lambda h, x, w, b: (tg.tanh(h + x), tg.pad(h * x, [(1, 2), (0, 0)])),
    "zeros between columns": lambda h, x, w, b: (tg.tanh(h + x), between(h * x)),
    "running sums": lambda h, x, w, b: (tg.tanh(tg.cumsum(h, 1) + x), h),
    "rows times rows": lambda h, x, w, b: (tg.tanh(h @ h.T @ x), h),
    "weights times rows": lambda h, x, w, b: (tg.tanh(w @ h + x), h),
    "a const instead of the carry": lambda h, x, w, b: (w[: h.shape[0]], h * x),
}


@pytest.mark.parametrize("rows", [5, 1])
@pytest.mark.parametrize("name", ODD)
def test_odd_steps(name, rows, rng):
    """As many rows as columns, or a single one, so that no shape gives a mistake away."""
    arrays = [rng.normal(size=s) for s in ((rows, 5), (4, rows, 5), (5, 5), (rows,))]
    if name == "weights times rows" and rows == 1:
        arrays[2] = arrays[2][:1, :1]
    found = []
    for backend in ("numpy", "numba"):
        with tg.use_backend(backend):
            h, x, w, b = map(tg.tensor, arrays)
            end, ys = tg.scan(lambda h, x: ODD[name](h, x, w, b), h, x)  # noqa: B023
            found.append((end.numpy(), ys.numpy()))
    for a, b in zip(*found, strict=True):
        assert a.shape == b.shape and distance(b, a) <= 1e-12


def test_carries_of_different_numbers_of_rows(rng):
    h, g, x = (rng.normal(size=s) for s in ((5, 4), (3, 4), (6, 5, 4)))
    found = []
    for backend in ("numpy", "numba"):
        with tg.use_backend(backend):
            step = lambda c, x: ((tg.tanh(c[0] + x), tg.tanh(c[1] + x[:3])), c[1] * 2.0)  # noqa: E731
            end, ys = tg.scan(step, (tg.tensor(h), tg.tensor(g)), tg.tensor(x))
            found.append([*[t.numpy() for t in end], ys.numpy()])
    for a, b in zip(*found, strict=True):
        assert a.shape == b.shape and distance(b, a) <= 1e-12


def test_what_is_costly_is_computed_once(rng):
    h, x = tg.tensor(rng.normal(size=(B, H))), tg.tensor(rng.normal(size=(T, B, H)))
    loop = lambda h, x: tg.scan(lambda h, x: (tg.softmax(h + x, 1), None), h, x)[0]  # noqa: E731
    (node,) = [n for n in optimize(tg.trace(loop)(h, x)).nodes if n.op.name == "scan"]
    program = lower(node)
    assert [program.kept.get(n.output) for n in program.body.nodes if n.op.name == "exp"] == [
        "scratch"
    ]


def corners(carry, x, w, b):
    h, kept, top = carry
    product = h @ w
    z = product + x
    # a column too many, of zeros, would show in either
    total = tg.sum(tg.exp(0.1 * z), 1, keepdims=True)
    highest = tg.max(-1.0 - z * z, 1, keepdims=True)
    parts = tg.concat([z[:, 7:], z[:, :0], x[:, 3:10] * 0.5], 1)
    frame = tg.pad(z[:, 2:12], [(0, 0), (4, 5)], 1.25)
    new = tg.tanh(0.3 * parts - 0.7 * frame + b) + 0.01 * total + 0.1 * (tg.sigmoid(z) @ w)
    return (new, 0.5 * kept + new, 0.25 * top + highest), (new, h, total, parts, product)


def run(reverse, dtype, rng):
    """Values and gradients on both backends."""
    shapes = [(B, H), (B, H), (B, 1), (T, B, H), (H, H), (H,)]
    arrays = [(0.3 * rng.normal(size=s)).astype(dtype) for s in shapes]
    weights = [rng.normal(size=(T, B, H)).astype(dtype) for _ in range(2)]

    def values(h, kept, top, xs, w, b):
        step = lambda carry, x: corners(carry, x, w, b)  # noqa: E731
        end, ys = tg.scan(step, (h, kept, top), xs, reverse=reverse)
        return [*end, *ys]

    def loss(*args):
        end, kept, top, new, before, *_ = values(*args)
        scored = (new * tg.tensor(weights[0])).sum() + (before * tg.tensor(weights[1])).sum()
        return scored + (end * kept).sum() + top.sum()

    found = {}
    for backend in ("numpy", "numba"):
        with tg.use_backend(backend):
            both = tg.jit(lambda *a: (*values(*a), *tg.grad(loss, tuple(range(6)))(*a)))
            found[backend] = [y.numpy() for y in both(*map(tg.tensor, arrays))]
            report = get_backend().report(optimize(both.recordings[0].graph))
    assert ("scan", "compiled") in report  # the way back may meet arrays of numbers
    return zip(found["numba"], found["numpy"], strict=True)


@pytest.mark.parametrize(("reverse", "dtype"), [(False, "f4"), (True, "f8")])
def test_corners(reverse, dtype, rng):
    for a, b in run(reverse, dtype, rng):
        assert a.dtype == b.dtype and distance(a, b) <= (2e-5 if dtype == "f4" else 1e-12)
