"""Neural Turing machine: copies sequences, also four times as long as those it learned on.

    content:   c_i ∝ exp(β cos(k, M_i))                  interpolate:  w ← g c + (1 - g) w(t-1)
    shift:     w_i ← Σ_j s_j w_{i-j}, j = -1, 0, 1       sharpen:      w_i ∝ w_i^γ
    write:     M_i ← M_i (1 - w_i e) + w_i a             read:         r = Σ_i w_i M_i

k, β, g, s, γ, e, a come from a controller that sees the input and what was read. Graves, Wayne,
Danihelka, 2014. The picture: where it writes and reads, over time.
"""

from __future__ import annotations

import numpy as np
from _common import Run, Score

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn import functional as F

from ._shared import Found, fit

BITS, CELLS, WIDTH = 4, 56, 10


def tasks(rng: np.random.Generator, length: int, count: int):
    """x f32[2L+2,B,6]: start, bits as ±1, end, silence; y f32[L,B,4]: the bits."""
    bits = rng.integers(2, size=(length, count, BITS)).astype("f4")
    x = np.zeros((2 * length + 2, count, BITS + 2), "f4")
    x[0, :, BITS] = x[length + 1, :, BITS + 1] = 1
    x[1 : length + 1, :, :BITS] = 2 * bits - 1
    return x, bits


class Head(nn.Module):
    """Where to look: from the controller's h and the place of the step before."""

    def __init__(self, hidden: int):
        self.tell = nn.Linear(hidden, WIDTH + 6)

    def forward(self, h, memory, w):
        key, rest = tg.split(self.tell(h), [WIDTH, 6], axis=1)
        key = tg.tanh(key)
        beta, gamma = tg.softplus(rest[:, :1]), 1 + tg.softplus(rest[:, 5:] + 1)  # sharp at first
        gate, shift = tg.sigmoid(rest[:, 1:2]), tg.softmax(rest[:, 2:5])
        dots = (memory * key[:, None]).sum(axis=2)
        lengths = (memory * memory).sum(axis=2) * (key * key).sum(axis=1, keepdims=True)
        content = tg.softmax(beta * dots * tg.rsqrt(lengths + 1e-6))
        w = gate * content + (1 - gate) * w
        w = sum(shift[:, j : j + 1] * tg.roll(w, j - 1, axis=1) for j in range(3))
        w = (w + 1e-6) ** gamma
        return w / w.sum(axis=1, keepdims=True)


class TuringMachine(nn.Module):
    def __init__(self, hidden: int = 48):
        self.controller = nn.Linear(BITS + 2 + WIDTH, hidden)
        self.reader, self.writer = Head(hidden), Head(hidden)
        self.say, self.change = nn.Linear(hidden + WIDTH, BITS), nn.Linear(hidden, 2 * WIDTH)

    def step(self, carry, x):
        memory, read, here, there = carry
        h = tg.tanh(self.controller(tg.concat([x, read], axis=1)))
        there = self.writer(h, memory, there)
        erase, add = tg.split(self.change(h), 2, axis=1)
        memory = memory * (1 - there[:, :, None] * tg.sigmoid(erase)[:, None])
        memory = memory + there[:, :, None] * tg.tanh(add)[:, None]
        here = self.reader(h, memory, here)
        read = (here[:, :, None] * memory).sum(axis=1)
        return (memory, read, here, there), (self.say(tg.concat([h, read], axis=1)), here, there)

    def forward(self, x):
        count = x.shape[1]
        place = tg.broadcast_to(tg.one_hot([0], CELLS), (count, CELLS))
        carry = tg.full((count, CELLS, WIDTH), 1e-3), tg.zeros((count, WIDTH)), place, place
        y, here, there = tg.scan(self.step, carry, x)[1]
        return y[len(x) // 2 + 1 :], here, there

    def loss(self, x, y):
        return F.binary_cross_entropy_with_logits(self(x)[0], y)


def learn(run: Run) -> Found:
    net, longest = TuringMachine(), 3 if run.quick else 6
    steps = 60 if run.quick else 3000

    def batch():
        return tasks(run.rng, int(run.rng.integers(1, longest + 1)), 16)

    loss = fit(run, net, TuringMachine.loss, batch, steps, lr=0.005)
    x, y = tasks(run.rng, 4 * longest, 50)
    with tg.no_grad():
        said, here, there = (a.numpy() for a in net(tg.tensor(x)))
    right = ((said > 0) == y).mean()
    name = f"bits right, {4 * longest} after training on {longest}"
    score = Score(name, right, at_least=0.99, baseline=("guessing", 0.5))

    def draw(axis):
        axis.imshow(np.concatenate([there[:, 0].T, here[:, 0].T]), cmap="gray_r", aspect="auto")
        axis.axhline(CELLS - 0.5, color="black", linewidth=1)
        axis.set(xticks=[], xlabel="t", yticks=[CELLS // 2, CELLS * 3 // 2],
                 yticklabels=["write", "read"])  # fmt: skip
        axis.grid(False)

    return Found(score, draw, loss)
