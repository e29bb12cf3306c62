"""Feed-forward network: tells two half-moons apart, with one hidden layer.

    h = tanh(W x + b),  ŷ = softmax(V h + c),  L = -Σ_k y_k log ŷ_k

Rumelhart, Hinton, Williams, 1986.
"""

from __future__ import annotations

from _common import Run, Score

from ._shared import (
    Found,
    classify,
    fit,
    logistic_regression,
    minibatches,
    mlp,
    moons,
    numpy,
    regions,
)


def learn(run: Run) -> Found:
    x, y, x_test, y_test = moons(run.rng)
    net = mlp(2, 16, 2)
    batch = minibatches(run.rng, 100, x, y)
    steps = 150 if run.quick else 600
    loss = fit(run, net, classify, batch, steps, lr=0.05)
    right = (numpy(net, x_test).argmax(axis=1) == y_test).mean()
    baseline = ("logistic regression", logistic_regression(x, y, x_test, y_test))
    score = Score("right", right, at_least=0.94, baseline=baseline)

    def difference(points):
        o = numpy(net, points)
        return o[:, 1] - o[:, 0]

    return Found(score, regions(difference, x_test, y_test), loss)
