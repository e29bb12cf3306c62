"""float16 ends at 65504 and counts to 2048."""

from __future__ import annotations

import numpy as np
import pytest
from gallery import close, host

import tinygrad_rnn as tg
from tinygrad_rnn import nn


def test_seventy_thousand_maxima(backend):
    """https://github.com/tinygrad/tinygrad/issues/12296: the gradient of a float16 max over
    70,000 equal elements was 0 everywhere: the count had overflowed."""
    g = host(tg.grad(tg.max)(tg.ones((70_000,), "float16")))
    assert g.dtype == np.float16
    assert g.astype(float).sum() == pytest.approx(1.0, rel=0.05) and g.min() > 0


def test_log_softmax_of_a_large_vocabulary(backend, rng):
    """https://github.com/jax-ml/jax/issues/40409: log_softmax over 2**16 float16 logits had a
    finite value and a gradient of NaN (here both were wrong until this exhibit was put up)."""
    x = rng.normal(size=2**16 + 5).astype("f2")
    exact = tg.tensor(x.astype("f8"))
    got, want = (tg.vjp(tg.log_softmax, t) for t in (tg.tensor(x), exact))
    close(got[0], want[0], 1e-3)
    ct = rng.normal(size=x.shape)
    g = host(got[1](tg.tensor(ct.astype("f2")))[0]).astype("f8")
    close(g, want[1](tg.tensor(ct))[0], 3e-3)


def test_the_mean_of_seventy_thousand_ones(backend):
    """https://github.com/SKaiNET-developers/SKaiNET/issues/1281 and
    https://github.com/microsoft/onnxruntime/pull/29045: a sum of halves passed 65504 before it
    was divided, and whole frames became zero (NaN, in this library)."""
    ones = tg.ones((70_000,), "float16")
    assert tg.mean(ones).item() == 1.0 and tg.var(ones).item() == 0.0
    assert tg.norm(ones).item() == pytest.approx(70_000**0.5, rel=1e-3)


def test_layer_norm_squares_beyond_the_range(backend, rng):
    """https://github.com/pytorch/pytorch/issues/66707 and
    https://github.com/neuroneural/brainchop-cli/pull/56: 256**2 is infinite in float16."""
    x = (rng.normal(size=(3, 8)) * 2000).astype("f2")
    got = host(nn.functional.layer_norm(tg.tensor(x), 8)).astype("f8")
    close(got, nn.functional.layer_norm(tg.tensor(x.astype("f8")), 8), 2e-3)


def test_an_angle_near_the_origin(backend):
    """https://github.com/pytorch/pytorch/issues/193040: atan2 at (2e-3, 2e-3) has the gradient
    250 in float16; it was infinite because 1 / (a*a + b*b) stood alone."""
    a = tg.tensor(np.float16(2e-3))
    g = tg.grad(tg.atan2, (0, 1))(a, a)
    assert [v.item() for v in g] == pytest.approx([250, -250], rel=0.01)


def test_a_long_sum_stops_at_two_thousand(backend):
    """https://github.com/pytorch/pytorch/issues/66707 again: in float16 2048 + 1 = 2048. Here
    products and sums of halves are accumulated in float32, in loops as well."""
    n = 5000
    ones = tg.ones((n,), "float16")
    assert tg.sum(ones).item() == pytest.approx(n, rel=1e-3)
    assert (ones[None] @ ones[:, None]).item() == pytest.approx(n, rel=1e-3)
    xs = tg.ones((n, 1), "float16")
    w = tg.ones((1, 1), "float16")
    g = tg.grad(lambda w: tg.scan(lambda c, x: (c, x[None] @ w), tg.zeros(()), xs)[1].sum())(w)
    assert g.item() == pytest.approx(n, rel=1e-3)
    word, row = np.zeros(n, np.int64), tg.ones((1,), "float16")
    assert tg.grad(lambda row: tg.take(row, word).sum())(row).item() == pytest.approx(n, rel=1e-3)
