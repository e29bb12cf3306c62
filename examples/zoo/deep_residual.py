"""Deep residual network: thirty layers that learn, because each only adds to what it gets.

    plain:  h_l = tanh(W_l h_{l-1} + b_l)        residual:  h_l = h_{l-1} + tanh(W_l h_{l-1} + b_l)

The picture shows both losses. He, Zhang, Ren, Sun, 2016.
"""

from __future__ import annotations

import numpy as np
from _common import COLORS, Run, Score

import tinygrad_rnn as tg
from tinygrad_rnn import nn

from ._shared import Found, classify, digits, fit, minibatches, numpy


class Deep(nn.Module):
    def __init__(self, depth: int, residual: bool, width: int = 32):
        self.first, self.head, self.residual = nn.Linear(64, width), nn.Linear(width, 10), residual
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))

    def forward(self, x):
        h = self.first(x)
        for layer in self.layers:
            h = tg.tanh(layer(h)) + (h if self.residual else 0)
        return self.head(h)


def learn(run: Run) -> Found:
    x, y, x_test, y_test = digits(run.rng)
    depth, steps = (12, 60) if run.quick else (30, 300)
    right, curves = {}, {}
    for name in ("plain", "residual"):
        net = Deep(depth, residual=name == "residual")
        batch = minibatches(run.rng, 64, x, y)
        loss = fit(run, net, classify, batch, steps, lr=0.003)
        curves[name] = run.shown
        right[name] = (numpy(net, x_test).argmax(axis=1) == y_test).mean()
    score = Score("right", right["residual"], at_least=0.95, baseline=("plain", right["plain"]))

    def draw(axis):
        for (name, curve), color in zip(curves.items(), ("#888888", COLORS[1])):
            axis.plot(np.convolve(curve, np.ones(9) / 9, "valid"), color=color, label=name)
        axis.legend(fontsize=8)
        axis.set(xlabel="step", ylabel="L", ylim=(0, 2.6))

    return Found(score, draw, loss)
