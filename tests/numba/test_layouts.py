"""Operands of compiled code that are views: read where they lie, or copied, but never misread."""

from __future__ import annotations

import numpy as np
import pytest
from tinygrad_rnn_numba import runtime

import tinygrad_rnn as tg
from tinygrad_rnn import fuse

T, B, H = 5, 3, 7

#: Views of an array [2 * T, 2 * T, 3 * H] that become operands [T, B, H] of a loop's steps, and
#: whether every step of them consists of rows at equal distances.
VIEWS = {
    "columns": (lambda x: x[:T, :B, H : 2 * H], True),
    "rows from the second on": (lambda x: x[1 : T + 1, 1 : B + 1, :H], True),
    "every other column": (lambda x: x[:T, :B, : 2 * H : 2], False),
    "backwards in time": (lambda x: tg.flip(x[:T, :B, :H], axis=0), True),
    "backwards in the columns": (lambda x: tg.flip(x[:T, :B, :H], axis=2), False),
    "backwards in the rows": (lambda x: tg.flip(x[:T, :B, :H], axis=1), True),
    "batch first": (lambda x: tg.permute_dims(x, (1, 0, 2))[:T, :B, :H], True),
    "the same at every step": (lambda x: tg.broadcast_to(x[0, :B, :H], (T, B, H)), True),
    "the same in every row": (lambda x: tg.broadcast_to(x[:T, :1, :H], (T, B, H)), True),
    "every other step": (lambda x: x[: 2 * T : 2, :B, :H], True),
}


@pytest.fixture
def copies(monkeypatch):
    """The shapes of the operands that were copied."""
    found = []

    def contiguous(a, original=runtime.contiguous):
        found.append(a.shape)
        return original(a)

    monkeypatch.setattr(runtime, "contiguous", contiguous)
    return found


def both(f, *arrays):
    """What a compiled function computes on NumPy and on Numba."""
    found = {}
    for name in ("numpy", "numba"):
        with tg.use_backend(name):
            found[name] = tg.jit(f)(*[tg.tensor(a) for a in arrays]).numpy()
    return found["numba"], found["numpy"]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("view", VIEWS)
def test_a_loop_over_a_view(view, reverse, rng, copies):
    take, readable = VIEWS[view]

    def f(x, W, h):
        def step(h, x):
            h = tg.tanh(h @ W.T + x)
            return h, h * x

        return tg.scan(step, h, take(x), reverse=reverse)[1]

    x = rng.normal(size=(2 * T, 2 * T, 3 * H))
    W, h = rng.normal(size=(H, H)), rng.normal(size=(B, H))
    here, there = both(f, x, W, h)
    np.testing.assert_allclose(here, there, rtol=1e-13, atol=1e-14)
    assert copies == [(T, B, H)] * (not readable)


@pytest.mark.parametrize("W", ["W.T", "tg.flip(W, 0)", "tg.flip(W, 1)", "W[::2][:, ::2]"])
def test_weights_are_packed_from_where_they_lie(W, rng, copies):
    weights = rng.normal(size=(2 * H, 2 * H) if "::" in W else (H, H))

    def f(x, given, h):
        used = eval(W, {"W": given, "tg": tg})

        def step(h, x):
            h = tg.tanh(h @ used + x)
            return h, h

        return tg.scan(step, h, x)[1]

    x, h = rng.normal(size=(T, B, H)), rng.normal(size=(B, H))
    np.testing.assert_allclose(*both(f, x, weights, h), rtol=1e-13, atol=1e-14)
    assert not copies


@pytest.mark.parametrize("view", VIEWS)
def test_a_group_over_a_view(view, rng, monkeypatch):
    monkeypatch.setattr(fuse, "GROUP", 0)  # however small it is
    take, _ = VIEWS[view]

    def f(x, y):
        return tg.exp(tg.tanh(take(x)) * 0.3 + tg.sin(take(x)) / (2 + y**2))

    x, y = rng.normal(size=(2 * T, 2 * T, 3 * H)), rng.normal(size=(T, B, H))
    np.testing.assert_allclose(*both(f, x, y), rtol=1e-13, atol=1e-14)


def test_calls_of_one_program_with_other_strides(rng, monkeypatch):
    """What was found out about the strides of one call is not used in the next one."""
    monkeypatch.setattr(fuse, "GROUP", 0)

    def loop(x, W, h):
        return tg.scan(lambda h, x: (tg.tanh(h @ W + x),) * 2, h, x)[1]

    def group(x, W, h):
        return tg.tanh(x) * h + tg.sin(x)

    with tg.use_backend("numba"):
        base = tg.tensor(rng.normal(size=(T, B, 2 * H)))
        W, h = tg.tensor(rng.normal(size=(H, H))), tg.tensor(rng.normal(size=(B, H)))
        views = base[..., :H], tg.flip(base, axis=0)[..., H:], base[..., ::2], base[..., H:]
        assert len({v._value.data.strides for v in views}) == 3
        for f in map(tg.jit, (loop, group)):
            for x in views:
                assert np.array_equal(f(x, W, h).numpy(), f(tg.tensor(x.numpy()), W, h).numpy())
