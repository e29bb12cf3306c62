"""Deep feed-forward network: tells two spirals apart, with three hidden layers.

    h_1 = tanh(W_1 x + b_1),  h_l = tanh(W_l h_{l-1} + b_l),  ŷ = softmax(V h_3 + c)

The task is Lang and Witbrock's, 1988.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score

from ._shared import Found, classify, fit, halves, minibatches, mlp, numpy, regions


def spirals(rng: np.random.Generator, count: int, turns: float):
    """Two spirals of `turns` turns that wind around each other."""
    kind = rng.integers(2, size=count)
    t = np.sqrt(rng.uniform(0.01, 1, size=count))
    angle = 2 * np.pi * turns * t + np.pi * kind
    x = 2 * t[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return halves(rng, x + rng.normal(scale=0.04, size=x.shape), kind)


def learn(run: Run) -> Found:
    x, y, x_test, y_test = spirals(run.rng, 1000, 1.0 if run.quick else 1.75)
    batch = minibatches(run.rng, 100, x, y)
    steps, right = 300 if run.quick else 1500, {}
    for hidden in ([16], [32, 32, 32]):
        net = mlp(2, *hidden, 2)
        loss = fit(run, net, classify, batch, steps, lr=0.02)
        right[len(hidden)] = (numpy(net, x_test).argmax(axis=1) == y_test).mean()
    score = Score("right", right[3], at_least=0.95, baseline=("one hidden layer", right[1]))

    def difference(points):
        o = numpy(net, points)
        return o[:, 1] - o[:, 0]

    return Found(score, regions(difference, x_test, y_test), loss)
