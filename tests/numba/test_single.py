"""Loops over single examples, and loops that run over kernels: what of them is compiled."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import fuse, nn
from tinygrad_rnn.backend import get_backend, optimize

from .compare import agree

LAYERS = {
    "rnn": lambda: nn.RNN(3, 7, rng=0),
    "lstm": lambda: nn.LSTM(3, 7, num_layers=2, rng=0),
    "gru": lambda: nn.GRU(3, 7, rng=0),
    "layer norm": lambda: nn.Recurrent(nn.LayerNormLSTMCell(3, 7, rng=0)),
    "reversed": lambda: nn.Recurrent(nn.MinimalGatedUnitCell(3, 7, rng=0), reverse=True),
}


@pytest.mark.parametrize("T", [0, 1, 6])
@pytest.mark.parametrize("name", LAYERS)
def test_one_example(name, T, rng):
    agree(LAYERS[name], rng.normal(size=(T, 3)), second=T == 6 and name != "lstm")


def vectors(c, x):
    c = tg.tanh(0.9 * c + x)
    return c, c * x


def numbers(c, x):
    c = tg.sin(0.9 * c + x.sum())
    return c, tg.exp(c)


def weighted(c, x):
    matrix = tg.tensor(np.linspace(-1, 1, 25).reshape(5, 5))
    c = tg.tanh(matrix @ c + x)
    return c, tg.softmax(c)


STEPS = {vectors: (5,), numbers: (), weighted: (5,)}


def both(step, start, xs):
    def values(start, xs):
        c, ys = tg.scan(step, start, xs)
        return tg.concat([c.reshape(-1), ys.reshape(-1)])

    def slope(start, xs):
        return tg.grad(lambda *a: (values(*a) ** 3).sum(), (0, 1))(start, xs)

    return lambda: (values(start, xs), *slope(start, xs))


@pytest.mark.parametrize("step", STEPS, ids=lambda f: f.__name__)
def test_steps_over_vectors_and_numbers(step, rng):
    xs, start = rng.normal(size=(6, 5)), rng.normal(size=STEPS[step])
    found = {}
    for backend in ("numpy", "numba"):
        with tg.use_backend(backend):
            f = tg.jit(both(step, tg.tensor(start), tg.tensor(xs)))
            found[backend] = [y.numpy() for y in f()]
            report = get_backend().report(optimize(f.recordings[0].graph))
            ran = [how for name, how in report if name == "scan"]
    assert ran and set(ran) == {"compiled"}
    for a, b in zip(found["numpy"], found["numba"], strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def over_kernels(c, x):
    """A step whose rows look at each other, with elementwise work and a loop of its own."""
    inner, _ = tg.scan(lambda h, v: (tg.tanh(h * 0.5 + v), h), c, tg.stack([x, c]))
    c = tg.sigmoid(inner * 2 - tg.softmax(c, 0)) * tg.exp(-c * c) + inner
    return c, c


def test_a_loop_over_kernels_has_compiled_parts(rng, monkeypatch):
    monkeypatch.setattr(fuse, "GROUP", 0)
    xs, start = rng.normal(size=(5, 3, 4)), rng.normal(size=(3, 4))
    found = {}
    for backend in ("numpy", "numba"):
        with tg.use_backend(backend):
            f = tg.jit(both(over_kernels, tg.tensor(start), tg.tensor(xs)))
            found[backend] = [y.numpy() for y in f()]
            report = get_backend().report(optimize(f.recordings[0].graph))
    for a, b in zip(found["numpy"], found["numba"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
    how = [h for name, h in report if name == "scan"]
    over = [h for h in how if h.startswith("loop over NumPy kernels: ")]
    assert over and len(over) == how.count("compiled")  # every one with a compiled loop inside
    assert ("exp", "compiled") in report
