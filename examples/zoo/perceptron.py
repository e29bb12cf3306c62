"""Perceptron: tells a kind of iris from the others by the size of its sepals.

    ŷ = sign(w·x + b);    where y ≠ ŷ:  w ← w + y x,  b ← b + y,    y = ±1

Reading the flowers once is one scan, whose carry are the weights. Rosenblatt, 1958.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score, need

import tinygrad_rnn as tg

from ._shared import Found, halves, regions


def learn(run: Run) -> Found:
    iris = need("sklearn.datasets", "scikit-learn").load_iris()
    sepals = iris.data[:, :2] - iris.data[:, :2].mean(axis=0)
    x, y, x_test, y_test = halves(run.rng, sepals, (iris.target == 0).astype(int), test=0.4)

    def look(carry, flower):
        (w, b), (x, y) = carry, flower
        wrong = y * ((w * x).sum() + b) <= 0
        return (tg.where(wrong, w + y * x, w), tg.where(wrong, b + y, b)), wrong

    weights, signs, mistakes = (tg.zeros(2), tg.zeros(())), (2 * y - 1).astype("f4"), []
    for _ in run.steps(3 if run.quick else 20):
        weights, wrong = tg.scan(look, weights, (x, signs))
        mistakes.append(wrong.numpy().mean())

    w, b = (value.numpy() for value in weights)
    right = ((x_test @ w + b > 0) == y_test).mean()
    guess = max(np.mean(y_test), 1 - np.mean(y_test))
    score = Score("right", right, at_least=0.95, baseline=("always the same answer", guess))
    return Found(score, regions(lambda p: p @ w + b, sepals, iris.target == 0), mistakes[-1])
