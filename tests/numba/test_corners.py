"""Where generated code goes wrong first: rests of rows, pieces, numbers, both ends of time."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.backend import get_backend, optimize

from .compare import distance

T, B, H = 5, 3, 19


def corners(carry, x, w, b):
    h, kept, top = carry
    z = h @ w + x
    total = tg.sum(z, 1, keepdims=True)
    highest = tg.max(z - 50.0, 1, keepdims=True)
    parts = tg.concat([z[:, 7:], z[:, :0], x[:, 3:10] * 0.5], 1)
    frame = tg.pad(z[:, 2:12], [(0, 0), (4, 5)], 1.25)
    new = tg.tanh(0.3 * parts - 0.7 * frame + b) + 0.01 * total
    return (new, 0.5 * kept + new, 0.25 * top + highest), (new, h, total, parts, frame)


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


def test_numbers_of_every_kind(rng):
    """Large unsigned numbers are no negative ones, negative ones stay so; NaN is true."""
    u = rng.integers(0, 2**32, (T, B, H)).astype("uint32")
    i = rng.integers(-(2**31), 2**31, (T, B, H)).astype("int32")
    x = np.where(rng.random((T, B, H)) < 0.3, np.nan, rng.integers(0, 2, (T, B, H)))

    def step(h, inputs):
        u, i, x = inputs
        low, true = u < 3_000_000_000, x.astype("bool")
        wide = i.astype("int64") * 1000, u.astype("int64"), tg.maximum(u, 2_500_000_000)
        h = h * 0.5 + tg.where(low & true, i.astype("float64"), u.astype("float64"))
        edges = x < 0.5, tg.sign(x), tg.round(x + 0.5)
        return h, (low, true, *wide, i < -2_000_000_000, *edges)

    found = []
    for backend in ("numpy", "numba"):
        with tg.use_backend(backend):
            f = tg.jit(lambda *xs: tg.scan(step, tg.zeros((B, H), "float64"), xs))
            end, ys = f(*map(tg.tensor, (u, i, x)))
            found.append([end.numpy(), *[y.numpy() for y in ys]])
            report = dict(get_backend().report(optimize(f.recordings[0].graph)))
    assert report["scan"] == "compiled"
    for a, b in zip(*found, strict=True):
        assert a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    assert np.array_equal(found[1][1], u < 3e9) and np.array_equal(found[1][2], x.astype(bool))
    assert np.array_equal(found[1][3], i.astype(int) * 1000)
