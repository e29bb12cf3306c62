"""How many matrix products stay in the loops of a training step, for every cell (issue item 4)."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn

I, H, T, B = 3, 4, 6, 5

ONE = {
    "rnn": lambda: nn.RNN(I, H),
    "lstm": lambda: nn.LSTM(I, H),
    "gru": lambda: nn.GRU(I, H),
    "lstm_no_bias": lambda: nn.LSTM(I, H, bias=False),
    "lstm_1997": lambda: nn.Recurrent(nn.LSTM1997Cell(I, H)),
    "coupled": lambda: nn.Recurrent(nn.CoupledLSTMCell(I, H)),
    "peephole": lambda: nn.Recurrent(nn.PeepholeLSTMCell(I, H)),
    "layernorm_lstm": lambda: nn.Recurrent(nn.LayerNormLSTMCell(I, H)),
    "layernorm_gru": lambda: nn.Recurrent(nn.LayerNormGRUCell(I, H)),
    "variational": lambda: nn.Recurrent(nn.RecurrentDropout(nn.LSTMCell(I, H), 0.5, 0.2)),
    "zoneout": lambda: nn.Recurrent(nn.Zoneout(nn.GRUCell(I, H), 0.2)),
    "residual": lambda: nn.Recurrent(nn.Residual(nn.LSTMCell(I, I))),
}
# two products that depend on each other: reset before the product, projections, fed-back outputs
TWO = {
    "gru_before": lambda: nn.GRU(I, H, reset_after=False),
    "mgu": lambda: nn.Recurrent(nn.MinimalGatedUnitCell(I, H)),
    "lstm_proj": lambda: nn.LSTM(I, H, proj_size=2),
    "jordan": lambda: nn.Recurrent(nn.JordanCell(I, H, 2)),
}
CASES = [(name, make, 1) for name, make in ONE.items()]
CASES += [(name, make, 2) for name, make in TWO.items()]


def loops(layer, rng, lengths=None):
    def step(x):
        layer.zero_grad()
        y, _ = layer(x, lengths=lengths)
        loss = (y * y).mean()
        loss.backward()
        return loss

    x = tg.tensor(rng.normal(size=(T, B, I)).astype("f4"))
    return tg.explain(step)(x).loops


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("name,make,products", CASES, ids=[c[0] for c in CASES])
def test_products_per_step(name, make, products, ragged, rng):
    forward, backward = loops(make(), rng, [6, 0, 3, 1, 6] if ragged else None)
    assert (forward.length, forward.reverse, forward.products) == (T, False, products)
    assert (backward.length, backward.reverse, backward.products) == (T, True, products)


def test_layers_and_directions_have_a_loop_each(rng):
    layer = nn.LSTM(I, H, num_layers=2, bidirectional=True)
    found = loops(layer, rng)
    assert len(found) == 8 and all(loop.products == 1 for loop in found)
    assert sum(loop.reverse for loop in found) == 4


def test_evaluation_saves_nothing(rng):
    layer = nn.GRU(I, H)
    x = tg.tensor(np.zeros((T, B, I), "f4"))

    def run(x):
        with tg.no_grad():
            return layer(x)[0]

    (loop,) = tg.explain(run)(x).loops
    assert loop.products == 1 and loop.residual_bytes == 0
