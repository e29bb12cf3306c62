"""Generative adversarial network: makes points on a ring, against a judge who knows the ring.

    judge:   L_D = -log D(x) - log(1 - D(G(z)))        generator:   L_G = -log D(G(z))

Grey the true points, orange the made ones, blue where the judge says "true". Goodfellow and
others, 2014.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim
from tinygrad_rnn.nn import functional as F

from ._shared import Found, mlp, numpy


def ring(rng: np.random.Generator, count: int) -> np.ndarray:
    angle, radius = rng.uniform(0, 2 * np.pi, count), rng.normal(1, 0.05, count)
    return (radius * np.stack([np.cos(angle), np.sin(angle)])).T.astype("f4")


def learn(run: Run) -> Found:
    generator = mlp(2, 32, 32, 2, activation=nn.ReLU)
    judge = mlp(2, 64, 64, 1, activation=nn.ReLU)
    forger, expert = (
        optim.Adam(m.parameters(), 2e-3, betas=(0.5, 0.99)) for m in (generator, judge)
    )
    cross_entropy = F.binary_cross_entropy_with_logits

    @tg.jit
    def step(x, z):
        made = generator(z)
        true, false = judge(x), judge(made.detach())
        loss = cross_entropy(true, tg.ones_like(true)) + cross_entropy(false, tg.zeros_like(false))
        expert.zero_grad()
        loss.backward()
        expert.step()
        forger.zero_grad()
        believed = judge(made)
        cross_entropy(believed, tg.ones_like(believed)).backward()
        forger.step()
        return loss

    def noise(count):
        return run.rng.normal(size=(count, 2)).astype("f4")

    for _ in run.steps(400 if run.quick else 3000, model=generator):
        loss = run.show(step(ring(run.rng, 128), noise(128)))

    def on_ring(points):
        """Points within three standard deviations of the ring, and the quarters that they fill."""
        near = abs(np.hypot(*points.T) - 1) < 0.15
        share = np.histogram(np.arctan2(*points[near].T), 8, (-np.pi, np.pi))[0] / len(points)
        return np.minimum(share, 1 / 8).sum()

    true, made = ring(run.rng, 1000), numpy(generator, noise(1000))
    blind = run.rng.multivariate_normal(true.mean(axis=0), np.cov(true.T), 1000)
    baseline = ("normal distribution", on_ring(blind))
    score = Score("of the ring made", on_ring(made), at_least=0.7, baseline=baseline)

    def draw(axis):
        line = np.linspace(-1.6, 1.6, 80, dtype="f4")
        plane = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
        view = numpy(judge, plane).reshape(80, 80)
        axis.contourf(line, line, np.tanh(view), 8, cmap="Blues", alpha=0.5)
        axis.plot(*true[:400].T, ".", color="#888888", markersize=2)
        axis.plot(*made[:400].T, ".", color="#D55E00", markersize=2)
        axis.set(xticks=[], yticks=[], aspect="equal")

    return Found(score, draw, loss)
