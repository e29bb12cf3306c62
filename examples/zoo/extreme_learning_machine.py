"""Extreme learning machine: a hidden layer of random weights, and only the readout is learned.

    h = relu(W x + b) with W, b drawn once;    ŷ = V h,  V = argmin |V H - Y|² + λ |V|²

The picture shows how the digits read right grow with the number of random units. Huang, Zhu, Siew,
2006.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score

import tinygrad_rnn as tg
from tinygrad_rnn import nn

from ._shared import Found, digits, logistic_regression, numpy, ridge


def learn(run: Run) -> Found:
    x, y, x_test, y_test = digits(run.rng)
    sizes = [10, 30, 100, 300, 1000][: 4 if run.quick else 5]
    right = []
    for size in sizes:
        layer = nn.Linear(64, size)

        def hidden(x):
            return tg.relu(layer(2 * x - 1))  # noqa: B023

        readout = ridge(numpy(hidden, x), np.eye(10)[y], penalty=0.1)
        right.append((readout(numpy(hidden, x_test)).argmax(axis=1) == y_test).mean())
    linear = logistic_regression(x, y, x_test, y_test)
    baseline = ("logistic regression", linear)
    score = Score("right", right[-1], at_least=0.97, baseline=baseline)

    def draw(axis):
        axis.semilogx(sizes, right, "o-", color="#D55E00")
        axis.axhline(linear, color="#888888", linestyle="--", linewidth=1.5)
        axis.set(xlabel="random units", ylim=(0, 1.02))

    return Found(score, draw, 1 - right[-1])
