"""Kohonen network: a map of the digits, on which neighbours are alike.

    k* = argmin_k |x - w_k|;    w_k ← w_k + η exp(-|place_k - place_k*|² / 2 r²) (x - w_k)

The rate η and the radius r fall while it looks. No label is used; afterwards each unit takes the
label of the digits that chose it. Kohonen, 1982.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score

import tinygrad_rnn as tg

from ._shared import Found, digits, show

SIDE = 9


def learn(run: Run) -> Found:
    x, y, x_test, y_test = digits(run.rng)
    places = np.stack(np.mgrid[:SIDE, :SIDE], axis=-1).reshape(-1, 2).astype("f4")
    away = tg.tensor(((places[:, None] - places) ** 2).sum(axis=2))
    looks = 1000 if run.quick else 8000
    left = np.linspace(1, 0, looks, dtype="f4")

    def step(w, given):
        x, left = given
        nearest = ((w - x) ** 2).sum(axis=1).argmin()
        radius = 0.6 + 0.4 * SIDE * left * left
        near = tg.exp(-tg.take(away, nearest, 0) / (2 * radius * radius))
        return w + (0.02 + 0.3 * left) * near[:, None] * (x - w), None

    order = run.rng.integers(len(x), size=looks)
    w, _ = tg.scan(step, tg.tensor(x[:81]), (x[order], left))
    w = w.numpy()

    def unit(x):
        return ((x[:, None] - w) ** 2).sum(axis=2).argmin(axis=1)

    votes = np.zeros((len(w), 10))
    np.add.at(votes, (unit(x), y), 1)
    right = (votes.argmax(axis=1)[unit(x_test)] == y_test).mean()
    score = Score("right", right, at_least=0.85, baseline=("guessing", 0.1))
    return Found(score, show(w.reshape(-1, 8, 8), SIDE), 1 - right)
