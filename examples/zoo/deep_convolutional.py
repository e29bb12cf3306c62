"""Deep convolutional network: reads digits.

    y[o] = relu(norm(Σ_c w[o,c] ∗ x[c] + b[o])), pooled; twice; then ŷ = softmax(V y + c)

The picture shows a digit and what the 16 filters of the first layer see in it. LeCun and others,
1989; batch normalization: Ioffe, Szegedy, 2015.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score

from tinygrad_rnn import nn

from ._shared import (
    Found,
    classify,
    digits,
    fit,
    logistic_regression,
    minibatches,
    numpy,
    show,
)


def learn(run: Run) -> Found:
    x, y, x_test, y_test = digits(run.rng)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip
    steps = 60 if run.quick else 300
    batch = minibatches(run.rng, 64, x.reshape(-1, 1, 8, 8), y)
    loss = fit(run, net, classify, batch, steps)
    seen = x_test.reshape(-1, 1, 8, 8)
    right = (numpy(net, seen).argmax(axis=1) == y_test).mean()
    baseline = ("logistic regression", logistic_regression(x, y, x_test, y_test))
    score = Score("right", right, at_least=0.98, baseline=baseline)
    maps = numpy(lambda x: net[2](net[1](net[0](x))), seen[:1])[0]
    maps = maps / maps.max(axis=(1, 2), keepdims=True).clip(1e-9)
    return Found(score, show(np.concatenate([seen[0], maps])[:15], 5), loss)
