"""Boltzmann machine: the encoder problem — four messages through three hidden units.

    P(s) = exp(½ sᵀ W s + bᵀ s) / Z,    ∂ log P(v) / ∂w_ij = <s_i s_j>_v - <s_i s_j>

All units may be connected; with eleven of them Z is a sum over 2048 states, so the learning rule is
the derivative of log P. Two groups of four units must show the same message. Ackley, Hinton,
Sejnowski, 1985.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from _common import Run, Score

import tinygrad_rnn as tg
from tinygrad_rnn import nn

from ._shared import Found, fit

VISIBLE, HIDDEN = 8, 3


class Boltzmann(nn.Module):
    def __init__(self, units: int, rng: np.random.Generator):
        self.w = nn.Parameter(rng.normal(scale=0.3, size=(units, units)).astype("f4"))
        self.b = nn.Parameter(tg.zeros(units))
        states = np.array(list(itertools.product((0, 1), repeat=units)), "f4")
        self.states = states.reshape(2**VISIBLE, 2**HIDDEN, units)
        between = np.ones((units, units), "f4") - np.eye(units, dtype="f4")
        between[:4, 4:8] = between[4:8, :4] = 0  # the two groups don't see each other
        self.allowed = between

    def weights(self):
        return 0.5 * (self.w + self.w.T) * self.allowed

    def log_p(self):
        """log P of every visible state [256]."""
        s = tg.tensor(self.states)
        likes = 0.5 * (s @ self.weights() * s).sum(axis=2) + s @ self.b
        return tg.logsumexp(likes, axis=1) - tg.logsumexp(likes)


def learn(run: Run) -> Found:
    one_hot = np.eye(4, dtype=int)
    wanted = (np.concatenate([one_hot, one_hot], axis=1) * 2 ** np.arange(8)[::-1]).sum(axis=1)
    steps, starts, divergence = 150 if run.quick else 800, 1 if run.quick else 8, math.inf
    while divergence > 0.1 and starts:  # from some starts two messages get the same code for good
        net, starts = Boltzmann(VISIBLE + HIDDEN, run.rng), starts - 1
        fit(run, net, lambda net: -net.log_p()[wanted].mean(), tuple, steps, lr=0.1)
        logs = net.log_p().detach().numpy()
        divergence = -logs[wanted].mean() / math.log(2) - 2
    alone = 8 * (0.25 * 2 + 0.75 * math.log2(4 / 3)) - 2
    score = Score("bits from the truth", divergence, at_most=0.1,
                  baseline=("units alone", alone), form=".2f")  # fmt: skip
    w = net.weights().detach().numpy()

    def draw(axis):
        axis.imshow(w, cmap="RdBu_r", vmin=-abs(w).max(), vmax=abs(w).max())
        names = [*"1234", *"1234", *"h" * HIDDEN]
        axis.set_xticks(range(len(w)), names, fontsize=8)
        axis.set_yticks(range(len(w)), names, fontsize=8)
        axis.set_xlabel(f"P(the four messages) = {np.exp(logs[wanted]).sum():.2f}", fontsize=8)
        axis.grid(False)

    return Found(score, draw, divergence)
