"""GRU: sample and hold — keeps the value that came with the last mark.

    h_t = (1 - z_t) * n_t + z_t * h_{t-1},  n_t = tanh(W_n x_t + b + r_t * (U_n h_{t-1} + c))

The update gate z = σ(W_z x_t + U_z h_{t-1}) keeps, the reset gate r likewise forgets, and the
network's answer is V h_t. Cho and others, 2014.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score

from tinygrad_rnn import nn

from ._shared import Found, fit, numpy, predict


def signals(rng: np.random.Generator, length: int, count: int):
    """x f32[T,B,2]: values and marks; y f32[T,B,1]: the value at the last mark."""
    values, marks = rng.uniform(-1, 1, (length, count)), rng.random((length, count)) < 0.1
    marks[0] = True
    held = np.maximum.accumulate(np.where(marks, np.arange(length)[:, None], 0), axis=0)
    y = np.take_along_axis(values, held, axis=0)[..., None]
    return np.stack([values, marks], axis=2).astype("f4"), y.astype("f4")


class Holder(nn.Module):
    def __init__(self, hidden: int = 24):
        self.rnn, self.head = nn.GRU(2, hidden), nn.Linear(hidden, 1)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


def learn(run: Run) -> Found:
    net, length = Holder(), 40
    steps = 100 if run.quick else 800
    loss = fit(run, net, predict,
               lambda: signals(run.rng, length, 32), steps, lr=0.02)  # fmt: skip
    x, y = signals(run.rng, length, 200)
    answer = numpy(net, x)
    error, mean = (np.sqrt(np.mean((y - guess) ** 2)) for guess in (answer, 0.0))
    baseline = ("always the mean", mean)
    score = Score("error", error, at_most=0.1, baseline=baseline, form=".2f")

    def draw(axis):
        marks = np.flatnonzero(x[:, 0, 1])
        axis.plot(x[:, 0, 0], color="#BBBBBB", linewidth=1)
        axis.step(range(length), y[:, 0, 0], color="#888888", linewidth=3, where="post")
        axis.step(range(length), answer[:, 0, 0], color="#D55E00", linewidth=1.5, where="post")
        axis.plot(marks, x[marks, 0, 0], "o", color="black", markersize=4)
        axis.set(xticks=[], yticks=[])

    return Found(score, draw, loss)
