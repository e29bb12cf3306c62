"""Hopfield network: ten digits as memories, recalled from spoiled ones.

    learning:  W ← W + (ξ - W ξ) ξᵀ / N      (a memory that is stored already changes nothing)
    recall:    s ← sign(W s), one unit after the other; the energy -½ sᵀ W s falls

Both are scans. Above spoiled, below recalled. Hopfield, 1982; the rule: Diederich, Opper, 1987.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score, need

import tinygrad_rnn as tg

from ._shared import Found, rows, show


def store(memories: np.ndarray, times: int) -> tg.Tensor:
    """Weights [N,N] in which the memories [M,N] are at rest."""
    n = memories.shape[1]

    def step(w, x):
        return w + tg.outer(x - w @ x, x) / n, None

    return tg.scan(step, tg.zeros((n, n)), np.tile(memories, (times, 1)))[0]


def recall(w: tg.Tensor, states: np.ndarray, order: np.ndarray) -> tg.Tensor:
    """States [B,N] after the units were asked in the given order."""

    def step(s, unit):
        me = tg.one_hot(unit, s.shape[1])
        field = s @ (w @ me) - s @ me * (w @ me @ me)  # without what it says to itself
        return tg.where(me > 0, tg.where(field < 0, -1.0, 1.0)[:, None], s), None

    return tg.scan(step, tg.tensor(states), order)[0]


def learn(run: Run) -> Found:
    found = need("sklearn.datasets", "scikit-learn").load_digits()
    means = np.stack([found.data[found.target == k].mean(axis=0) for k in range(10)])
    memories = np.where(means > 6.5, 1.0, -1.0).astype("f4")
    w = store(memories, 30 if run.quick else 200)
    tries = np.repeat(memories, 20, axis=0)
    spoiled = np.where(run.rng.random(tries.shape) < 0.12, -tries, tries)
    order = np.concatenate([run.rng.permutation(64) for _ in range(5)])
    recalled = recall(w, spoiled, order).numpy()
    right, before = ((s == tries).mean() for s in (recalled, spoiled))
    score = Score("pixels right", right, at_least=0.97, baseline=("spoiled", before))
    return Found(score, show(rows(5, spoiled[7::20], recalled[7::20]), 5), 1 - right)
