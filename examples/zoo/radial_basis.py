"""Radial basis network: a curve made of bumps, from noisy points.

    φ_k(x) = exp(-|x - m_k|² / 2 s_k²),  ŷ = Σ_k v_k φ_k(x) + c,  L = mean (y - ŷ)²

Places m, widths s and heights v of the bumps are learned. Broomhead, Lowe, 1988.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score

import tinygrad_rnn as tg
from tinygrad_rnn import nn

from ._shared import Found, fit, numpy, predict


class RadialBasis(nn.Module):
    """x [B] -> ŷ [B], and the K bumps [B,K] of which it is the sum."""

    def __init__(self, places: np.ndarray):
        self.m, self.v = nn.Parameter(places), nn.Parameter(tg.zeros(len(places)))
        self.log_s, self.c = nn.Parameter(tg.zeros(len(places))), nn.Parameter(tg.zeros(()))

    def bumps(self, x):
        z = (x[:, None] - self.m) * tg.exp(-self.log_s)
        return self.v * tg.exp(-0.5 * z * z)

    def forward(self, x):
        return self.bumps(x).sum(axis=1) + self.c


def learn(run: Run) -> Found:
    x = np.sort(run.rng.uniform(-5, 5, size=120)).astype("f4")
    clean = (np.sin(2 * x) * np.exp(-x * x / 12) + x / 4).astype("f4")
    y = clean + run.rng.normal(scale=0.15, size=x.shape).astype("f4")
    net = RadialBasis(np.linspace(-5, 5, 10, dtype="f4"))
    steps = 150 if run.quick else 1000
    loss = fit(run, net, predict, lambda: (x, y), steps, lr=0.05)
    error = np.sqrt(np.mean((numpy(net, x) - clean) ** 2))
    cubic = np.sqrt(np.mean((np.polyval(np.polyfit(x, y, 9), x) - clean) ** 2))
    baseline = ("polynomial of degree 9", cubic)
    score = Score("distance from the curve", error, at_most=0.1, baseline=baseline, form=".2f")

    def draw(axis):
        axis.plot(x, numpy(net.bumps, x), color="#88AACC", linewidth=1)
        axis.plot(x, y, ".", color="#888888", markersize=3)
        axis.plot(x, numpy(net, x), color="#D55E00", linewidth=2)
        axis.set(xticks=[], yticks=[], ylim=(-2.5, 2.5))

    return Found(score, draw, loss)
