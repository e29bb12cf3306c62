"""Denoising auto-encoder: cleans digits of which it saw only spoiled ones beside clean ones.

    x̃ = x + noise, half of its pixels gone;    L = mean (x - g(f(x̃)))²

Above spoiled, in the middle restored, below the truth. Vincent and others, 2008.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score

from tinygrad_rnn import nn

from ._shared import Found, digits, fit, minibatches, mlp, numpy, pca, predict, rows, show


def spoil(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    kept = rng.random(x.shape) < 0.5
    return np.where(kept, x + rng.normal(scale=0.1, size=x.shape), 0).astype("f4")


def learn(run: Run) -> Found:
    x, _, x_test, _ = digits(run.rng)
    net, images = mlp(64, 128, 128, 64, activation=nn.ReLU), minibatches(run.rng, 100, x)

    def pairs():
        (clean,) = images()
        return spoil(run.rng, clean), clean

    steps = 150 if run.quick else 2000
    loss = fit(run, net, predict, pairs, steps, lr=0.005)
    bad = spoil(run.rng, x_test)
    error = ((numpy(net, bad) - x_test) ** 2).mean()
    baseline = ("10 principal components", ((pca(spoil(run.rng, x), bad, 10) - x_test) ** 2).mean())
    score = Score("squared error", error, at_most=0.04, baseline=baseline, form=".3f")
    sheet = rows(6, bad[:12], numpy(net, bad[:12]), x_test[:12])
    return Found(score, show(sheet, 6, vmin=0, vmax=1), loss)
