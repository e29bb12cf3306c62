"""LSTM: remembers through 60 steps of noise whether the first value was up or down.

    C_t = f_t * C_{t-1} + i_t * C̃_t,  h_t = o_t * tanh(C_t),  ŷ = σ(V h_T + c)

The gates f, i, o are σ(W·[h_{t-1}, x_t] + b), C̃_t = tanh(W_C·[h_{t-1}, x_t] + b_C); the forget gate
starts open. Hochreiter, Schmidhuber, 1997.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn import functional as F

from ._shared import Found, fit, numpy


def sequences(rng: np.random.Generator, length: int, count: int):
    """x f32[T,B,1]: ±1, then noise; and which it was."""
    up = rng.integers(2, size=count)
    x = rng.normal(scale=0.7, size=(length, count, 1))
    x[0, :, 0] = 2 * up - 1
    return x.astype("f4"), up.astype("f4")


class Memory(nn.Module):
    def __init__(self, rnn: nn.Module):
        self.rnn, self.head = rnn, nn.Linear(12, 1)

    def forward(self, x):
        return self.head(self.rnn(x)[0][-1])[:, 0]

    def loss(self, x, y):
        return F.binary_cross_entropy_with_logits(self(x), y)


def learn(run: Run) -> Found:
    length, steps = (30, 60) if run.quick else (60, 400)
    x_test, up = sequences(run.rng, length, 500)
    right = {}
    for name, rnn in {"tanh RNN": nn.RNN(1, 12), "LSTM": nn.LSTM(1, 12, forget_bias=6.0)}.items():
        net = Memory(rnn)
        loss = fit(run, net, Memory.loss, lambda: sequences(run.rng, length, 64), steps, lr=0.01)
        right[name] = ((numpy(net, x_test) > 0) == up).mean()
    score = Score("right", right["LSTM"], at_least=0.99, baseline=("tanh RNN", right["tanh RNN"]))

    def cells(x):
        _, cell = next(rnn.cells())

        def step(carry, x):
            carry, _ = cell(carry, x)
            return carry, carry[1]

        return tg.scan(step, cell.initial_carry((len(up),)), x)[1]

    c = numpy(cells, x_test)
    k = np.argmax(abs(np.corrcoef(c[-1].T, up)[-1, :-1]))

    def draw(axis):
        for kind, color in enumerate(("#2166AC", "#B2182B")):
            axis.plot(c[:, up == kind, k][:, :12], color=color, linewidth=1)
            axis.text(
                length + 1,
                c[-1, up == kind, k].mean(),
                "down up".split()[kind],
                color=color,
                fontsize=9,
            )
        axis.set(xlabel="t", ylabel="C_t", xticks=[0, length], yticks=[])

    return Found(score, draw, loss)
