"""Products outside of loops: all layouts, remainders, and a vector added to the rows."""

from __future__ import annotations

import numpy as np
import pytest
from tinygrad_rnn_numba import gemm

import tinygrad_rnn as tg

SIZES = [
    (300, 70, 130),
    (128, 400, 96),
    (257, 513, 33),
    (900, 40, 64),
    (64, 2000, 7),
    (33, 800, 16),
]


def draw(rng, shape, turned, dtype):
    a = rng.standard_normal(shape[::-1] if turned else shape).astype(dtype)
    return a.T if turned else a


def close(y, exact, k, dtype):
    # errors grow with the root of the number of terms
    limit = (8e-6 if dtype == "float32" else 2e-14) * np.sqrt(k)
    np.testing.assert_allclose(y, exact, rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("size", SIZES)
def test_layouts(size, turned, dtype):
    rng = np.random.default_rng(0)
    m, k, n = size
    a, b = draw(rng, (m, k), turned[0], dtype), draw(rng, (k, n), turned[1], dtype)
    assert gemm.suits(m, k, n, dtype)
    out = np.full((m, n), np.nan, dtype)
    assert gemm.matmul(a, b, out)
    close(out, a.astype("float64") @ b.astype("float64"), k, dtype)


@pytest.mark.parametrize("size", [(150, 90, 70), (40, 130, 700)])
def test_views(size):
    """Operands that run backwards, skip rows or repeat one are taken as they lie."""
    rng = np.random.default_rng(3)
    m, k, n = size
    a, b = draw(rng, (m, k), False, "float32"), draw(rng, (k, n), False, "float32")
    turned = np.asfortranarray(a)
    lefts = (a, a[::-1], a[::2], np.broadcast_to(a[:1], a.shape), turned, turned[:, ::-1])
    rights = (b, b[::-1], b[:, ::-1], b.T[::-1, ::-1].T, np.broadcast_to(b[:1], b.shape))
    for x in lefts:
        for w in rights:
            out = np.full((len(x), n), np.nan, "float32")
            assert gemm.matmul(x, w, out)
            close(out, x.astype("float64") @ w.astype("float64"), k, "float32")
    for x in (a[:, ::-1], turned[::-1]):  # no axis of a step of 1
        assert not gemm.matmul(x, b, np.empty((m, n), "float32"))
        with tg.use_backend("numba"):
            y = tg.jit(lambda x, w: x @ w)(tg.asarray(x), tg.asarray(b)).numpy()
        close(y, x.astype("float64") @ b.astype("float64"), k, "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_bias_joins_the_product(size, turned, dtype):
    rng = np.random.default_rng(1)
    m, k, n = size
    a, b = draw(rng, (m, k), False, dtype), draw(rng, (k, n), turned, dtype)
    v = rng.standard_normal(n).astype(dtype)
    with tg.use_backend("numba"):
        if turned:
            y = tg.jit(lambda a, w, v: a @ w.T + v)(*map(tg.tensor, (a, b.T, v)))
        else:
            y = tg.jit(lambda a, w, v: v + a @ w)(*map(tg.tensor, (a, b, v)))
    close(y.numpy(), a.astype("float64") @ b.astype("float64") + v, k, dtype)


@pytest.mark.parametrize("shape", [(80,), (1, 80), (90, 80), (90, 1), (1, 1), ()])
def test_whatever_is_added_to_a_product(shape):
    rng = np.random.default_rng(2)
    a, b, added = (rng.standard_normal(s) for s in ((90, 60), (60, 80), shape))
    assert gemm.suits(90, 60, 80, a.dtype)
    with tg.use_backend("numba"):
        y = tg.jit(lambda a, b, added: a @ b + added)(*map(tg.tensor, (a, b, added)))
    np.testing.assert_allclose(y.numpy(), a @ b + added, rtol=1e-12, atol=1e-12)


def test_a_product_that_others_read_stays_as_it_is():
    rng = np.random.default_rng(2)
    a, b = (rng.standard_normal(s) for s in ((90, 60), (60, 80)))
    v = rng.standard_normal(80)

    def f(a, b, v):
        z = a @ b
        return z + v, z * 2

    with tg.use_backend("numba"):
        got = tg.jit(f)(*map(tg.tensor, (a, b, v)))
    for y, want in zip(got, (a @ b + v, a @ b * 2)):
        np.testing.assert_allclose(y.numpy(), want, rtol=1e-12)
