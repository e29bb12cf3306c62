"""Loops in halves: refused by name and run by NumPy's kernels, as is a part of a loop in halves."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.backend import get_backend, optimize


@pytest.mark.parametrize("dtype", [tg.float16, tg.bfloat16], ids=str)
@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_layer_in_halves(layer, dtype, rng):
    x, dy = rng.normal(size=(2, 5, 3, 4)).astype(dtype.np)
    found, report = [], {}
    for backend in ("numpy", "numba"):
        with tg.use_backend(backend):
            m = layer(4, 4, rng=0).to(dtype)

            @tg.jit
            def step(x, dy, m=m):
                m.zero_grad()
                y, _ = m(x)
                y.backward(dy)
                return y.detach()

            y = step(tg.tensor(x), tg.tensor(dy)).numpy()
            found.append([y, *[p.grad.numpy() for p in m.parameters()]])
            report = dict(get_backend(backend).report(optimize(step.recordings[0].graph)))
    for a, b in zip(*found, strict=True):
        assert a.dtype == dtype and np.abs(b).max() > 0.01
        a, b = a.astype("f8"), b.astype("f8")
        limit = 4 * tg.finfo(dtype).eps * np.abs(b).max()
        np.testing.assert_allclose(a, b, rtol=0, atol=limit)
    assert report["scan"].startswith(f"loop over NumPy kernels: {dtype.short}[")


@pytest.mark.parametrize("dtype", [tg.float16, tg.bfloat16], ids=str)
def test_a_step_that_is_partly_in_halves(dtype, rng):
    h, x = rng.normal(size=(3, 5)).astype("f4"), rng.normal(size=(4, 3, 5)).astype("f4")

    def run(h, x):
        def step(h, x):
            rounded = (h * 3).astype(dtype).astype("float32")
            h = tg.tanh(rounded + x)
            return h, h

        return tg.scan(step, h, x)[1]

    found = []
    for backend in ("numpy", "numba"):
        with tg.use_backend(backend):
            found.append(tg.jit(run)(tg.tensor(h), tg.tensor(x)).numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=2 * tg.finfo(dtype).eps)
