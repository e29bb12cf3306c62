"""Dropout inside recurrent layers."""

from __future__ import annotations

import numpy as np
from gallery import close, host, randomize

import tinygrad_rnn as tg
from tinygrad_rnn import nn


def layer(rng, p=0.5, **options):
    return randomize(nn.LSTM(4, 4, 2, dropout=p, rng=0, **options), rng)


def test_backward_forgets_the_dropout(backend, rng):
    """https://github.com/pytorch/pytorch/issues/190056: backward of a multilayer LSTM ignored
    its dropout, "silently corrupting training gradients". Here the mask is a value like any
    other."""
    lstm = layer(rng, dtype="float64")
    x = rng.normal(size=(3, 2, 4))

    def loss(x):
        lstm.stack.dropout.rng.seed(42)  # the same mask at every call
        return lstm(x)[0].sum()

    g = host(tg.grad(loss)(tg.tensor(x)))
    eps = 1e-6
    for at in ((0, 0, 0), (1, 1, 3), (2, 0, 2)):
        up, down = x.copy(), x.copy()
        up[at] += eps
        down[at] -= eps
        numeric = (loss(tg.tensor(up)).item() - loss(tg.tensor(down)).item()) / (2 * eps)
        close(g[at], numeric, 1e-8)
    assert np.abs(g - host(tg.grad(lambda x: lstm.eval()(x)[0].sum())(tg.tensor(x)))).max() > 1e-3


def test_dropping_everything(backend, rng):
    """https://github.com/pytorch/pytorch/issues/190057: at dropout=1 the scale 1 / (1 - p) is
    infinite, and 0 * inf = NaN. Here the upper layer reads zeros."""
    lstm = layer(rng, 1.0)
    x = tg.tensor(rng.normal(size=(3, 2, 4)).astype("f4"), requires_grad=True)
    y, _ = lstm(x)
    y.sum().backward()
    top = nn.LSTM(4, 4)
    top.load_state_dict(
        {n.replace("_l1", "_l0"): p for n, p in lstm.state_dict().items() if "_l1" in n}
    )
    close(y, top(tg.zeros((3, 2, 4)))[0], 1e-6)
    assert not host(x.grad).any()


def test_every_call_drops_the_same(backend, rng):
    """https://github.com/pytorch/pytorch/pull/185351: three calls in training mode gave one
    output; the mask had been compiled in. Here a draw moves the generator on, eagerly and
    compiled."""
    x = tg.tensor(rng.normal(size=(5, 1, 4)).astype("f4"))
    lstm = layer(rng)
    for run in (lambda x: lstm(x)[0], tg.jit(lambda x: lstm(x)[0])):
        outs = [host(run(x)) for _ in range(3)]
        assert len({out.tobytes() for out in outs}) == 3


def test_evaluation_runs_the_graph_of_training(backend, rng):
    """https://github.com/pytorch/pytorch/issues/180744: the key of the graph cache had no
    `train` flag, so evaluation after training on the same shape still dropped, and only for
    that batch size."""
    lstm = layer(rng)
    x = tg.tensor(rng.normal(size=(5, 3, 4)).astype("f4"))
    run = tg.jit(lambda x: lstm(x)[0])
    run(x)
    lstm.eval()
    quiet = host(run(x))
    close(quiet, run(x), 0)
    close(quiet, lstm(x)[0], 1e-6)
    close(quiet[:, :1], run(x[:, :1]), 1e-6)
    lstm.train()
    assert np.abs(host(run(x)) - quiet).max() > 1e-3


def test_the_dropped_are_not_those_that_are_returned(backend, rng):
    """https://github.com/jihunchoi/recurrent-batch-normalization-pytorch/issues/13: the result
    of dropout was assigned to a name that nobody read. Here p moves the output, but not its
    mean."""
    x = tg.ones((20_000,))
    y = host(nn.functional.dropout(x, 0.3, rng=0))
    assert abs((y == 0).mean() - 0.3) < 0.02 and abs(y.mean() - 1) < 0.02
    a = host(layer(np.random.default_rng(3), 0.9)(tg.ones((5, 2, 4)))[0])
    b = host(layer(np.random.default_rng(3), 0.0)(tg.ones((5, 2, 4)))[0])
    assert np.abs(a - b).max() > 1e-2
