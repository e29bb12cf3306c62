"""Restricted Boltzmann machine: completes digits of which the lower half is gone.

    P(v, h) ∝ exp(vᵀ W h + bᵀ v + cᵀ h),    F(v) = -bᵀ v - Σ_j log(1 + exp(c_j + v·w_j))
    contrastive divergence:  L = mean F(data) - mean F(data after k steps of Gibbs sampling)

The derivative of the free energy F is Hinton's learning rule, 2002. Above the upper halves with
the machine's lower ones, below the truth.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score

import tinygrad_rnn as tg
from tinygrad_rnn import nn

from ._shared import Found, digits, fit, minibatches, numpy, rows, show


class RBM(nn.Module):
    """Binary units v [B,V] and h [B,H]; grey pixels are taken as probabilities."""

    def __init__(self, visible: int, hidden: int):
        self.w = nn.Parameter(tg.random.default_generator().normal((visible, hidden), std=0.05))
        self.b, self.c = nn.Parameter(tg.zeros(visible)), nn.Parameter(tg.zeros(hidden))

    def free_energy(self, v):
        return -(v @ self.b) - tg.softplus(v @ self.w + self.c).sum(axis=1)

    def up(self, v):
        return tg.sigmoid(v @ self.w + self.c)

    def down(self, h):
        return tg.sigmoid(h @ self.w.T + self.b)

    def gibbs(self, v, steps: int):
        """v after some steps of sampling h and v in turn; the last v as probabilities."""
        for _ in range(steps):
            v = self.down(sample(self.up(v)))
        return v

    def loss(self, v):
        with tg.no_grad():
            dreamt = self.gibbs(v, 3)
        return (self.free_energy(v) - self.free_energy(dreamt)).mean()


def sample(p: tg.Tensor) -> tg.Tensor:
    drawn = tg.random.default_generator(p.backend).uniform(p.shape)
    return (drawn < p).astype(p.dtype)


def learn(run: Run) -> Found:
    x, _, x_test, _ = digits(run.rng)
    net = RBM(64, 100)
    steps = 150 if run.quick else 2000
    loss = fit(run, net, RBM.loss, minibatches(run.rng, 100, x), steps)
    known = np.arange(64) < 32
    mean = x.mean(axis=0)
    v, dreams = np.where(known, x_test, mean), []
    for _ in range(40):
        v = np.where(known, x_test, numpy(lambda v: net.gibbs(v, 1), v.astype("f4")))
        dreams.append(v)
    filled = np.mean(dreams[10:], axis=0)
    error, guess = (((y - x_test) ** 2)[:, 32:].mean() for y in (filled, mean))
    score = Score("squared error of the lower half", error, at_most=0.06,
                  baseline=("mean digit", guess), form=".3f")  # fmt: skip
    return Found(score, show(rows(6, filled[:18], x_test[:18]), 6), loss)
