"""Support vector machine: two half-moons, told apart by few of their points.

    f(x) = Σ_i α_i K(x_i, x) + b,  K(x, y) = exp(-γ |x - y|²)
    L = ½ αᵀ K α + C Σ_i max(0, 1 - y_i f(x_i))

Circles: the support vectors, for which y f(x) <= 1. Cortes, Vapnik, 1995.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score

import tinygrad_rnn as tg
from tinygrad_rnn import nn

from ._shared import Found, fit, logistic_regression, moons, regions


class Machine(nn.Module):
    def __init__(self, points: np.ndarray, gamma: float = 2.0):
        self.alpha, self.b = nn.Parameter(tg.zeros(len(points))), nn.Parameter(tg.zeros(()))
        self.points, self.gamma = points, gamma

    def kernel(self, x: np.ndarray) -> np.ndarray:
        return np.exp(-self.gamma * ((x[:, None] - self.points) ** 2).sum(axis=2))

    def loss(self, k, y, c: float = 1.0):
        told = k @ self.alpha
        slack = tg.maximum(0.0, 1 - y * (told + self.b)).sum()
        return (0.5 * (self.alpha * told).sum() + c * slack) / len(y)

    def score(self, x: np.ndarray) -> np.ndarray:
        return self.kernel(x) @ self.alpha.detach().numpy() + self.b.item()


def learn(run: Run) -> Found:
    x, y, x_test, y_test = moons(run.rng, 400)
    machine, signs = Machine(x), (2 * y - 1).astype("f4")
    k = machine.kernel(x)
    steps = 150 if run.quick else 800
    loss = fit(run, machine, Machine.loss, lambda: (k, signs), steps, lr=0.03)
    right = ((machine.score(x_test) > 0) == y_test).mean()
    baseline = ("logistic regression", logistic_regression(x, y, x_test, y_test))
    score = Score("right", right, at_least=0.94, baseline=baseline)
    support = x[signs * machine.score(x) <= 1.001]
    plane = regions(machine.score, x, y)

    def draw(axis):
        plane(axis)
        axis.plot(*support.T, "o", markerfacecolor="none", color="black", markersize=6, linewidth=1)

    return Found(score, draw, loss)
