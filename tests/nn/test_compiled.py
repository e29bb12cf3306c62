"""Layers under jit, vmap and checkpoint: the same numbers as eagerly."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn

I, H, T, B = 3, 4, 5, 3
f64 = {"dtype": "float64"}

LAYERS = {
    "rnn": lambda: nn.RNN(I, H, 2, rng=0, **f64),
    "lstm": lambda: nn.LSTM(I, H, 2, bidirectional=True, dropout=0.3, rng=0, **f64),
    "lstm_proj": lambda: nn.LSTM(I, H, proj_size=2, rng=0, **f64),
    "gru": lambda: nn.GRU(I, H, batch_first=True, rng=0, **f64),
    "gru_before": lambda: nn.GRU(I, H, reset_after=False, rng=0, **f64),
    "layernorm": lambda: nn.Recurrent(nn.LayerNormLSTMCell(I, H, rng=0, **f64)),
    "layernorm_gru": lambda: nn.Recurrent(nn.LayerNormGRUCell(I, H, rng=0, **f64), reverse=True),
    "peephole": lambda: nn.Recurrent(nn.PeepholeLSTMCell(I, H, rng=0, **f64)),
    "coupled": lambda: nn.Recurrent(nn.CoupledLSTMCell(I, H, rng=0, **f64)),
    "1997": lambda: nn.Recurrent(nn.LSTM1997Cell(I, H, rng=0, **f64)),
    "mgu": lambda: nn.Recurrent(nn.MinimalGatedUnitCell(I, H, rng=0, **f64)),
    "jordan": lambda: nn.Recurrent(nn.JordanCell(I, H, 2, rng=0, **f64)),
    "wrapped": lambda: nn.Recurrent(
        nn.Zoneout(nn.RecurrentDropout(nn.GRUCell(I, H, rng=0, **f64), 0.4, rng=1), 0.2, rng=2)
    ),
}


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_training_step(name, ragged, rng):
    """Three steps of gradient descent, compiled and not."""
    x = rng.normal(size=(T, B, I))
    first = name == "gru"
    given = tg.tensor(np.swapaxes(x, 0, 1).copy() if first else x)
    lengths = [5, 0, 2] if ragged else None

    def train(compile):
        layer = LAYERS[name]()

        def step(x):
            layer.zero_grad()
            y, _ = layer(x, lengths=lengths)
            loss = (tg.sin(y) * y).sum()
            loss.backward()
            for p in layer.parameters():
                if p.grad is not None:
                    p.assign_(p.detach() - 0.1 * p.grad)
            return loss

        run = tg.jit(step) if compile else step
        losses = [run(given).item() for _ in range(3)]
        return losses, [p.detach().numpy() for p in layer.parameters()]

    (a, p), (b, q) = train(True), train(False)
    assert len(set(b)) == 3
    assert np.allclose(a, b, rtol=1e-12, atol=0)
    for u, v in zip(p, q, strict=True):
        assert np.allclose(u, v, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", ["rnn", "gru_before", "layernorm", "peephole"])
def test_vmap_over_ensembles_of_inputs(name, rng):
    layer = LAYERS[name]()
    x = tg.tensor(rng.normal(size=(2, T, B, I)))
    y = tg.vmap(lambda x: layer(x)[0])(x)
    for k in range(2):
        expected = layer(x[k])[0].detach().numpy()
        assert np.allclose(y[k].detach().numpy(), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", ["lstm", "gru_before", "mgu"])
def test_checkpoint_recomputes_the_same(name, rng, gradients):
    """D32, A22: also the dropout masks."""
    x = rng.normal(size=(T, B, I))

    def run(how):
        layer = LAYERS[name]()
        call = None if how is None else lambda x, state, lengths: tg.checkpoint(layer)(x)
        return gradients(layer, x, call=call)

    y, _, found = run("checkpoint")
    y2, _, expected = run(None)
    assert np.allclose(y.detach().numpy(), y2.detach().numpy(), rtol=1e-14)
    for key, g in expected.items():
        assert np.allclose(found[key], g, rtol=1e-12, atol=1e-14)


def test_half_precision_and_default_dtype(rng):
    layer = nn.GRU(I, H, dtype="float16")
    x = tg.tensor(rng.normal(size=(T, B, I)).astype("f2"), requires_grad=True)
    y, _ = layer(x)
    y.sum().backward()
    assert y.dtype == "float16" and x.grad.dtype == "float16"
    assert nn.LSTM(I, H).weight_ih_l0.dtype == "float32"
    tg.set_default_dtype("float64")
    try:
        assert nn.LSTM(I, H).weight_ih_l0.dtype == "float64"
    finally:
        tg.set_default_dtype("float32")
