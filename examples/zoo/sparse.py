"""Sparse auto-encoder: more units than pixels, of which few speak for each digit.

    h = relu(W x + b),  x̂ = V h + c,  L = Σ (x - x̂)² + λ Σ_j |h_j| |v_j|

|v_j| is the length of a unit's contribution. The picture shows the strokes v_j. Olshausen,
Field, 1996; Ng, 2011.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score

import tinygrad_rnn as tg
from tinygrad_rnn import nn

from ._shared import Found, digits, fit, minibatches, numpy, pca, show


class Sparse(nn.Module):
    def __init__(self, units: int = 100):
        self.encoder, self.decoder = nn.Linear(64, units), nn.Linear(units, 64)

    def code(self, x):
        return tg.relu(self.encoder(x))

    def loss(self, x, price: float = 0.15):
        h = self.code(x)
        spoken = (h * tg.norm(self.decoder.weight, axis=0)).sum(axis=1)
        return (((self.decoder(h) - x) ** 2).sum(axis=1) + price * spoken).mean()


def learn(run: Run) -> Found:
    x, _, x_test, _ = digits(run.rng)
    net = Sparse()
    steps = 200 if run.quick else 2000
    loss = fit(run, net, Sparse.loss, minibatches(run.rng, 100, x), steps)
    h = numpy(net.code, x_test)
    strokes = net.decoder.weight.detach().numpy().T
    loud = h * np.linalg.norm(strokes, axis=1) > 0.05  # what adds less than that nobody sees
    speaking = loud.sum(axis=1).mean()
    error = ((numpy(lambda h: net.decoder(h), np.where(loud, h, 0)) - x_test) ** 2).mean()
    same = pca(x, x_test, max(round(float(speaking)), 1))
    baseline = (f"{speaking:.0f} principal components", ((same - x_test) ** 2).mean())
    score = Score(f"squared error with {speaking:.0f} of {h.shape[1]} units", error,
                  at_most=0.02, baseline=baseline, form=".3f")  # fmt: skip
    order = np.argsort(-loud.mean(axis=0))
    images = strokes[order[:36]].reshape(-1, 8, 8)
    images = images / (abs(images).max(axis=(1, 2), keepdims=True) + 1e-9)
    return Found(score, show(images, 6, cmap="RdBu_r", vmin=-1, vmax=1), loss)
