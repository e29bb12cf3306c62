"""Liquid state machine: spiking neurons that were never trained tell two rhythms apart.

    v(t) = λ v(t-1) + W s(t-1) + U x(t);   a neuron fires, s = 1, where v > 1, and loses 1

Both rhythms have the same number of spikes on every line, only at other times; a linear readout
sees the liquid's smoothed spikes at the end. The picture shows who fired when. Maass,
Natschläger, Markram, 2002.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score

import tinygrad_rnn as tg

from ._shared import Found, numpy, ridge

LINES, NEURONS, T = 8, 120, 60


def learn(run: Run) -> Found:
    rng = run.rng
    rhythms = np.stack(
        [rng.permuted(np.tile(np.arange(T) < 6, (LINES, 1)), axis=1).T for _ in range(2)]
    )

    def spikes(count):
        """Spikes f32[T,B,8]: a rhythm, each spike moved by up to two steps; and which it is."""
        kind = rng.integers(2, size=count)
        t, line = (a.reshape(2, -1) for a in np.nonzero(rhythms)[1:])
        x = np.zeros((T, count, LINES), "f4")
        for b, k in enumerate(kind):
            x[np.clip(t[k] + rng.integers(-2, 3, size=t[k].shape), 0, T - 1), b, line[k]] = 1
        return x, kind

    excites = np.where(rng.random(NEURONS) < 0.8, 1.0, -2.0)[:, None]
    near = rng.random((NEURONS, NEURONS)) < 0.1
    w = tg.tensor((excites * near * rng.gamma(2, 0.04, near.shape)).astype("f4"))
    u = tg.tensor((rng.random((LINES, NEURONS)) < 0.3).astype("f4") * 0.5)

    def liquid(x):
        def step(carry, x):
            v, s, trace = carry
            v = 0.9 * v + s @ w + x @ u
            s = (v > 1).astype("float32")
            return (v - s, s, 0.95 * trace + s), s

        zero = tg.zeros((x.shape[1], NEURONS))
        (_, _, trace), s = tg.scan(step, (zero, zero, zero), x)
        return trace, s

    x, kind = spikes(100 if run.quick else 400)
    x_test, kind_test = spikes(200)
    right = {}
    for name, see in {
        "counting spikes": lambda x: x.sum(axis=0),
        "liquid": lambda x: numpy(lambda x: liquid(x)[0], x),
    }.items():
        readout = ridge(see(x), 2.0 * kind - 1, penalty=10.0)
        right[name] = ((readout(see(x_test)) > 0) == kind_test).mean()
    score = Score("right", right["liquid"], at_least=0.9, baseline=next(iter(right.items())))
    raster = numpy(lambda x: liquid(x)[1], x_test[:, :1])[:, 0]

    def draw(axis):
        axis.plot(*np.nonzero(raster), "|", color="black", markersize=2)
        t, line = np.nonzero(x_test[:, 0])
        axis.plot(t, line - LINES - 2, "|", color="#D55E00", markersize=3)
        axis.set(xticks=[], yticks=[], xlabel="t", ylabel="input, neurons")
        axis.grid(False)

    return Found(score, draw, 1 - right["liquid"])
