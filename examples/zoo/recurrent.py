"""Recurrent network: learns a melody of two waves, then hums it alone.

    h(t) = tanh(W h(t-1) + U x(t) + b),  x̂(t+1) = V h(t) + c,  L = mean (x(t+1) - x̂(t+1))²

It reads 60 values; after that it reads its own. Elman, 1990.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn import functional as F

from ._shared import Found, fit, numpy

READ, HUM = 60, 60


class Singer(nn.Module):
    def __init__(self, hidden: int = 32):
        self.rnn, self.head = nn.RNN(1, hidden), nn.Linear(hidden, 1)

    def forward(self, x):
        return self.head(self.rnn(x)[0])

    def hum(self, x):
        """The HUM values that follow x [T,B,1]."""
        y, h = self.rnn(x)

        def step(carry, _):
            h, x = carry
            y, h = self.rnn(x[None], h)
            return (h, self.head(y[0])), x

        return tg.scan(step, (h, self.head(y[-1])), None, length=HUM)[1]


def waves(rng: np.random.Generator, length: int, count: int) -> np.ndarray:
    """[T,B,1]: a slow and a fast wave, each starting anywhere."""
    t = np.arange(length)[:, None]
    a, b = rng.uniform(0, 2 * np.pi, size=(2, count))
    return (0.6 * np.sin(t / 6 + a) + 0.4 * np.sin(t / 2.5 + b))[..., None].astype("f4")


def learn(run: Run) -> Found:
    net = Singer()
    steps = 150 if run.quick else 1500
    loss = fit(run, net, lambda net, x: F.mse_loss(net(x[:-1]), x[1:]),
               lambda: [waves(run.rng, READ, 16)], steps)  # fmt: skip
    true = waves(run.rng, READ + HUM, 50)
    hummed = numpy(net.hum, true[:READ])
    error, still = (np.sqrt(np.mean((y - true[READ:]) ** 2)) for y in (hummed, true[READ - 1]))
    baseline = ("holding the last value", still)
    score = Score("error while humming", error, at_most=0.2, baseline=baseline, form=".2f")

    def draw(axis):
        axis.plot(true[:, 0, 0], color="#888888", linewidth=2)
        axis.plot(range(READ, READ + HUM), hummed[:, 0, 0], color="#D55E00", linewidth=2)
        axis.axvline(READ, color="black", linewidth=1, linestyle=":")
        axis.set(xticks=[], yticks=[])

    return Found(score, draw, loss)
