"""Variational auto-encoder: digits that nobody wrote, from every place of a plane.

    z = μ(x) + σ(x) ε,  ε ~ N(0, 1),    -ELBO = -log p(x|z) + KL(N(μ, σ²) ‖ N(0, 1))

The picture walks over the plane z. Kingma, Welling, 2014.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score, need

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn import functional as F

from ._shared import Found, digits, fit, minibatches, mlp, numpy, show


class Variational(nn.Module):
    def __init__(self) -> None:
        self.encoder, self.decoder = mlp(64, 64, 4), mlp(2, 64, 64)

    def bound(self, x, noise):
        """-ELBO in nats for each image: an upper bound of -log p(x)."""
        mu, log_s = tg.split(self.encoder(x), 2, axis=1)
        pixels = self.decoder(mu + tg.exp(log_s) * noise)
        told = F.binary_cross_entropy_with_logits(pixels, x, reduction="none").sum(axis=1)
        return told + 0.5 * (tg.exp(2 * log_s) + mu * mu - 1 - 2 * log_s).sum(axis=1)


def learn(run: Run) -> Found:
    x, _, x_test, _ = digits(run.rng)
    net, draw_images = Variational(), minibatches(run.rng, 100, x)

    def noisy(rows):
        return rows, run.rng.normal(size=(len(rows), 2)).astype("f4")

    steps = 200 if run.quick else 2000
    loss = fit(run, net, lambda net, x, noise: net.bound(x, noise).mean(),
               lambda: noisy(*draw_images()), steps)  # fmt: skip
    nats = numpy(net.bound, *noisy(x_test)).mean()
    p = np.clip(x.mean(axis=0), 1e-3, 1 - 1e-3)  # every pixel for itself
    alone = -(x_test * np.log(p) + (1 - x_test) * np.log(1 - p)).sum(axis=1).mean()
    score = Score("nats per image", nats, at_most=28, baseline=("pixels alone", alone), form=".1f")
    steps = need("statistics").NormalDist().inv_cdf
    line = np.array([steps(p) for p in np.linspace(0.03, 0.97, 11)], "f4")
    plane = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    images = numpy(lambda z: tg.sigmoid(net.decoder(z)), plane).reshape(-1, 8, 8)
    return Found(score, show(images, 11), loss)
