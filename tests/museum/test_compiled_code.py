"""Compilers: stale caches, fast mathematics, literals."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from gallery import close, host

import tinygrad_rnn as tg

numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="needs Numba")
NAN, INF = np.nan, np.inf


def test_nothing_is_not_a_number(backend):
    """https://github.com/pymc-devs/pytensor/issues/1145,
    https://github.com/numba/numba/issues/8708 and /9383: under fastmath isnan is always False.
    Here NaN and infinity are data in compiled loops."""
    xs = np.array([[1.0, NAN, INF, -INF, 0.0]] * 2, "f4")

    def step(c, x):
        return c + x, (tg.isnan(x), tg.isfinite(x), tg.where(tg.isnan(x), 0.0, x), x != x)

    c, ys = tg.scan(step, tg.zeros((5,)), tg.tensor(xs))
    assert host(ys[0])[0].tolist() == host(ys[3])[1].tolist() == [False, True, False, False, False]
    assert host(ys[1])[1].tolist() == [True, False, False, False, True]
    assert host(ys[2])[0].tolist() == [1, 0, INF, -INF, 0]
    assert str(host(c).tolist()) == "[2.0, nan, inf, -inf, 0.0]"


def test_division_by_zero_raises(backend):
    """https://github.com/numba/numba/issues/8743, /9146 and /8889: ZeroDivisionError for arrays
    in which NumPy divides to infinity, or for a NaN. Here division is IEEE's, in loops too."""
    xs = np.array([[1.0, -1.0, 0.0, NAN, 1.0], [2.0, 0.0, INF, 1.0, -0.0]])
    by = np.array([0.0, 0.0, 0.0, 0.0, -0.0])

    def step(c, x):
        return c, (x / c, x // c, x % c, 1.0 / x, x**-1.0)

    _, ys = tg.scan(step, tg.tensor(by), tg.tensor(xs))
    with np.errstate(all="ignore"):
        want = (xs / by, xs // by, xs % by, 1 / xs, 1 / xs)
    for got, right in zip(ys, want, strict=True):
        assert np.array_equal(host(got), right, equal_nan=True)


def test_the_first_closure_answers_for_the_second(backend):
    """https://github.com/numba/numba/issues/6093 and /842: two functions of one name that
    differ in what they captured shared one cache entry, and special_g printed f. Here code is
    found by its structure, and what was captured is an operand or part of it."""

    def make(f, scale):
        @tg.jit
        def specialised(xs):
            return tg.scan(lambda c, x: (c + f(x) * scale, f(c)), tg.zeros((2,)), xs)

        return specialised

    xs = tg.tensor(np.array([[0.5, 1.0], [2.0, 3.0]], "f4"))
    for f, np_f in ((tg.exp, np.exp), (tg.tanh, np.tanh), (tg.exp, np.exp)):
        for scale in (1.0, 2.0, 3.0):
            total, _ = make(f, scale)(xs)
            close(total, (np_f(host(xs)) * scale).sum(0), 1e-5)


def test_a_global_is_frozen_into_the_code(backend):
    """https://github.com/triton-lang/triton/pull/3757: a global was baked into the kernel, and
    "will effectively have a stale value". Here a captured tensor is read anew at every call."""
    scale = tg.tensor(2.0)
    f = tg.jit(lambda x: x * scale)
    assert f(tg.tensor(3.0)).item() == 6
    scale.assign_(np.float32(10.0))
    assert f(tg.tensor(3.0)).item() == 30


def test_minus_zero_is_zero_in_the_cache(backend):
    """https://github.com/pyston/pyston_v1/pull/725 and
    https://github.com/dotnet/roslyn/issues/3598: 0.0 == -0.0, so one constant was handed out
    for both. Here literals keep their sign."""
    x = tg.tensor(np.array([0.0, -0.0, 1.0]))
    for how in (lambda f: f, tg.jit):
        seen = [how(lambda x, z=z: x * 0.0 + z)(-x) for z in (0.0, -0.0, 0.0, -0.0)]
        assert [np.signbit(host(y))[2] for y in seen] == [False, True, False, True]
        low = how(lambda x: tg.maximum(x, 5.0) * 0.0 - 0.0)(x)
        assert not np.signbit(host(low)).any()


def test_true_is_one_in_the_cache(backend):
    """https://github.com/jax-ml/jax/issues/9273: 1, True and 1.0 are equal with equal hashes,
    so a static argument of one type ran the code of another. Here type and text of an argument
    are in the key."""
    f = tg.jit(lambda x, flag: x * flag if flag is not True else x + 100.0)
    x = tg.tensor(3.0)
    got = [f(x, flag).item() for flag in (1, True, 2, 1.0, True)]
    assert got == [3, 103, 6, 3, 103]
    assert len(f.recordings) == 4


def test_an_input_changed_under_the_compiled_function(backend):
    """https://github.com/pytorch/pytorch/issues/197887: a compiled function saved views of its
    inputs, and later changes of the input changed the gradient. Here buffers are never written
    again while somebody holds them."""
    w = tg.tensor(np.array([[1.0, 2.0], [3.0, 4.0]]), requires_grad=True)
    x = tg.tensor(np.array([[1.0, 1.0]]), requires_grad=True)
    y = tg.jit(lambda x, w: (x @ w).sum())(x, w)
    with tg.no_grad():
        x += 100.0
        w *= 0.0
    y.backward()
    assert w.grad.tolist() == [[1, 1], [1, 1]] and x.grad.tolist() == [[3, 7]]
    assert x.tolist() == [[101, 101]] and w.tolist() == [[0, 0], [0, 0]]
