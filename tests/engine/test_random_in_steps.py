"""Random numbers that the step of a loop draws: drawn before the loop, a row for every step."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import close, same

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.random import uniform_from_state

T, B, H = 5, 3, 4


def data(*shape: int) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(len(shape)).normal(size=shape))


DRAWS = {
    "uniform": lambda g, n: g.uniform(n, -1.0, 2.0, dtype="float64"),
    "normal": lambda g, n: g.normal(n, 0.5, 2.0, dtype="float64"),
    "bernoulli": lambda g, n: g.bernoulli(0.3, n).astype("float64"),
    "randint": lambda g, n: g.randint(-3, 9, n).astype("float64"),
    "bits": lambda g, n: g.bits(n).astype("float64") * 2.0**-32,
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", sorted(DRAWS))
def test_a_step_reads_its_row_of_one_draw(name, reverse):
    draw, x, w = DRAWS[name], data(T, B, H), data(H, H)
    mine, other = tg.Generator(3), tg.Generator(3)

    def drawn_inside(x, w):
        def step(h, x):
            h = tg.tanh((h * draw(mine, (B, H))) @ w + x)
            return h, h * draw(mine, (H,))

        return tg.scan(step, data(B, H), x, reverse=reverse)

    def drawn_outside(x, w):
        def step(h, inputs):
            x, a, b = inputs
            h = tg.tanh((h * a) @ w + x)
            return h, h * b

        a = draw(other, (T, B, H))
        return tg.scan(step, data(B, H), (x, a, draw(other, (T, H))), reverse=reverse)

    def loss(f):
        return lambda x, w: sum((v * v).sum() for v in f(x, w))

    for f in (lambda f: f, tg.jit):
        inside, outside = (
            f(tg.value_and_grad(loss(run), argnums=(0, 1))) for run in (drawn_inside, drawn_outside)
        )
        values = []
        for _ in range(2):  # a compiled function goes on in the sequence too
            (a, da), (b, db) = inside(x, w), outside(x, w)
            close(a, b, 1e-13)
            for u, v in zip(da, db, strict=True):
                close(u, v, 1e-12)
            values.append(a.item())
        assert values[0] != values[1]
        same(mine.state, other.state)


def test_loops_in_loops_draw_for_all_steps_of_both():
    mine, other = tg.Generator(5), tg.Generator(5)
    x = data(T, B)

    def outer(c, x):
        d, ys = tg.scan(
            lambda d, _: (d + mine.normal((B,), dtype="float64"),) * 2, c, None, length=2
        )
        return tg.tanh(d + x), ys

    last, ys = tg.scan(outer, data(B), x)
    z = other.normal((T, 2, B), dtype="float64").numpy()
    h = data(B).numpy()
    for t in range(T):
        close(ys[t], h + np.cumsum(z[t], axis=0), 1e-13)
        h = np.tanh(h + z[t].sum(0) + x.numpy()[t])
    close(last, h, 1e-13)


def test_a_loop_without_steps():
    g = tg.Generator(1)
    last, ys = tg.scan(lambda h, x: (h + g.normal((B,)), x), tg.ones(B), tg.ones((0, B)))
    same(last, np.ones(B, "f4"))
    assert ys.shape == (0, B)


def test_a_state_in_the_carry_is_drawn_from_in_the_loop():
    first = tg.Generator(2).state

    def step(state, _):
        u, state = uniform_from_state(state, (B,))
        return state, u

    state, rows = tg.scan(step, first, None, length=T)
    g = tg.Generator(2)
    same(rows, np.stack([g.uniform((B,)).numpy() for _ in range(T)]))
    same(state, g.state)


def test_dropout_in_a_cell_of_ones_own():
    class Cell(nn.Module):
        def __init__(self):
            self.read = nn.Linear(H, H, dtype="float64", rng=0)
            self.drop = nn.Dropout(0.4, rng=1)

        def forward(self, h, x):
            h = tg.tanh(self.drop(self.read(h)) + x)
            return h, h

    cell, x, h0 = Cell(), data(T, B, H), data(B, H)
    layer = nn.Recurrent(cell)
    keep = tg.Generator(1).bernoulli(0.6, (T, B, H)).numpy() / 0.6
    w, b = (p.detach().numpy() for p in cell.read.parameters())
    y, h = layer(x, h0)[0], h0.numpy()
    for t in range(T):
        h = np.tanh((h @ w.T + b) * keep[t] + x.numpy()[t])
        close(y[t].detach(), h, 1e-12)
    assert (layer(x, h0)[0] != y).any()
    layer.eval()
    same(layer(x, h0)[0].detach(), layer(x, h0)[0].detach())
