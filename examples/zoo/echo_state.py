"""Echo state network: continues the chaotic series of Mackey and Glass by itself.

    h(t) = (1 - a) h(t-1) + a tanh(W h(t-1) + U x(t)),  x̂(t+1) = V [h(t), x(t)]

W is random with spectral radius below 1, so that the echo of the past fades; only V is learned, by
linear regression. Jaeger, 2001. The series: ẋ = 0.2 x(t-17) / (1 + x(t-17)¹⁰) - 0.1 x.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score

import tinygrad_rnn as tg

from ._shared import Found, ridge

AHEAD, LEAK = 84, 0.6


def mackey_glass(length: int) -> np.ndarray:
    x = [1.2] * 18
    for _ in range(10 * length + 1000):  # steps of 0.1
        late = x[-171] if len(x) > 171 else 1.2
        x.append(x[-1] + 0.1 * (0.2 * late / (1 + late**10) - 0.1 * x[-1]))
    return (np.array(x[-10 * length :: 10]) - 0.9) * 2


def learn(run: Run) -> Found:
    size = 150 if run.quick else 400
    w = run.rng.normal(size=(size, size)) * (run.rng.random((size, size)) < 10 / size)
    w = tg.tensor(0.95 * w / abs(np.linalg.eigvals(w)).max())
    u = tg.tensor(run.rng.uniform(-0.5, 0.5, size=(1, size)))

    def echo(h, x):
        h = (1 - LEAK) * h + LEAK * tg.tanh(h @ w + x @ u)
        return h, h

    seen = 1000 if run.quick else 3000
    series = mackey_glass(seen + AHEAD + 400)[:, None]
    h, states = tg.scan(echo, tg.zeros((size,), dtype="float64"), series[: seen - 1])
    known = np.concatenate([states.numpy(), series[: seen - 1]], axis=1)[100:]
    readout = ridge(known, series[101:seen], penalty=1e-6)

    def alone(h, x, steps):
        """What the network says when it hears itself."""
        said = []
        for _ in range(steps):
            h, _ = echo(h, x)
            x = readout(np.concatenate([h.numpy(), x])[None])[0]
            said.append(x)
        return np.array(said)

    said, true = alone(h, series[seen - 1], AHEAD + 200), series[seen : seen + AHEAD + 200]
    error = np.sqrt(np.mean((said - true)[:AHEAD] ** 2)) / series.std()
    still = np.sqrt(np.mean((series[seen - 1] - true)[:AHEAD] ** 2)) / series.std()
    baseline = ("holding the last value", still)
    score = Score(f"error of {AHEAD} steps", error, at_most=0.1, baseline=baseline, form=".3f")

    def draw(axis):
        axis.plot(true, color="#888888", linewidth=2)
        axis.plot(said, color="#D55E00", linewidth=1.5)
        axis.set(xlabel="steps alone", yticks=[])

    return Found(score, draw, error)
